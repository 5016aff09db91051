"""What the tests of `install` run in their child processes. Nothing here imports `ssl` early."""

from __future__ import annotations

import asyncio
import http.client
import http.server
import smtplib
import socket
import socketserver
import sys
import threading
import urllib.request

DEADLINE = 20.0  # seconds for any single operation of a socket
ANSWERS = {
    b"EHLO": b"250-here\r\n250 STARTTLS\r\n",
    b"STAR": b"220 go ahead\r\n",
    b"QUIT": b"221 bye\r\n",
}
BODY = bytes(range(256)) * 4096  # 1 MiB


def is_ours(conn) -> bool:
    """Return whether a connection's TLS is done by sslbind, whatever class it is of."""
    from sslbind._ssl import _SSLSocket

    return type(conn._sslobj) is _SSLSocket


def contexts(ca, chain):
    """Return a server's and a client's context, made by what is `ssl` now."""
    import ssl

    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain)
    server.options |= ssl.OP_NO_COMPRESSION
    server.minimum_version = ssl.TLSVersion.TLSv1_2
    return server, ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)


def in_thread(function):
    """Start a function in a thread; return a function that waits for it and has its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()

    def result():
        thread.join(DEADLINE)
        return results[0]

    return result


def sockets(ca, chain, start=in_thread) -> set[bool]:
    """Send BODY and get it back, then be refused; return which ends were sslbind's."""
    import ssl

    server, client = contexts(ca, chain)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)

        def serve():
            plain, _ = listener.accept()
            plain.settimeout(DEADLINE)
            with server.wrap_socket(plain, server_side=True) as conn:
                heard = b""
                while len(heard) < len(BODY):
                    heard += conn.recv(100_000)
                conn.sendall(heard)
                return is_ours(conn)

        def refuse():
            plain, _ = listener.accept()
            plain.settimeout(DEADLINE)
            try:
                server.wrap_socket(plain, server_side=True).close()
            except OSError:
                plain.close()

        served = start(serve)
        with socket.create_connection(listener.getsockname(), DEADLINE) as plain:
            with client.wrap_socket(plain, server_hostname="localhost") as conn:
                conn.sendall(BODY)
                heard = b""
                while len(heard) < len(BODY):
                    heard += conn.recv(100_000)
                assert heard == BODY
                ours = {is_ours(conn)}
        ours.add(served())

        refused = start(refuse)
        with socket.create_connection(listener.getsockname(), DEADLINE) as plain:
            try:
                ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
            except ssl.SSLCertVerificationError as error:
                assert error.verify_code
            else:
                raise AssertionError("a stranger's certificate was accepted")
        refused()
    return ours


class _Site(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    seen: list[bool] = []

    def do_GET(self):
        self.seen.append(is_ours(self.connection))
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *args):
        pass


class _Mail(socketserver.StreamRequestHandler):
    """Says yes to everything; with STARTTLS it changes over."""

    context = None

    def handle(self):
        self.wfile.write(b"220 hello\r\n")
        while True:
            command = self.rfile.readline()[:4].upper()
            self.wfile.write(ANSWERS.get(command, b"250 yes\r\n"))
            if command in (b"QUIT", b""):
                self.request.close()
                return
            if command == b"STAR":
                self.request = self.context.wrap_socket(self.request, server_side=True)
                self.setup()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        """A client that refuses the certificate is no error."""


def serving(handler, context=None):
    """Start a server of `handler`, in TLS with a context; return it."""
    server = _Server(("127.0.0.1", 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


def web(ca, chain) -> set[bool]:
    """Get BODY by http.client and urllib, once each with what they make by default."""
    import ssl

    from sslbind._ssl import _SSLContext

    _Site.seen.clear()
    server, client = contexts(ca, chain)
    site = serving(_Site, server)
    port = site.server_address[1]
    conn = http.client.HTTPSConnection("localhost", port, timeout=DEADLINE, context=client)
    conn.request("GET", "/")
    ours = {is_ours(conn.sock)}
    assert conn.getresponse().read() == BODY
    conn.close()

    url = f"https://localhost:{port}/"
    with urllib.request.urlopen(url, timeout=DEADLINE, context=client) as answer:
        assert answer.read() == BODY
    default = http.client.HTTPSConnection("localhost", port, timeout=DEADLINE)
    ours.add(_SSLContext in type(default._context).__mro__)
    try:
        default.request("GET", "/")
    except ssl.SSLCertVerificationError:
        pass
    else:
        raise AssertionError("a stranger's certificate was accepted")
    default.close()
    site.shutdown()
    site.server_close()
    return ours | set(_Site.seen)


def mail(ca, chain) -> set[bool]:
    """Talk SMTP, after STARTTLS and over TLS from the start."""
    server, client = contexts(ca, chain)
    _Mail.context = server
    plain, secure = serving(_Mail), serving(_Mail, server)
    ours = set()
    with smtplib.SMTP("localhost", plain.server_address[1], timeout=DEADLINE) as talk:
        talk.starttls(context=client)
        assert talk.noop()[0] == 250
        ours.add(is_ours(talk.sock))
    # Without a context it makes one that verifies nothing.
    with smtplib.SMTP_SSL("localhost", secure.server_address[1], timeout=DEADLINE) as talk:
        assert talk.noop()[0] == 250
        ours.add(is_ours(talk.sock))
    for each in (plain, secure):
        each.shutdown()
        each.server_close()
    return ours


def streams(ca, chain) -> set[bool]:
    """Echo BODY by asyncio: start_server, open_connection, start_tls; be refused once."""
    return asyncio.run(asyncio.wait_for(_streams(ca, chain), 2 * DEADLINE))


async def _streams(ca, chain) -> set[bool]:
    import ssl

    server, client = contexts(ca, chain)
    ours = set()

    async def echo(reader, writer):
        heard = await reader.readexactly(len(BODY))
        ours.add(is_ours(writer.get_extra_info("ssl_object")))
        writer.write(heard)
        await writer.drain()
        writer.close()

    async def talk(reader, writer):
        ours.add(is_ours(writer.get_extra_info("ssl_object")))
        writer.write(BODY)
        assert await reader.readexactly(len(BODY)) == BODY
        writer.close()

    listening = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server)
    port = listening.sockets[0].getsockname()[1]
    await talk(
        *await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="localhost")
    )
    try:
        await asyncio.open_connection("127.0.0.1", port, ssl=True, server_hostname="localhost")
    except ssl.SSLCertVerificationError:
        pass
    else:
        raise AssertionError("a stranger's certificate was accepted")

    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.create_connection(lambda: protocol, "127.0.0.1", port)
    transport = await loop.start_tls(
        transport, protocol, client, server_hostname="localhost", ssl_handshake_timeout=DEADLINE
    )
    protocol._over_ssl = True
    reader._transport = transport
    await talk(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
    listening.close()
    return ours


ALL = (sockets, web, mail, streams)


def check_all(expected: bool, ca, chain) -> None:
    """Run each of the programs, and insist on whose TLS it was."""
    for program in ALL:
        found = program(ca, chain)
        assert found == {expected}, (program.__name__, found)


if __name__ == "__main__":
    check_all(sys.argv[1] == "ours", *sys.argv[2:4])
    print("done")

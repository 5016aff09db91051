"""Small real servers for the clients of the standard library: HTTP, IMAP, POP3 and FTP over TLS.

Each speaks just enough of its protocol to carry one large object both ways. The line protocols
take a plain socket and a context, and begin TLS at once (`implicit`) or when asked to.
"""

from __future__ import annotations

import contextlib
import http.server
import re
import socket
import threading

from world import DATA, DEADLINE, digest, listening

LOGIN = ("user", "secret")
HALF = DATA[: len(DATA) // 2]  # as hexadecimal, for protocols that carry text, it is all of 10 MB


class _Http(http.server.BaseHTTPRequestHandler):
    """GET gives the data; POST and PUT answer with the digest of what they got."""

    protocol_version = "HTTP/1.1"
    timeout = DEADLINE

    def do_GET(self):
        self._answer(DATA)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(digest(body).encode())

    do_PUT = do_POST

    def _answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class _HttpServer(http.server.ThreadingHTTPServer):
    """Shakes hands in the thread of the connection; a client that leaves is no error."""

    daemon_threads = True

    def __init__(self, context):
        super().__init__(("127.0.0.1", 0), _Http)
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    def finish_request(self, request, client_address):
        with contextlib.suppress(OSError):
            request.settimeout(DEADLINE)
            request.do_handshake()
            super().finish_request(request, client_address)


@contextlib.contextmanager
def https(context):
    """Serve HTTP/1.1 over TLS; yields the port."""
    server = _HttpServer(context)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class Lines:
    """A connection of a line protocol, which may turn to TLS in between."""

    def __init__(self, sock, context, implicit):
        self.context = context
        self.sock = sock
        if implicit:
            self.sock = context.wrap_socket(sock, server_side=True)
        self.file = self.sock.makefile("rb")

    def starttls(self):
        """Go on with TLS on the same connection."""
        self.file.close()
        self.sock = self.context.wrap_socket(self.sock, server_side=True)
        self.file = self.sock.makefile("rb")

    def say(self, *lines):
        """Send lines, with their ends."""
        self.sock.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def commands(self):
        """Yield the lines that the client sends, split at blanks, until it leaves."""
        while line := self.file.readline():
            yield line.decode().split()

    def close(self):
        """Send the close_notify, if there is TLS, and close."""
        with contextlib.suppress(OSError, AttributeError):
            self.sock.unwrap()
        self.file.close()
        self.sock.close()


@contextlib.contextmanager
def _lines(speak, context, implicit):
    """Serve a line protocol; yields the port."""

    def handle(sock):
        conn = Lines(sock, context, implicit)
        try:
            speak(conn)
        finally:
            conn.close()

    with listening(handle) as address:
        yield address[1]


def pop3(context, implicit):
    """Serve POP3 (RFC 1939, STLS: RFC 2595): one message, 10 MB of hexadecimal."""
    message = as_lines(HALF)

    def speak(conn):
        conn.say("+OK ready")
        for command, *_ in conn.commands():
            if command == "STLS":
                conn.say("+OK begin TLS")
                conn.starttls()
            elif command == "CAPA":
                conn.say("+OK", "STLS", ".")
            elif command == "STAT":
                conn.say(f"+OK 1 {len(message)}")
            elif command == "RETR":
                conn.say(f"+OK {len(message)} octets", *message.decode().splitlines(), ".")
            else:
                conn.say("+OK")
            if command == "QUIT":
                return

    return _lines(speak, context, implicit)


def imap(context, implicit):
    """Serve IMAP4 (RFC 3501): APPEND answers with the digest, FETCH gives the data back."""

    def speak(conn):
        conn.say("* OK ready")
        for tag, command, *arguments in conn.commands():
            command = command.upper()
            if command == "CAPABILITY":
                conn.say("* CAPABILITY IMAP4REV1 STARTTLS")
            elif command == "SELECT":
                conn.say("* 1 EXISTS")
            elif command == "APPEND":
                size = int(re.search(r"{(\d+)}", arguments[-1]).group(1))
                conn.say("+ go on")
                got = digest(conn.file.read(size))
                conn.file.readline()
                conn.say(f"{tag} OK {got}")
                continue
            elif command == "FETCH":
                conn.sock.sendall(b"* 1 FETCH (RFC822 {%d}\r\n" % len(DATA) + DATA + b")\r\n")
            elif command == "LOGOUT":
                conn.say("* BYE", f"{tag} OK")
                return
            conn.say(f"{tag} OK {command}")
            if command == "STARTTLS":
                conn.starttls()

    return _lines(speak, context, implicit)


def ftp(context, implicit):
    """Serve FTP (RFC 959) with AUTH TLS (RFC 4217); data connections over TLS, too."""

    def speak(conn):
        conn.say("220 ready")
        stored = ""
        with contextlib.ExitStack() as stack:
            for command, *_ in conn.commands():
                if command == "AUTH":
                    conn.say("234 begin TLS")
                    conn.starttls()
                elif command in ("EPSV", "PASV"):
                    door = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                    door.settimeout(DEADLINE)
                    port = door.getsockname()[1]
                    conn.say(
                        f"229 here (|||{port}|)"
                        if command == "EPSV"
                        else f"227 here (127,0,0,1,{port // 256},{port % 256})"
                    )
                elif command in ("RETR", "STOR"):
                    conn.say("150 here it comes")
                    with door, _data_connection(door, context) as data:
                        if command == "RETR":
                            data.sendall(DATA)
                        else:
                            stored = digest(b"".join(iter(lambda: data.recv(1 << 18), b"")))
                        data.unwrap()
                    conn.say(f"226 done {stored}")
                elif command == "QUIT":
                    conn.say("221 bye")
                    return
                else:
                    conn.say("200 as you say")

    return _lines(speak, context, implicit)


def _data_connection(door, context):
    sock, _ = door.accept()
    sock.settimeout(DEADLINE)
    return context.wrap_socket(sock, server_side=True)


def as_lines(data: bytes) -> bytes:
    """Return `data` as lines of hexadecimal, for protocols that carry text."""
    text = data.hex()
    return "".join(f"{text[at : at + 76]}\r\n" for at in range(0, len(text), 76)).encode()


def from_lines(lines) -> bytes:
    """Return what `as_lines` was given; `lines` are with or without their ends."""
    return bytes.fromhex(b"".join(line.strip() for line in lines).decode())

"""tornado: HTTP server and client, and IOStream.start_tls, with contexts."""

from __future__ import annotations

import pytest
from world import DATA, DIGEST, SIZE, digest, needs, refused

tornado = needs("tornado")

pytestmark = pytest.mark.library("tornado")


def http_server(context):
    """Return a listening HTTPS server and its URL."""
    from tornado import httpserver, netutil, web

    class Data(web.RequestHandler):
        """GET gives the data, POST a digest."""

        def get(self):
            """Give the data."""
            self.write(DATA)

        def post(self):
            """Answer with the digest."""
            self.write(digest(self.request.body))

    server = httpserver.HTTPServer(web.Application([("/", Data)]), ssl_options=context)
    sockets = netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    return server, f"https://localhost:{sockets[0].getsockname()[1]}/"


async def test_http(world):
    """10 MB come and go, both ends with a context."""
    from tornado.httpclient import AsyncHTTPClient

    server, url = http_server(world.server())
    client, context = AsyncHTTPClient(), world.client()
    answer = await client.fetch(url, ssl_options=context)
    assert digest(answer.body) == DIGEST
    headers = {"Content-Type": "application/octet-stream"}
    answer = await client.fetch(url, method="POST", body=DATA, headers=headers, ssl_options=context)
    assert answer.body.decode() == DIGEST
    client.close()
    server.stop()
    await server.close_all_connections()


async def test_start_tls(world):
    """10 MB come over a stream that began in the clear, and go."""
    from tornado.tcpclient import TCPClient
    from tornado.tcpserver import TCPServer

    context = world.server()

    class Upgrading(TCPServer):
        """Begins TLS after one word."""

        async def handle_stream(self, stream, address):
            """Serve one client."""
            assert await stream.read_bytes(8) == b"STARTTLS"
            await stream.write(b"go")
            tls = await stream.start_tls(server_side=True, ssl_options=context)
            await tls.write(digest(await tls.read_bytes(SIZE)).encode() + DATA)
            tls.close()

    server = Upgrading()
    server.listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]
    plain = await TCPClient().connect("127.0.0.1", port, max_buffer_size=2 * SIZE)
    await plain.write(b"STARTTLS")
    assert await plain.read_bytes(2) == b"go"
    stream = await plain.start_tls(False, world.client(), server_hostname="localhost")
    assert type(stream.socket) is world.tls.SSLSocket
    await stream.write(DATA)
    assert (await stream.read_bytes(len(DIGEST))).decode() == DIGEST
    assert digest(await stream.read_until_close()) == DIGEST
    server.stop()


async def test_rejected_certificate(world):
    """A server of an unknown authority is an ssl.SSLCertVerificationError."""
    from tornado.httpclient import AsyncHTTPClient

    server, url = http_server(world.shunned())
    client = AsyncHTTPClient()
    with refused():
        await client.fetch(url, ssl_options=world.stranger())
    client.close()
    server.stop()

"""websockets, client and server with contexts, on asyncio and in threads."""

from __future__ import annotations

import threading

import pytest
from world import DATA, DEADLINE, DIGEST, digest, needs, refused

websockets = needs("websockets")

pytestmark = pytest.mark.library("websockets")


async def echo(socket):
    """Send each message back."""
    async for message in socket:
        await socket.send(message)


async def test_asyncio(world):
    """A message of 10 MB is sent and comes back."""
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import serve

    async with serve(echo, "127.0.0.1", 0, ssl=world.server(), max_size=None) as server:
        url = f"wss://localhost:{server.sockets[0].getsockname()[1]}"
        async with connect(url, ssl=world.client(), max_size=None) as socket:
            conn = socket.transport.get_extra_info("ssl_object")
            assert type(conn) is world.tls.SSLObject
            await socket.send(DATA)
            assert digest(await socket.recv()) == DIGEST


def test_threads(world):
    """The same, where one thread receives while another sends on the same connection.

    Without pings: the thread that sends them joins the receiving one with a timeout, as close()
    does, and two such joins at once fail at random on PyPy 3.9 (`threading`, lock not acquired).
    """
    from websockets.sync.client import connect
    from websockets.sync.server import serve

    def handle(socket):
        for message in socket:
            socket.send(message)

    options = {"max_size": None, "ping_interval": None}
    with serve(handle, "127.0.0.1", 0, ssl=world.server(), **options) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"wss://localhost:{server.socket.getsockname()[1]}"
        with connect(url, ssl=world.client(), **options) as socket:
            assert type(socket.socket) is world.tls.SSLSocket
            socket.send(DATA)
            assert digest(socket.recv(DEADLINE)) == DIGEST
        server.shutdown()


async def test_rejected_certificate(world):
    """A server of an unknown authority is an ssl.SSLCertVerificationError."""
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import serve

    async with serve(echo, "127.0.0.1", 0, ssl=world.shunned()) as server:
        url = f"wss://localhost:{server.sockets[0].getsockname()[1]}"
        with refused():
            await connect(url, ssl=world.stranger())

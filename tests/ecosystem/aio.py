"""What asyncio's own users do with contexts, for asyncio's loop and for uvloop's."""

from __future__ import annotations

import asyncio
import os
import tempfile

from world import DATA, DIGEST, SIZE, digest, refused

FLAG = len(DIGEST)  # bytes of an answer


async def serve(reader, writer):
    """Send the data, then the digest of what comes back."""
    writer.write(DATA)
    await writer.drain()
    writer.write(digest(await reader.readexactly(SIZE)).encode())
    await writer.drain()
    writer.close()


async def talk(world, reader, writer):
    """Be the client of `serve`."""
    conn = writer.get_extra_info("ssl_object")
    assert type(conn) is world.tls.SSLObject
    assert writer.get_extra_info("peercert") == conn.getpeercert()
    assert writer.get_extra_info("cipher") == conn.cipher()
    assert digest(await reader.readexactly(SIZE)) == DIGEST
    writer.write(DATA)
    assert (await reader.readexactly(FLAG)).decode() == DIGEST
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def over_tcp(world):
    """start_server and open_connection."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=world.server())
    async with server:
        port = server.sockets[0].getsockname()[1]
        await talk(world, *await asyncio.open_connection("localhost", port, ssl=world.client()))


async def over_unix(world):
    """start_unix_server and open_unix_connection."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        server = await asyncio.start_unix_server(serve, path, ssl=world.server())
        async with server:
            pair = await asyncio.open_unix_connection(
                path, ssl=world.client(), server_hostname="localhost"
            )
            await talk(world, *pair)


class Collector(asyncio.Protocol):
    """Gathers what comes, and begins TLS when told to."""

    def __init__(self):
        self.made = asyncio.get_running_loop().create_future()
        self._news = asyncio.Event()
        self._data = bytearray()

    def connection_made(self, transport):
        """Keep the transport."""
        self.transport = transport
        self.made.set_result(self)

    def data_received(self, data):
        """Keep the data."""
        self._data += data
        self._news.set()

    async def take(self, size):
        """Return the next `size` bytes."""
        while len(self._data) < size:
            self._news.clear()
            await self._news.wait()
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken

    async def upgrade(self, context, **options):
        """Go on with TLS."""
        loop = asyncio.get_running_loop()
        self.transport = await loop.start_tls(self.transport, self, context, **options)


async def over_start_tls(world):
    """loop.start_tls on both ends of a connection that began in the clear."""
    loop = asyncio.get_running_loop()
    accepted = loop.create_future()

    def accept():
        protocol = Collector()
        accepted.set_result(protocol)
        return protocol

    server = await loop.create_server(accept, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        _, client = await loop.create_connection(Collector, "127.0.0.1", port)
        other = await (await accepted).made
        client.transport.write(b"STARTTLS")
        assert await other.take(8) == b"STARTTLS"
        await asyncio.gather(
            other.upgrade(world.server(), server_side=True),
            client.upgrade(world.client(), server_hostname="localhost"),
        )
        assert type(client.transport.get_extra_info("ssl_object")) is world.tls.SSLObject
        client.transport.write(DATA)
        assert digest(await other.take(SIZE)) == DIGEST
        other.transport.write(DATA)
        assert digest(await client.take(SIZE)) == DIGEST
        client.transport.close()
        other.transport.close()


async def rejected(world):
    """A server of an unknown authority."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=world.shunned())
    async with server:
        port = server.sockets[0].getsockname()[1]
        with refused():
            await asyncio.open_connection("localhost", port, ssl=world.stranger())

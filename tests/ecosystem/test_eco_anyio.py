"""anyio: connect_tcp, TLSListener and TLSStream with contexts, on asyncio and on trio."""

from __future__ import annotations

import pytest
from world import DATA, DIGEST, SIZE, digest, needs, refused

anyio = needs("anyio")

pytestmark = [
    pytest.mark.library("anyio"),
    pytest.mark.parametrize("backend", ("asyncio", "trio")),
]


async def take(stream, size):
    """Return the next `size` bytes."""
    got = bytearray()
    while len(got) < size:
        got += await stream.receive()
    return got


async def handle(stream):
    """Send the data, then the digest of what comes back, then end TLS."""
    async with stream:
        await stream.send(DATA)
        await stream.send(digest(await take(stream, SIZE)).encode())


async def serve(group, context):
    """Start serving; return the port."""
    from anyio.streams.tls import TLSListener

    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener = TLSListener(plain, context)
    group.start_soon(listener.serve, handle)
    return plain.extra(anyio.abc.SocketAttribute.local_port)


def test_both_ways(world, backend):
    """10 MB come and go, both ends with a context; the end of TLS is orderly."""
    needs(backend)
    from anyio.streams.tls import TLSAttribute

    async def main():
        async with anyio.create_task_group() as group:
            port = await serve(group, world.server())
            stream = await anyio.connect_tcp(
                "127.0.0.1", port, ssl_context=world.client(), tls_hostname="localhost"
            )
            assert type(stream.extra(TLSAttribute.ssl_object)) is world.tls.SSLObject
            assert stream.extra(TLSAttribute.tls_version) == "TLSv1.3"
            assert digest(await take(stream, SIZE)) == DIGEST
            await stream.send(DATA)
            assert (await take(stream, len(DIGEST))).decode() == DIGEST
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
            await stream.aclose()
            group.cancel_scope.cancel()

    anyio.run(main, backend=backend)


def test_rejected_certificate(world, backend):
    """A server of an unknown authority is an ssl.SSLCertVerificationError."""
    needs(backend)

    async def main():
        async with anyio.create_task_group() as group:
            port = await serve(group, world.shunned())
            with refused():
                await anyio.connect_tcp(
                    "127.0.0.1", port, ssl_context=world.stranger(), tls_hostname="localhost"
                )
            group.cancel_scope.cancel()

    anyio.run(main, backend=backend)

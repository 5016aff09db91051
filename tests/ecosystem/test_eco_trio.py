"""trio: SSLStream and SSLListener with contexts."""

from __future__ import annotations

import functools

import pytest
from world import DATA, DIGEST, SIZE, digest, needs, refused

trio = needs("trio")
needs("trio.testing")

pytestmark = pytest.mark.library("trio")


async def take(stream, size):
    """Return the next `size` bytes."""
    got = bytearray()
    while len(got) < size:
        piece = await stream.receive_some()
        assert piece
        got += piece
    return got


async def handle(stream):
    """Send the data, then the digest of what comes back, then end TLS."""
    try:
        await stream.send_all(DATA)
        await stream.send_all(digest(await take(stream, SIZE)).encode())
        await stream.aclose()
    except trio.BrokenResourceError:
        pass  # the client refused us


async def serve(nursery, context):
    """Start serving; return the port."""
    start = functools.partial(
        trio.serve_ssl_over_tcp, handle, 0, context, host="127.0.0.1", https_compatible=False
    )
    listeners = await nursery.start(start)
    return listeners[0].transport_listener.socket.getsockname()[1]


async def talk(stream):
    """Be the client of `handle`, and see an orderly end."""
    assert digest(await take(stream, SIZE)) == DIGEST
    await stream.send_all(DATA)
    assert (await take(stream, len(DIGEST))).decode() == DIGEST
    assert await stream.receive_some() == b""
    await stream.aclose()


def test_both_ways(world):
    """10 MB come and go, both ends with a context; the end of TLS is orderly."""

    async def main():
        async with trio.open_nursery() as nursery:
            port = await serve(nursery, world.server())
            stream = await trio.open_ssl_over_tcp_stream(
                "localhost", port, ssl_context=world.client()
            )
            await stream.do_handshake()
            assert stream.version() == "TLSv1.3"
            assert stream.getpeercert()["subjectAltName"]
            await talk(stream)
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_unwrap(world):
    """TLS is laid over a stream and taken off again; the stream goes on in the clear."""

    async def main():
        left, right = trio.testing.memory_stream_pair()
        client = trio.SSLStream(left, world.client(), server_hostname="localhost")
        server = trio.SSLStream(right, world.server(), server_side=True)

        async def end(stream, word):
            await stream.do_handshake()
            await stream.send_all(word)
            assert await take(stream, len(word))
            plain, trailing = await stream.unwrap()
            assert plain in (left, right) and trailing in (b"", b"plain")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end, client, b"ping")
            nursery.start_soon(end, server, b"pong")
        await left.send_all(b"plain")
        assert await right.receive_some() == b"plain"

    trio.run(main)


def test_rejected_certificate(world):
    """A server of an unknown authority is trio's BrokenResourceError."""

    async def main():
        async with trio.open_nursery() as nursery:
            port = await serve(nursery, world.shunned())
            stream = await trio.open_ssl_over_tcp_stream(
                "localhost", port, ssl_context=world.stranger()
            )
            with refused(trio.BrokenResourceError):
                await stream.do_handshake()
            nursery.cancel_scope.cancel()

    trio.run(main)

"""aiohttp, client and server with contexts, and a WebSocket over TLS."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from world import DATA, DIGEST, SIZE, digest, needs, refused

aiohttp = needs("aiohttp")

pytestmark = pytest.mark.library("aiohttp")


async def download(request):
    """Give the data."""
    return aiohttp.web.Response(body=DATA)


async def upload(request):
    """Answer with the digest."""
    return aiohttp.web.Response(text=digest(await request.read()))


async def echo(request):
    """Send each message back."""
    socket = aiohttp.web.WebSocketResponse(max_msg_size=2 * SIZE)
    await socket.prepare(request)
    async for message in socket:
        await socket.send_bytes(message.data)
    return socket


@contextlib.asynccontextmanager
async def serving(context):
    """Serve the three on a loopback port; yields the URL."""
    import aiohttp.web as web

    app = web.Application(client_max_size=2 * SIZE)
    app.router.add_get("/", download)
    app.router.add_post("/", upload)
    app.router.add_get("/echo", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield f"https://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_both_ways(world):
    """10 MB come and go, both ends with a context."""
    context = world.client()
    async with serving(world.server()) as url, aiohttp.ClientSession() as session:
        async with session.get(url, ssl=context) as answer:
            transport = answer.connection.transport
            assert type(transport.get_extra_info("ssl_object")) is world.tls.SSLObject
            assert digest(await answer.read()) == DIGEST
        async with session.post(url, data=DATA, ssl=context) as answer:
            assert await answer.text() == DIGEST


async def test_connector(world):
    """A connector has the context for a whole session."""
    connector = aiohttp.TCPConnector(ssl=world.client())
    async with serving(world.server()) as url:
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.get(url) as answer:
                assert digest(await answer.read()) == DIGEST


async def test_websocket(world):
    """A message of 10 MB is sent and comes back."""
    context = world.client()
    async with serving(world.server()) as url, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{url}/echo", ssl=context, max_msg_size=2 * SIZE) as socket:
            await socket.send_bytes(DATA)
            assert digest((await socket.receive()).data) == DIGEST


@pytest.mark.ways("install")
async def test_without_a_context(world):
    """The context that aiohttp makes is of the module in the place of `ssl`."""
    async with serving(world.shunned()) as url, aiohttp.ClientSession() as session:
        with refused(aiohttp.ClientConnectorCertificateError):
            await session.get(url)


async def test_rejected_certificate(world):
    """A server of an unknown authority is aiohttp's error, which is an ssl.CertificateError."""
    async with serving(world.shunned()) as url, aiohttp.ClientSession() as session:
        with refused(aiohttp.ClientConnectorCertificateError, ssl.CertificateError):
            await session.get(url, ssl=world.stranger())

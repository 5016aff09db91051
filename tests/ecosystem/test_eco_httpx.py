"""httpx and httpcore with contexts: sync, async and HTTP/2."""

from __future__ import annotations

import pytest
from servers import https
from world import DATA, DEADLINE, DIGEST, digest, needs, refused

httpx = needs("httpx")

pytestmark = pytest.mark.library("httpx")


def test_sync(world):
    """10 MB come and go."""
    with https(world.peer_server()) as port:
        url = f"https://localhost:{port}/"
        with httpx.Client(verify=world.client(), timeout=DEADLINE) as client:
            answer = client.get(url)
            assert digest(answer.content) == DIGEST
            assert client.post(url, content=DATA).text == DIGEST


async def test_async(world):
    """10 MB come and go."""
    with https(world.peer_server()) as port:
        url = f"https://localhost:{port}/"
        async with httpx.AsyncClient(verify=world.client(), timeout=DEADLINE) as client:
            answer = await client.get(url)
            stream = answer.extensions["network_stream"]
            assert type(stream.get_extra_info("ssl_object")) is world.tls.SSLObject
            assert digest(answer.content) == DIGEST
            assert (await client.post(url, content=DATA)).text == DIGEST


async def test_http2(world):
    """10 MB come and go over HTTP/2, with a server of hypercorn."""
    needs("h2")
    needs("hypercorn")
    from test_eco_hypercorn import serving, with_context

    with serving(with_context(world.server())) as port:
        url = f"https://localhost:{port}/"
        options = {"http2": True, "verify": world.client(), "timeout": DEADLINE}
        async with httpx.AsyncClient(**options) as client:
            answer = await client.get(url)
            assert answer.http_version == "HTTP/2"
            assert digest(answer.content) == DIGEST
            assert (await client.post(url, content=DATA)).text == DIGEST


def test_httpcore(world):
    """httpcore's own pool takes a context."""
    import httpcore

    with https(world.peer_server()) as port:
        with httpcore.ConnectionPool(ssl_context=world.client()) as pool:
            answer = pool.request("GET", f"https://localhost:{port}/")
            stream = answer.extensions["network_stream"]
            # httpcore gives the back's object, sock._sslobj, for a socket.
            whose = type(stream.get_extra_info("ssl_object")).__name__
            assert whose == "_SSLSocket"
            assert digest(answer.content) == DIGEST


@pytest.mark.ways("install")
def test_without_a_context(world):
    """The context that httpx makes is of the module in the place of `ssl`."""
    context = httpx.create_ssl_context()
    assert type(context) is world.tls.SSLContext
    context.load_verify_locations(world.ca)
    with https(world.peer_server()) as port:
        answer = httpx.get(f"https://localhost:{port}/", verify=context, timeout=DEADLINE)
        assert digest(answer.content) == DIGEST


@pytest.mark.parametrize("way", ("sync", "async"))
async def test_rejected_certificate(world, way):
    """A server of an unknown authority is httpx' ConnectError."""
    with https(world.peer_server()) as port:
        url = f"https://localhost:{port}/"
        with refused(httpx.ConnectError):
            if way == "sync":
                httpx.get(url, verify=world.stranger())
            else:
                async with httpx.AsyncClient(verify=world.stranger()) as client:
                    await client.get(url)

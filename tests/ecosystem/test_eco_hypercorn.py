"""hypercorn, whose configuration makes the context: HTTP/1.1 for http.client, HTTP/2 for httpx."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
from asgi import app
from clients import check_https
from world import DATA, DEADLINE, DIGEST, await_port, digest, free_port, needs

hypercorn = needs("hypercorn")

pytestmark = pytest.mark.library("hypercorn")


def with_context(context):
    """Return a configuration that has a context instead of file names."""
    from hypercorn.config import Config

    class ContextConfig(Config):
        """`ssl_enabled` and `create_ssl_context` are what hypercorn asks for."""

        ssl_enabled = True

        def create_ssl_context(self):
            """Return the context, for HTTP/2 and HTTP/1.1."""
            context.set_alpn_protocols(self.alpn_protocols)
            return context

    return ContextConfig()


@contextlib.contextmanager
def serving(config):
    """Run a server in a thread; yields the port."""
    from hypercorn.asyncio import serve

    port = free_port()
    config.bind = [f"127.0.0.1:{port}"]
    loop = asyncio.new_event_loop()
    stop = loop.create_future()

    async def until_stopped():
        await stop

    def run():
        loop.run_until_complete(serve(app, config, shutdown_trigger=until_stopped))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert await_port(port, thread.is_alive)
    yield port
    loop.call_soon_threadsafe(stop.set_result, None)
    thread.join(DEADLINE)


def test_http1(world):
    """10 MB come and go; a client without a certificate is refused."""
    with serving(with_context(world.server(guarded=True))) as port:
        check_https(world, port)


def test_http2(world):
    """10 MB come and go over HTTP/2, which ALPN has chosen."""
    httpx = needs("httpx")
    needs("h2")
    with serving(with_context(world.server())) as port:
        with httpx.Client(http2=True, verify=world.client(), timeout=DEADLINE) as client:
            answer = client.get(f"https://localhost:{port}/")
            assert answer.http_version == "HTTP/2"
            assert digest(answer.content) == DIGEST
            assert client.post(f"https://localhost:{port}/", content=DATA).text == DIGEST


@pytest.mark.ways("install")
def test_files(world):
    """certfile and keyfile: the context is of the module in the place of `ssl`."""
    from hypercorn.config import Config

    config = Config()
    config.certfile, config.keyfile = world.server_cert, world.server_key
    config.ca_certs, config.verify_mode = world.ca, world.tls.CERT_REQUIRED
    assert type(config.create_ssl_context()) is world.tls.SSLContext
    with serving(config) as port:
        check_https(world, port)

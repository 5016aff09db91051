"""uvicorn, with a context from ssl_context_factory or set as config.ssl, against http.client."""

from __future__ import annotations

import contextlib
import inspect
import socket
import threading

import pytest
from asgi import app
from clients import check_https
from world import DEADLINE, needs

uvicorn = needs("uvicorn")

pytestmark = pytest.mark.library("uvicorn")


@contextlib.contextmanager
def serving(config):
    """Run a server with a loaded configuration in a thread; yields the port."""
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=server.run, args=([door],), daemon=True)
        thread.start()
        yield door.getsockname()[1]
        server.should_exit = True
        thread.join(DEADLINE)
        assert not thread.is_alive()


def config(**options):
    """Return a configuration, loaded: later changes last."""
    made = uvicorn.Config(app, loop="asyncio", log_level="warning", **options)
    made.load()
    return made


def test_assigned_context(world):
    """config.ssl: 10 MB come and go; a client without a certificate is refused."""
    made = config()
    made.ssl = world.server(guarded=True)
    with serving(made) as port:
        check_https(world, port)


def test_context_factory(world):
    """ssl_context_factory: the same."""
    if "ssl_context_factory" not in inspect.signature(uvicorn.Config).parameters:
        pytest.skip("this uvicorn has no ssl_context_factory")
    context = world.server(guarded=True)
    with serving(config(ssl_context_factory=lambda config, default: context)) as port:
        check_https(world, port)


@pytest.mark.ways("install")
def test_files(world):
    """ssl_certfile: the context is of the module in the place of `ssl`."""
    made = config(
        ssl_certfile=world.server_cert,
        ssl_keyfile=world.server_key,
        ssl_ca_certs=world.ca,
        ssl_cert_reqs=world.tls.CERT_REQUIRED,
    )
    assert type(made.ssl) is world.tls.SSLContext
    with serving(made) as port:
        check_https(world, port)

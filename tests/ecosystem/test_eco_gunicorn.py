"""gunicorn, with its ssl_context hook, in a process with a worker of its own."""

from __future__ import annotations

import contextlib
import multiprocessing

import pytest
from asgi import wsgi
from clients import check_https, connect
from world import DEADLINE, await_port, free_port, needs

needs("gunicorn")

pytestmark = pytest.mark.library("gunicorn")


def application(environ, start_response):
    """Say on whose socket we are, besides what `wsgi` does."""

    def start(status, headers):
        cls = type(environ["gunicorn.socket"])
        return start_response(status, [*headers, ("X-Socket", cls.__module__)])

    return wsgi(environ, start)


def serve(options):
    """Run a master and its worker until SIGTERM."""
    from gunicorn.app.base import BaseApplication

    class Application(BaseApplication):
        """gunicorn with our settings only."""

        def load_config(self):
            """Take the settings."""
            for name, value in options.items():
                self.cfg.set(name, value)

        def load(self):
            """Return the application."""
            return application

    Application().run()


@contextlib.contextmanager
def serving(world, **options):
    """Run gunicorn in a process of its own; yields the port."""
    port = free_port()
    options.update(
        bind=f"127.0.0.1:{port}",
        workers=1,
        certfile=world.server_cert,
        keyfile=world.server_key,
        worker_tmp_dir=str(world.folder),
        loglevel="warning",
        graceful_timeout=1,
    )
    process = multiprocessing.get_context("fork").Process(target=serve, args=(options,))
    process.start()
    try:
        assert await_port(port, process.is_alive)
        yield port
    finally:
        process.terminate()
        process.join(DEADLINE)
    assert not process.is_alive()


def check_socket(world, port):
    """The worker's socket is of the implementation under test."""
    client = connect(port, world.peer_client(certificate=True))
    client.request("GET", "/")
    whose = client.getresponse().headers["X-Socket"].partition(".")[0]
    assert whose == world.tls.__name__


def test_context_hook(world):
    """10 MB come and go; a client without a certificate is refused."""

    def hook(config, default_factory):
        context = world.tls.SSLContext(world.tls.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(world.server_both)
        context.load_verify_locations(world.ca)
        context.verify_mode = world.tls.CERT_REQUIRED
        return context

    with serving(world, ssl_context=hook) as port:
        check_https(world, port)
        check_socket(world, port)


@pytest.mark.ways("install")
def test_files(world):
    """certfile and keyfile: the context is of the module in the place of `ssl`."""
    with serving(world, ca_certs=world.ca, cert_reqs=2) as port:
        check_https(world, port)
        check_socket(world, port)

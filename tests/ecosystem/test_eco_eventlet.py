"""eventlet with contexts: a patched program, and its own sockets."""

from __future__ import annotations

import green
import pytest
from world import DATA, DIGEST, digest, needs

eventlet = needs("eventlet")

pytestmark = [pytest.mark.library("eventlet"), pytest.mark.before("eventlet")]


def test_http(world):
    """10 MB come and go, while another green thread goes on."""
    green.over_http(world)


def test_duplex(world):
    """10 MB in both directions at once on one connection, its socket eventlet's."""
    from eventlet.green.ssl import GreenSSLSocket

    green.duplex(world, GreenSSLSocket)


def test_own_sockets(world):
    """eventlet.listen, eventlet.connect and eventlet.spawn."""
    door = eventlet.listen(("127.0.0.1", 0))
    context = world.server()

    def serve():
        plain, _ = door.accept()
        with context.wrap_socket(plain, server_side=True) as conn:
            conn.sendall(DATA)

    job = eventlet.spawn(serve)
    plain = eventlet.connect(door.getsockname())
    with world.client().wrap_socket(plain, server_hostname="localhost") as conn:
        got = b"".join(iter(lambda: conn.recv(1 << 16), b""))
    assert digest(got) == DIGEST
    job.wait()


def test_rejected_certificate(world):
    """A server of an unknown authority is an ssl.SSLCertVerificationError."""
    green.rejected(world)

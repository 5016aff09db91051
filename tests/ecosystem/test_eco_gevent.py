"""gevent with contexts: a patched program, and its StreamServer."""

from __future__ import annotations

import green
import pytest
from world import DATA, DIGEST, digest, needs

gevent = needs("gevent")

pytestmark = [pytest.mark.library("gevent"), pytest.mark.before("gevent")]


def test_http(world):
    """10 MB come and go, while another green thread goes on."""
    green.over_http(world)


def test_duplex(world):
    """10 MB in both directions at once on one connection, its socket gevent's."""
    import gevent.ssl

    green.duplex(world, gevent.ssl.SSLSocket)


def test_stream_server(world):
    """gevent's own server takes a context."""
    import gevent.server
    import gevent.socket

    def handle(sock, address):
        sock.sendall(DATA)
        sock.close()

    server = gevent.server.StreamServer(("127.0.0.1", 0), handle, ssl_context=world.server())
    server.start()
    plain = gevent.socket.create_connection(("127.0.0.1", server.server_port))
    with world.client().wrap_socket(plain, server_hostname="localhost") as conn:
        got = b"".join(iter(lambda: conn.recv(1 << 16), b""))
    assert digest(got) == DIGEST
    server.stop()


def test_rejected_certificate(world):
    """A server of an unknown authority is an ssl.SSLCertVerificationError."""
    green.rejected(world)

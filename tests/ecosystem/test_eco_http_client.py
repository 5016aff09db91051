"""http.client and http.server with contexts."""

from __future__ import annotations

import http.client

import pytest
from servers import https
from world import DATA, DEADLINE, DIGEST, digest, refused

pytestmark = pytest.mark.library("Python")


def connect(port, context):
    """Return a connection object for the server at `port`."""
    return http.client.HTTPSConnection("localhost", port, timeout=DEADLINE, context=context)


def test_client(world):
    """10 MB come and go on one connection that is kept alive."""
    with https(world.peer_server()) as port:
        client = connect(port, world.client())
        client.request("GET", "/")
        assert digest(client.getresponse().read()) == DIGEST
        client.request("POST", "/", DATA)
        assert client.getresponse().read().decode() == DIGEST
        client.close()


def test_server(world):
    """http.server on a listening socket of ours moves 10 MB each way."""
    with https(world.server()) as port:
        client = connect(port, world.peer_client())
        client.request("GET", "/")
        assert digest(client.getresponse().read()) == DIGEST
        client.request("POST", "/", DATA)
        assert client.getresponse().read().decode() == DIGEST
        client.close()


def test_rejected_certificate(world):
    """A server of an unknown authority is an ssl.SSLCertVerificationError."""
    with https(world.peer_server()) as port, refused():
        connect(port, world.stranger()).request("GET", "/")

"""Clients of the stdlib's `ssl` for servers under test."""

from __future__ import annotations

import http.client
import ssl

import pytest
from world import DATA, DEADLINE, DIGEST, digest


def connect(port, context):
    """Return a connection object for the HTTPS server at `port`."""
    return http.client.HTTPSConnection("localhost", port, timeout=DEADLINE, context=context)


def check_https(world, port):
    """Move 10 MB each way with a server that asks for certificates, and be refused without one."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        refused = connect(port, world.peer_client())
        refused.request("GET", "/")
        refused.getresponse()
    client = connect(port, world.peer_client(certificate=True))
    client.request("GET", "/")
    assert digest(client.getresponse().read()) == DIGEST
    client.request("POST", "/", DATA)
    assert client.getresponse().read().decode() == DIGEST
    client.close()

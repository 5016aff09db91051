"""poplib, with STLS and implicit TLS, against a POP3 server over TLS."""

from __future__ import annotations

import poplib

import pytest
from servers import HALF, LOGIN, from_lines, pop3
from world import DEADLINE, refused

pytestmark = pytest.mark.library("Python")


def connect(port, context, implicit):
    """Return a client that speaks TLS already."""
    if implicit:
        return poplib.POP3_SSL("localhost", port, timeout=DEADLINE, context=context)
    client = poplib.POP3("localhost", port, timeout=DEADLINE)
    client.stls(context)
    return client


@pytest.mark.parametrize("implicit", (False, True))
def test_retrieve(world, implicit):
    """10 MB of text come."""
    with pop3(world.server(), implicit) as port:
        client = connect(port, world.client(), implicit)
        client.user(LOGIN[0])
        client.pass_(LOGIN[1])
        assert from_lines(client.retr(1)[1]) == HALF
        client.quit()


@pytest.mark.parametrize("implicit", (False, True))
def test_rejected_certificate(world, implicit):
    """A server of an unknown authority is an ssl.SSLCertVerificationError."""
    with pop3(world.peer_server(), implicit) as port, refused():
        connect(port, world.stranger(), implicit)

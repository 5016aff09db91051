"""imaplib, with STARTTLS and implicit TLS, against an IMAP server over TLS."""

from __future__ import annotations

import imaplib

import pytest
from servers import LOGIN, imap
from world import DATA, DEADLINE, DIGEST, digest, refused

pytestmark = pytest.mark.library("Python")


def connect(port, context, implicit):
    """Return a client that speaks TLS already."""
    if implicit:
        return imaplib.IMAP4_SSL("localhost", port, ssl_context=context, timeout=DEADLINE)
    client = imaplib.IMAP4("localhost", port, timeout=DEADLINE)
    client.starttls(context)
    return client


@pytest.mark.parametrize("implicit", (False, True))
def test_both_ways(world, implicit):
    """A message of 10 MB is stored and fetched."""
    with imap(world.server(), implicit) as port:
        client = connect(port, world.client(), implicit)
        client.login(*LOGIN)
        client.select()
        # imaplib turns lone line ends into CRLF before it sends.
        text = DATA.hex().encode()
        assert client.append("INBOX", None, None, text)[1] == [digest(text).encode()]
        assert digest(client.fetch("1", "(RFC822)")[1][0][1]) == DIGEST
        client.logout()


@pytest.mark.parametrize("implicit", (False, True))
def test_rejected_certificate(world, implicit):
    """A server of an unknown authority is an ssl.SSLCertVerificationError."""
    with imap(world.peer_server(), implicit) as port, refused():
        connect(port, world.stranger(), implicit)

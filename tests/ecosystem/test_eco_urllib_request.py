"""urllib.request with a context, against an HTTPS server."""

from __future__ import annotations

import os
import urllib.error
import urllib.request

import pytest
from servers import https
from world import DATA, DEADLINE, DIGEST, digest, refused

pytestmark = pytest.mark.library("Python")


def fetch(port, context, data=None):
    """Return the body of one request."""
    url = f"https://localhost:{port}/"
    with urllib.request.urlopen(url, data, timeout=DEADLINE, context=context) as answer:
        return answer.read()


def test_both_ways(world):
    """10 MB come and go."""
    context = world.client()
    with https(world.peer_server()) as port:
        assert digest(fetch(port, context)) == DIGEST
        assert fetch(port, context, DATA).decode() == DIGEST


def test_opener(world):
    """An HTTPSHandler takes a context, too."""
    with https(world.peer_server()) as port:
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=world.client()))
        with opener.open(f"https://localhost:{port}/", timeout=DEADLINE) as answer:
            assert digest(answer.read()) == DIGEST


@pytest.mark.ways("install")
def test_without_a_context(world):
    """The context that urlopen makes by itself is of the module in the place of `ssl`."""
    with https(world.peer_server()) as port:
        with refused(urllib.error.URLError):
            fetch(port, None)
        os.environ["SSL_CERT_FILE"] = world.ca
        urllib.request.install_opener(None)  # from Python 3.12 on it keeps its context
        assert digest(fetch(port, None)) == DIGEST


def test_rejected_certificate(world):
    """A server of an unknown authority is a URLError around the ssl.SSLError."""
    with https(world.peer_server()) as port, refused(urllib.error.URLError):
        fetch(port, world.stranger())

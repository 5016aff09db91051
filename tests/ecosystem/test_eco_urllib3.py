"""urllib3, with an ssl_context and with contexts of its own, against an HTTPS server."""

from __future__ import annotations

import pytest
from servers import https
from world import DATA, DEADLINE, DIGEST, digest, needs, refused

urllib3 = needs("urllib3")

pytestmark = pytest.mark.library("urllib3")


def fetch(port, **options):
    """Move the data both ways, with a pool of these options."""
    with urllib3.PoolManager(timeout=DEADLINE, retries=False, **options) as pool:
        url = f"https://localhost:{port}/"
        assert digest(pool.request("GET", url).data) == DIGEST
        assert pool.request("POST", url, body=DATA).data.decode() == DIGEST


def test_both_ways(world):
    """10 MB come and go."""
    with https(world.peer_server()) as port:
        fetch(port, ssl_context=world.client())


@pytest.mark.ways("install")
def test_without_a_context(world):
    """The context that urllib3 makes is of the module in the place of `ssl`."""
    from urllib3.util import ssl_

    assert world.way == "stdlib" or ssl_.SSLContext is world.tls.SSLContext
    with https(world.peer_server()) as port:
        fetch(port, ca_certs=world.ca)


def test_streaming(world):
    """A body that is read in pieces."""
    with https(world.peer_server()) as port:
        with urllib3.PoolManager(timeout=DEADLINE, ssl_context=world.client()) as pool:
            answer = pool.request("GET", f"https://localhost:{port}/", preload_content=False)
            assert digest(b"".join(answer.stream(100_000))) == DIGEST


def test_rejected_certificate(world):
    """A server of an unknown authority is urllib3's SSLError."""
    with https(world.peer_server()) as port, refused(urllib3.exceptions.SSLError):
        fetch(port, ssl_context=world.stranger())

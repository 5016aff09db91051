"""requests, with an adapter that has a context and with `verify=`, against an HTTPS server."""

from __future__ import annotations

import pytest
from servers import https
from world import DATA, DEADLINE, DIGEST, digest, needs, refused

requests = needs("requests")

pytestmark = pytest.mark.library("requests")


class ContextAdapter(requests.adapters.HTTPAdapter):
    """An adapter whose connections use a given context."""

    def __init__(self, context):
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args, **kwargs):
        """Make urllib3's pool, with the context."""
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)


def session(context):
    """Return a session with a context."""
    made = requests.Session()
    made.mount("https://", ContextAdapter(context))
    return made


def move(session, port, **options):
    """Move the data both ways."""
    url = f"https://localhost:{port}/"
    with session:
        assert digest(session.get(url, timeout=DEADLINE, **options).content) == DIGEST
        assert session.post(url, DATA, timeout=DEADLINE, **options).text == DIGEST


def test_both_ways(world):
    """10 MB come and go."""
    with https(world.peer_server()) as port:
        move(session(world.client()), port)


@pytest.mark.ways("install")
def test_without_a_context(world):
    """The context that requests has made is of the module in the place of `ssl`."""
    with https(world.peer_server()) as port:
        move(requests.Session(), port, verify=world.ca)


def test_rejected_certificate(world):
    """A server of an unknown authority is requests' SSLError."""
    with https(world.peer_server()) as port, refused(requests.exceptions.SSLError):
        move(session(world.stranger()), port)

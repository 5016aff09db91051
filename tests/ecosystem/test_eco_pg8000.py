"""pg8000 with a context, against PostgreSQL: TLS begins after a request in the clear."""

from __future__ import annotations

import pytest
from world import DATA, DEADLINE, DIGEST, digest, needs, refused

needs("pg8000")

pytestmark = pytest.mark.library("pg8000")


def connect(port, context):
    """Return a connection."""
    import pg8000.native

    return pg8000.native.Connection(
        "postgres", host="localhost", port=port, ssl_context=context, timeout=DEADLINE
    )


def move(connection):
    """Let the server see the data, and get it back."""
    query = "SELECT encode(sha256(:d ::bytea), 'hex'), :d ::bytea, version FROM pg_stat_ssl"
    seen, back, version = connection.run(f"{query} WHERE pid = pg_backend_pid()", d=DATA)[0]
    assert version == "TLSv1.3"
    assert seen == DIGEST and digest(back) == DIGEST
    connection.close()


def test_both_ways(world, postgres):
    """10 MB come and go."""
    move(connect(postgres, world.client()))


@pytest.mark.ways("install")
def test_without_a_context(world, postgres):
    """The context that pg8000 makes, which trusts everyone, is of the module in `ssl`'s place."""
    move(connect(postgres, True))


def test_rejected_certificate(world, postgres):
    """A server of an unknown authority is an ssl.SSLCertVerificationError."""
    with refused():
        connect(postgres, world.stranger())

"""PyMySQL with a context, against MariaDB: TLS begins after the server's greeting."""

from __future__ import annotations

import pytest
from world import DATA, DEADLINE, DIGEST, digest, needs, refused

pymysql = needs("pymysql")

pytestmark = pytest.mark.library("PyMySQL")


def connect(port, **options):
    """Return a connection."""
    limits = dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), DEADLINE)
    return pymysql.connect(host="localhost", port=port, user="root", **limits, **options)


def move(connection):
    """Let the server see the data, and get it back."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_version'")
        assert cursor.fetchone()[1] == "TLSv1.3"
        cursor.execute("SELECT SHA2(d, 256), d FROM (SELECT _binary %s AS d) AS t", (DATA,))
        seen, back = cursor.fetchone()
        assert seen == DIGEST and digest(back) == DIGEST


def test_both_ways(world, mariadb):
    """10 MB come and go."""
    move(connect(mariadb, ssl=world.client()))


@pytest.mark.ways("install")
def test_without_a_context(world, mariadb):
    """The context that PyMySQL makes is of the module in the place of `ssl`."""
    move(connect(mariadb, ssl_ca=world.ca, ssl_verify_cert=True, ssl_verify_identity=True))


def test_rejected_certificate(world, mariadb):
    """A server of an unknown authority is PyMySQL's OperationalError."""
    with refused(pymysql.err.OperationalError):
        connect(mariadb, ssl=world.stranger())

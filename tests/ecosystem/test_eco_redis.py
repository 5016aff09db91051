"""redis-py against redis-server: it takes no context, so a connection class or `ssl=True`."""

from __future__ import annotations

import pytest
from world import DATA, DEADLINE, DIGEST, digest, needs, refused

redis = needs("redis")

pytestmark = pytest.mark.library("redis")


class ContextConnection(redis.SSLConnection):
    """redis-py's own TLS connection, but with a given context."""

    def __init__(self, context, **options):
        self._context = context
        super().__init__(**options)

    def _wrap_socket_with_ssl(self, sock):
        return self._context.wrap_socket(sock, server_hostname=self.host)


def client(port, context):
    """Return a client whose connections use `context`."""
    pool = redis.ConnectionPool(
        connection_class=ContextConnection,
        context=context,
        host="localhost",
        port=port,
        socket_timeout=DEADLINE,
    )
    return redis.Redis(connection_pool=pool)


def test_both_ways(world, redis_server):
    """A value of 10 MB is set and got."""
    with client(redis_server, world.client()) as r:
        r.set("key", DATA)
        assert digest(r.get("key")) == DIGEST
        assert r.connection_pool.get_connection()._sock.__class__ is world.tls.SSLSocket


@pytest.mark.ways("install")
def test_without_a_context(world, redis_server):
    """The context that redis-py makes is of the module in the place of `ssl`."""
    options = {"ssl": True, "ssl_ca_certs": world.ca, "socket_timeout": DEADLINE}
    with redis.Redis("localhost", redis_server, **options) as r:
        r.set("key", DATA)
        assert digest(r.get("key")) == DIGEST
    with redis.Redis("localhost", redis_server, ssl=True) as r:
        with refused(redis.ConnectionError):
            r.ping()


@pytest.mark.ways("install")
async def test_asyncio(world, redis_server):
    """So is the context of its asyncio half."""
    import redis.asyncio

    options = {"ssl": True, "ssl_ca_certs": world.ca, "socket_timeout": DEADLINE}
    async with redis.asyncio.Redis(host="localhost", port=redis_server, **options) as r:
        await r.set("key", DATA)
        assert digest(await r.get("key")) == DIGEST


def test_rejected_certificate(world, redis_server):
    """A server of an unknown authority is redis-py's ConnectionError."""
    with client(redis_server, world.stranger()) as r, refused(redis.ConnectionError):
        r.ping()

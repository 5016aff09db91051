"""asyncpg with a context, against PostgreSQL: it upgrades asyncio's transport by itself."""

from __future__ import annotations

import pytest
from world import DATA, DEADLINE, DIGEST, digest, needs, refused

asyncpg = needs("asyncpg", pypy="it is written in Cython for CPython")

pytestmark = pytest.mark.library("asyncpg")


async def connect(port, context):
    """Return a connection."""
    return await asyncpg.connect(
        host="localhost", port=port, user="postgres", ssl=context, timeout=DEADLINE
    )


async def test_both_ways(world, postgres):
    """10 MB come and go."""
    connection = await connect(postgres, world.client())
    transport = connection._transport
    assert type(transport.get_extra_info("ssl_object")) is world.tls.SSLObject
    query = "SELECT encode(sha256($1::bytea), 'hex'), $1::bytea"
    seen, back = await connection.fetchrow(query, DATA)
    assert seen == DIGEST and digest(back) == DIGEST
    await connection.close()


async def test_rejected_certificate(world, postgres):
    """A server of an unknown authority is an ssl.SSLCertVerificationError."""
    with refused():
        await connect(postgres, world.stranger())

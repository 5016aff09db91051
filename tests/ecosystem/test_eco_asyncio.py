"""asyncio: create_connection, start_server, start_tls and unix sockets."""

from __future__ import annotations

import aio
import pytest

pytestmark = pytest.mark.library("Python")


async def test_tcp(world):
    """10 MB come and go over streams."""
    await aio.over_tcp(world)


async def test_unix(world):
    """10 MB come and go over a unix socket."""
    await aio.over_unix(world)


async def test_start_tls(world):
    """10 MB come and go after an upgrade in place."""
    await aio.over_start_tls(world)


async def test_rejected_certificate(world):
    """A server of an unknown authority is an ssl.SSLCertVerificationError."""
    await aio.rejected(world)

"""uvloop: the same as asyncio, on its loop, which takes the names of `ssl` when it is imported."""

from __future__ import annotations

import aio
import pytest
from world import needs

uvloop = needs("uvloop", pypy="it is written in Cython for CPython")

pytestmark = pytest.mark.library("uvloop")


def run(coroutine):
    """Run a coroutine on uvloop's loop."""
    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(coroutine)
    finally:
        loop.close()


def test_tcp(world):
    """10 MB come and go over streams."""
    run(aio.over_tcp(world))


def test_unix(world):
    """10 MB come and go over a unix socket."""
    run(aio.over_unix(world))


def test_start_tls(world):
    """10 MB come and go after an upgrade in place."""
    run(aio.over_start_tls(world))


def test_rejected_certificate(world):
    """A server of an unknown authority is an ssl.SSLCertVerificationError."""
    run(aio.rejected(world))

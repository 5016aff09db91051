"""smtplib, with STARTTLS and implicit TLS, against aiosmtpd, which takes contexts as well."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib

import pytest
from servers import HALF, as_lines, from_lines
from world import DEADLINE, in_loop, needs, refused

needs("aiosmtpd")

pytestmark = pytest.mark.library("aiosmtpd")


class Mailbox:
    """Keeps the last message."""

    async def handle_DATA(self, server, session, envelope):
        """Take a message (a hook of aiosmtpd's)."""
        self.content = envelope.content
        return "250 OK"


@contextlib.contextmanager
def smtp(context, implicit):
    """Serve SMTP; yields the port and the mailbox."""
    from aiosmtpd.smtp import SMTP

    mailbox = Mailbox()

    async def start():
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: SMTP(mailbox, tls_context=None if implicit else context, loop=loop),
            "127.0.0.1",
            ssl=context if implicit else None,
        )

    with in_loop(start) as port:
        yield port, mailbox


def connect(port, context, implicit):
    """Return a client that speaks TLS already."""
    if implicit:
        return smtplib.SMTP_SSL("localhost", port, timeout=DEADLINE, context=context)
    client = smtplib.SMTP("localhost", port, timeout=DEADLINE)
    client.starttls(context=context)
    return client


@pytest.mark.parametrize("implicit", (False, True))
def test_send(world, implicit):
    """A message of 10 MB arrives."""
    with smtp(world.server(), implicit) as (port, mailbox):
        client = connect(port, world.client(), implicit)
        client.sendmail("a@example.org", ["b@example.org"], as_lines(HALF))
        client.quit()
        assert from_lines(mailbox.content.splitlines()) == HALF


@pytest.mark.parametrize("implicit", (False, True))
def test_rejected_certificate(world, implicit):
    """A server of an unknown authority is an ssl.SSLCertVerificationError."""
    with smtp(world.shunned(), implicit) as (port, _), refused():
        connect(port, world.stranger(), implicit)

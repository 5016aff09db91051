"""SSLSession: what a client keeps to shake hands faster next time."""

from __future__ import annotations

import gc
import ssl
import time

import pytest
from links import client_context, memory_pair, raw_pair, server_context, shake_memory, shaken_pair
from outcomes import PYPY, outcome
from pki import HOST

import sslbind


@pytest.fixture
def contexts(mod, pki, version):
    """A client and a server that many connections share."""
    return client_context(mod, pki, version), server_context(mod, pki, version)


def again(mod, contexts, session):
    """Shake hands once more with a session; return both ends."""
    left, right = memory_pair(*contexts, HOST, mod, mod, session)
    shake_memory(left, right)
    return left, right


def test_resumption(mod, pki, contexts, version):
    """A kept session is resumed; the certificate is known all the same."""
    left, right = shaken_pair(mod, pki, version, *contexts)
    assert (left.obj.session_reused, right.obj.session_reused) == (False, False)
    session = left.obj.session
    left2, right2 = again(mod, contexts, session)
    assert (left2.obj.session_reused, right2.obj.session_reused) == (True, True)
    assert left2.obj.getpeercert() == left.obj.getpeercert()
    assert contexts[1].session_stats()["hits"] == 1


def test_attributes(mod, pki, contexts, version):
    """A session tells its id, times (seconds) and ticket."""
    session = shaken_pair(mod, pki, version, *contexts)[0].obj.session
    assert isinstance(session, mod.SSLSession)
    assert isinstance(session.id, bytes)
    assert len(session.id) in (0, 32)
    assert abs(session.time - time.time()) < 60
    assert session.timeout > 0
    assert session.has_ticket is True
    assert session.ticket_lifetime_hint > 0


def test_equality(mod, pki, contexts, version):
    """Two views of the same session are equal; other sessions, and other things, are not."""
    left, _ = shaken_pair(mod, pki, version, *contexts)
    one, two = left.obj.session, left.obj.session
    assert one == two
    assert (one != two) is False
    other = shaken_pair(mod, pki, version, *contexts)[0].obj.session
    assert one != other
    assert one != 7
    with pytest.raises(TypeError):
        assert one < two


def test_no_session_before_the_handshake(mod, pki, contexts):
    """Before its handshake a connection has none."""
    left, right = memory_pair(*contexts, HOST, mod, mod)
    assert left.obj.session is None
    assert not left.obj.session_reused
    assert right.obj.session is None


def test_of_another_context(mod, pki, contexts, version):
    """A session belongs to its context."""
    session = shaken_pair(mod, pki, version, *contexts)[0].obj.session
    other = client_context(mod, pki, version)
    with pytest.raises(ValueError, match="different SSLContext"):
        memory_pair(other, contexts[1], HOST, mod, mod, session)


def test_set_too_late_or_elsewhere(mod, pki, contexts, version):
    """A session is set before the handshake, by the client."""
    left, right = shaken_pair(mod, pki, version, *contexts)
    session = left.obj.session
    with pytest.raises(ValueError, match="after handshake"):
        left.obj.session = session
    with pytest.raises(ValueError):
        right.obj.session = session
    fresh, _ = memory_pair(*contexts, HOST, mod, mod)
    for nonsense in ("text", 7, None, object()):
        with pytest.raises(TypeError):
            fresh.obj.session = nonsense
    fresh.obj.session = session


def test_on_sockets(mod, pki, contexts):
    """Sockets keep and resume sessions as objects do."""
    session = None
    for reused in (False, True):
        left, right = raw_pair()
        client = contexts[0].wrap_socket(
            left, server_hostname=HOST, session=session, do_handshake_on_connect=False
        )
        server = contexts[1].wrap_socket(right, server_side=True, do_handshake_on_connect=False)
        with client, server:
            for end in (client, server):
                end.setblocking(False)
            waiting = [client, server]
            while waiting:
                for end in list(waiting):
                    if not outcome(end.do_handshake).error:
                        waiting.remove(end)
            server.send(b"x")
            assert client.recv(1) == b"x"
            assert client.session_reused is reused
            session = client.session


def test_without_tickets(mod, pki, version):
    """A server without tickets offers none (RFC 8446 section 4.6.1)."""
    client, server = client_context(mod, pki, version), server_context(mod, pki, version)
    server.options |= mod.OP_NO_TICKET
    server.num_tickets = 0
    session = shaken_pair(mod, pki, version, client, server)[0].obj.session
    assert session.has_ticket is False or PYPY


@pytest.fixture
def remembering(mod, pki, version):
    """A client, and a server that keeps its sessions itself."""
    client, server = client_context(mod, pki, version), server_context(mod, pki, version)
    server.options |= mod.OP_NO_TICKET
    return client, server


@pytest.mark.skipif(sslbind is ssl, reason="the stdlib does so from 3.13.1 on")
@pytest.mark.parametrize("mod", (sslbind,))
def test_resumed_after_an_end_without_close_notify(mod, pki, remembering, version):
    """A server knows the session again of a connection that was dropped, as clients of HTTP do."""
    session = shaken_pair(mod, pki, version, *remembering)[0].obj.session
    gc.collect()
    assert again(mod, remembering, session)[0].obj.session_reused


@pytest.mark.parametrize("version", ("TLSv1_2",))
def test_not_resumed_after_a_failure(mod, pki, remembering, version):
    """A fatal alert is the end of the session (RFC 5246 section 7.2.2)."""
    left, right = shaken_pair(mod, pki, version, *remembering)
    right.incoming.write(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(mod.SSLError):
        right.obj.read(1)
    assert not again(mod, remembering, left.obj.session)[0].obj.session_reused


def test_outlives_its_connection(mod, pki, contexts, version):
    """A session is good when its connection, and its server's context, are gone."""
    left, right = shaken_pair(mod, pki, version, *contexts)
    session = left.obj.session
    name = session.id
    del left, right
    assert session.id == name
    assert again(mod, contexts, session)[0].obj.session_reused


def test_between_modules(pki):
    """A session of the stdlib's is none of ours: refused with a TypeError, not trusted."""
    if sslbind.SSLSession is ssl.SSLSession:
        pytest.skip("the stdlib stands in for sslbind")
    left, _ = shaken_pair(ssl, pki)
    fresh, _ = memory_pair(client_context(sslbind, pki), server_context(sslbind, pki))
    with pytest.raises(TypeError):
        fresh.obj.session = left.obj.session

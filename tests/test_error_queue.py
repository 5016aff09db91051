"""What other code has left in OpenSSL's queue of errors is never taken for an operation's own.

Each scene is played with the queue empty and with an error in it: the two must be told alike.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import ssl

import pytest
from links import DEADLINE, Link, client_context, memory_pair, server_context, shake_memory
from outcomes import outcome
from test_errors import (
    AFTERWARDS,
    PARTINGS,
    SHORT,
    WAITS,
    attempt,
    goodbye,
    part_in_memory,
    reset,
    send_to_nobody,
    table,
    words_then_goodbye,
)

import sslbind
from sslbind import _sslbind

LITTER = {
    "library": (11, 109),  # X509_R_UNKNOWN_NID
    "system": (2, errno.ENOENT),  # ERR_LIB_SYS
    "memory": (15, 256 | 3 << 18),  # ERR_LIB_CRYPTO, ERR_R_MALLOC_FAILURE
}


@pytest.fixture(scope="module")
def crypto():
    """Return the libcrypto that sslbind is linked with: found as a dependency (dlsym(3))."""
    library = ctypes.CDLL(_sslbind.__file__)
    if not hasattr(library, "ERR_set_error"):
        pytest.skip("linked with a libcrypto that shows no symbols")
    library.ERR_peek_error.restype = ctypes.c_ulong
    return library


@pytest.fixture(params=LITTER.values(), ids=list(LITTER))
def litter(crypto, request):
    """Return what leaves an error in this thread's queue."""

    def leave() -> None:
        crypto.ERR_new()
        crypto.ERR_set_error(*request.param, None)
        assert crypto.ERR_peek_error()

    yield leave
    crypto.ERR_clear_error()


@pytest.fixture
def alike(litter):
    """Return what plays `scene(outcome)` in both ways; it uses that for the steps that count."""

    def littered(step, *args):
        litter()
        return outcome(step, *args)

    def play(scene) -> None:
        expected = scene(outcome)
        assert scene(littered) == expected

    return play


@pytest.mark.parametrize("name", AFTERWARDS)
@table(PARTINGS)
def test_parting(alike, fault, name, version, pki):
    """The end of a connection, clean or not."""

    def scene(told):
        with Link(sslbind, pki, version, suppress_ragged_eofs=False) as made:
            fault(made)
            if fault in (goodbye, words_then_goodbye):
                made.theirs.setblocking(True)
                made.ours.settimeout(DEADLINE)
            return [told(AFTERWARDS[name], made.ours) for _ in range(1 if name == "unwrap" else 3)]

    alike(scene)


@pytest.mark.parametrize("buffers", (sslbind, ssl), ids=("own", "foreign"))
@table(PARTINGS)
def test_parting_in_memory(alike, fault, buffers, version, pki):
    """The same of objects, over both classes of memory buffers."""
    alike(lambda told: part_in_memory(sslbind, fault, version, pki, told, buffers))


@pytest.mark.parametrize("name", AFTERWARDS)
def test_reset(alike, name, version, pki):
    """A reset connection gives the system's error."""

    def scene(told):
        with Link(sslbind, pki, version, suppress_ragged_eofs=False) as made:
            reset(made.theirs)
            return [told(AFTERWARDS[name], made.ours)]

    alike(scene)


def test_broken_pipe(alike, version, pki):
    """So does one whose other end is gone."""
    alike(lambda told: send_to_nobody(sslbind, pki, version, told))


@pytest.mark.parametrize("timeout", (SHORT, 0.0), ids=("timeout", "non-blocking"))
@pytest.mark.parametrize("name", [name for name in WAITS if name != "makefile"])
def test_waits(alike, name, timeout, version, pki):
    """What has to wait says so, and goes on."""

    def scene(told):
        with Link(sslbind, pki, version) as made:
            made.ours.settimeout(timeout)
            return [told(WAITS[name], made.ours) for _ in range(2)]

    alike(scene)


def test_nothing_there_in_memory(alike, version, pki):
    """An object without a record, or with half of one, wants to read."""

    def scene(told):
        left, right = memory_pair(
            client_context(sslbind, pki, version), server_context(sslbind, pki, version)
        )
        stories = [told(left.obj.do_handshake)]
        left.flush()
        for _ in range(3):
            for end in (right, left):
                attempt(end.obj.do_handshake)
                end.flush()
        stories.append(told(left.obj.read, 9))
        right.obj.write(b"in halves")
        record = right.outgoing.read()
        for half in (record[:20], record[20:]):
            left.incoming.write(half)
            stories.append(told(left.obj.read, 9))
        return stories

    alike(scene)


def test_write_after_own_goodbye(alike, version, pki):
    """OpenSSL's own refusal is what is reported."""

    def scene(told):
        with Link(sslbind, pki, version) as made:
            goodbye(made)
            made.theirs.setblocking(True)
            made.ours.settimeout(DEADLINE)
            return [
                told(AFTERWARDS["recv"], made.ours),
                told(made.ours.write, b"x"),
                told(AFTERWARDS["unwrap"], made.ours),
                told(made.ours.write, b"x"),
            ]

    alike(scene)


def context_with_callback(pki, version, callback):
    context = client_context(sslbind, pki, version)
    context._msg_callback = callback
    return context


@pytest.mark.parametrize("family", ("unix", "tcp"))
@table(PARTINGS)
def test_callbacks(crypto, litter, fault, family, version, pki):
    """A message callback may leave errors in the queue, or clear it: it makes no difference."""

    def scene(callback):
        contexts = context_with_callback(pki, version, callback), server_context(ssl, pki, version)
        with Link(sslbind, pki, version, "client", family, contexts) as made:
            fault(made)
            if fault in (goodbye, words_then_goodbye):
                made.theirs.setblocking(True)
                made.ours.settimeout(DEADLINE)
            return [outcome(AFTERWARDS["recv"], made.ours) for _ in range(3)]

    told = scene(lambda *args: None)
    assert scene(lambda *args: litter()) == told
    assert scene(lambda *args: crypto.ERR_clear_error()) == told


@pytest.mark.parametrize("signer", ("ca", "other_ca"))
@pytest.mark.parametrize("over_sockets", (False, True), ids=("memory", "sockets"))
def test_post_handshake_authentication(alike, over_sockets, signer, pki):
    """A handshake message amidst data, and the certificate that it brings, good or bad."""

    def scene(told):
        client = client_context(ssl, pki, "TLSv1_3")
        server = server_context(sslbind, pki, "TLSv1_3")
        client.load_cert_chain(pki.client.both)
        client.post_handshake_auth = server.post_handshake_auth = True
        server.verify_mode = ssl.CERT_REQUIRED
        server.load_verify_locations(getattr(pki, signer))
        if over_sockets:
            with Link(sslbind, pki, role="server", contexts=(server, client)) as made:
                return told_of_certificate(told, made.ours, made.theirs, lambda: None)
        left, right = memory_pair(client, server, server_mod=sslbind)
        shake_memory(left, right)
        attempt(left.obj.read, 1)  # the session tickets

        def carry():
            left.flush()
            right.flush()

        return told_of_certificate(told, right.obj, left.obj, carry)

    alike(scene)


def told_of_certificate(told, ours, theirs, carry):
    """Ask for the client's certificate; tell what comes of it."""
    ours.verify_client_post_handshake()
    stories = [told(ours.write, b"ask")]
    carry()
    assert theirs.read(9) == b"ask"
    theirs.write(b"words")
    carry()
    stories.append(told(ours.read, 9))
    if hasattr(ours, "setblocking"):
        ours.setblocking(False)
    return [*stories, told(ours.read, 9), told(ours.getpeercert, True)]


def test_nothing_stays_behind(crypto, litter, version, pki):
    """After a failure the queue is empty, for those who do not look before they call."""
    with Link(sslbind, pki, version) as made:
        made.ours.setblocking(False)
        litter()
        assert outcome(made.ours.recv, 1).error == "SSLWantReadError"
        assert not crypto.ERR_peek_error()


@pytest.mark.parametrize("timeout", (SHORT, 0.0), ids=("timeout", "non-blocking"))
def test_shorter_repetition(alike, timeout, version, pki):
    """A write that is repeated with less is refused, whatever has been waited for in between."""

    def scene(told):
        with Link(sslbind, pki, version, family="unix") as made:
            made.ours.settimeout(timeout)
            data = b"x" * 4_000_000
            stories = [told(made.ours.write, data)]
            made.theirs.setblocking(False)
            drain(made.theirs)
            stories += [told(made.ours.recv, 1), told(made.ours.write, data[:1])]
            assert dict(stories[-1].details)["reason"] == "BAD_LENGTH"
            return stories

    alike(scene)


def drain(sock) -> None:
    """Read what has come."""
    with contextlib.suppress(ssl.SSLWantReadError):
        while sock.recv(65536):
            pass

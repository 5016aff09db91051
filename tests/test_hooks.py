"""Python functions that OpenSSL calls: SNI, ALPN, passwords, messages, key log, PSK.

A hook that fails ends the operation it was called from. It never passes for a success.
"""

from __future__ import annotations

import gc
import os
import ssl
import sys
import weakref

import pytest
from links import (
    client_context,
    memory_pair,
    pin,
    server_context,
    shake_memory,
    shaken_pair,
)
from outcomes import PYPY, outcome
from pki import HOST, PASSWORD

import sslbind


def need(mod, name: str) -> None:
    """Skip the oracle's turn where this Python's stdlib lacks what sslbind brings to it."""
    if mod is not sslbind and not hasattr(mod.SSLContext, name):
        pytest.skip(f"this Python's ssl has no {name}")


def failing(left, right):
    """Shake hands; return the errors of both ends."""
    errors = {}
    for _ in range(5):
        for end in (left, right):
            if end not in errors:
                told = outcome(end.obj.do_handshake)
                if told.error not in ("", "SSLWantReadError"):
                    errors[end] = told
                end.flush()
    return errors.get(left), errors.get(right)


@pytest.fixture
def unraisable(monkeypatch):
    """The exceptions that were reported because nobody could catch them."""
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append(args.exc_value))
    return seen


# --- Server name indication --------------------------------------------------------------------


def named_pair(mod, pki, version, hook, name=HOST, checked=True):
    """Return a memory pair whose server has an SNI hook."""
    client, server = client_context(mod, pki, version), server_context(mod, pki, version)
    client.check_hostname = checked
    server.sni_callback = hook
    return memory_pair(client, server, name, mod, mod)


def test_sni_hook_sees_the_name(mod, pki, version):
    """The hook gets the connection, the name and the context that was set."""
    seen = []
    left, right = named_pair(mod, pki, version, lambda *args: seen.append(args))
    shake_memory(left, right)
    assert seen == [(right.obj, HOST, right.obj.context)]


@pytest.mark.parametrize("name", ("127.0.0.1", None))
def test_sni_hook_without_a_name(mod, pki, version, name):
    """Without a name (addresses are none, RFC 6066 section 3) the hook gets None."""
    seen = []
    left, right = named_pair(
        mod, pki, version, lambda sock, given, context: seen.append(given), name, name is not None
    )
    shake_memory(left, right)
    assert seen == [None]


def test_sni_hook_decodes_idna(mod, pki):
    """An internationalized name comes as it went over the wire."""
    seen = []
    left, right = named_pair(
        mod, pki, None, lambda s, n, c: seen.append(n), "könig.example", checked=False
    )
    shake_memory(left, right)
    assert seen == ["xn--knig-5qa.example"]


def test_sni_hook_changes_the_context(mod, pki, version):
    """The hook may choose another context, and so another certificate."""
    other = server_context(mod, pki, version, pki.second)

    def hook(sock, name, context):
        sock.context = other

    left, right = named_pair(mod, pki, version, hook, "second.example")
    shake_memory(left, right)
    assert left.obj.getpeercert()["subjectAltName"] == (("DNS", "second.example"),)
    assert right.obj.context is other


@pytest.mark.parametrize("hooked", ((), ("first",), ("second",), ("first", "second")))
def test_sni_hook_of_a_context_set_before(mod, pki, version, hooked):
    """The hook is that of the context which the connection has when the name comes."""
    if mod is ssl and sys.version_info < (3, 15):
        pytest.skip("before 3.14.10 the stdlib asks the context that was there first, too")
    seen = []
    contexts = {name: server_context(mod, pki, version) for name in ("first", "second")}
    for name in hooked:
        contexts[name].sni_callback = lambda *args: seen.append(args)
    client = client_context(mod, pki, version)
    left, right = memory_pair(client, contexts["first"], HOST, mod, mod)
    right.obj.context = contexts["second"]
    shake_memory(left, right)
    assert seen == ([(right.obj, HOST, contexts["second"])] if "second" in hooked else [])


@pytest.mark.parametrize("alert", ("ACCESS_DENIED", "UNRECOGNIZED_NAME", "INTERNAL_ERROR"))
def test_sni_hook_refuses(mod, pki, version, alert):
    """What the hook returns is the alert that the client gets."""
    code = getattr(mod, f"ALERT_DESCRIPTION_{alert}")
    left, right = named_pair(mod, pki, version, lambda *_: code)
    client, server = failing(left, right)
    assert server.error == "SSLError"
    assert dict(client.details)["reason"].endswith(alert)


@pytest.mark.parametrize("answer", ("text", 1.5, []), ids=repr)
def test_sni_hook_returns_nonsense(mod, pki, version, answer, unraisable):
    """Nonsense from the hook ends the handshake, and is reported."""
    left, right = named_pair(mod, pki, version, lambda *_: answer)
    client, server = failing(left, right)
    assert client.error == server.error == "SSLError"
    assert isinstance(unraisable[0], TypeError)


@pytest.mark.parametrize("error", (ZeroDivisionError, KeyboardInterrupt, SystemExit))
def test_sni_hook_raises(mod, pki, version, error, unraisable):
    """A hook that raises ends the handshake; the client gets handshake_failure."""
    if mod is ssl and PYPY:
        pytest.skip("PyPy reports elsewhere")

    def hook(*_):
        raise error("from the hook")

    left, right = named_pair(mod, pki, version, hook)
    client, server = failing(left, right)
    assert dict(server.details)["reason"] == "CALLBACK_FAILED"
    assert dict(client.details)["reason"].endswith("HANDSHAKE_FAILURE")
    assert isinstance(unraisable[0], error)


@pytest.mark.parametrize("owned", (True, False))
def test_sni_hook_sees_who_is_left(mod, pki, version, owned):
    """Of a connection whose object is gone nobody is told, and it fails; one of its own is seen."""
    if mod is ssl and (PYPY or owned):
        pytest.skip("PyPy's has it otherwise, and 3.13's is mended in later releases")
    seen = []
    server = server_context(mod, pki, version)
    server.sni_callback = lambda *args: seen.append(args)
    came, go = mod.MemoryBIO(), mod.MemoryBIO()
    if owned:
        public = server.wrap_bio(came, go, server_side=True)
        conn = public._sslobj
        del public
        gc.collect()
    else:
        conn = server._wrap_bio(came, go, True)
    client = client_context(mod, pki, version).wrap_bio(mod.MemoryBIO(), came, server_hostname=HOST)
    with pytest.raises(mod.SSLWantReadError):
        client.do_handshake()
    told = outcome(conn.do_handshake)
    if owned:
        assert (dict(told.details)["reason"], seen) == ("CALLBACK_FAILED", [])
    else:
        assert (told.error, seen) == ("SSLWantReadError", [(conn, HOST, server)])


def test_sni_hook_is_kept_and_removed(mod, pki):
    """The attribute returns the very hook; None removes it."""

    def hook(*_):
        raise AssertionError("removed, and still called")

    server = server_context(mod, pki)
    assert server.sni_callback is None
    server.sni_callback = hook
    assert server.sni_callback is hook or (PYPY and mod is ssl)
    server.sni_callback = None
    assert server.sni_callback is None
    shaken_pair(mod, pki, server=server)
    with pytest.raises(TypeError):
        server.sni_callback = 7
    server.set_servername_callback(hook)
    server.set_servername_callback(None)
    shaken_pair(mod, pki, server=server)


def test_sni_hook_sets_nonsense(mod, pki, version, unraisable):
    """A hook that sets no context but something else fails closed."""

    def hook(sock, name, context):
        sock.context = "no context"

    left, right = named_pair(mod, pki, version, hook)
    client, server = failing(left, right)
    assert client.error == server.error == "SSLError"
    assert isinstance(unraisable[0], TypeError)


def test_sni_hook_may_use_the_library(pki, version):
    """Inside the hook other connections may be made, and errors may happen."""

    def hook(*_):
        shaken_pair(sslbind, pki, version)
        assert outcome(client_context(sslbind, pki).load_verify_locations, cadata="x").error

    left, right = named_pair(sslbind, pki, version, hook)
    shake_memory(left, right)


# --- Application protocols ---------------------------------------------------------------------

ALPN = {
    "both": (["h2", "http/1.1"], ["http/1.1", "h2"]),
    "one": (["a", "b"], ["c", "b"]),
    "none in common": (["a"], ["b"]),
    "client only": (["a"], None),
    "server only": (None, ["a"]),
    "empty client": ([], ["a"]),
    "empty server": (["a"], []),
    "prefix": (["http"], ["http/1.1"]),
    "long": (["x" * 255], ["x" * 255]),
}


@pytest.mark.parametrize("offered, known", ALPN.values(), ids=list(ALPN))
def test_alpn(pki, version, offered, known):
    """The protocol that is chosen is the one that the stdlib would choose."""

    def chosen(client_mod, server_mod):
        client = client_context(client_mod, pki, version)
        server = server_context(server_mod, pki, version)
        for context, names in ((client, offered), (server, known)):
            if names is not None:
                context.set_alpn_protocols(names)
        left, right = memory_pair(client, server, HOST, client_mod, server_mod)
        errors = failing(left, right)
        return (
            errors,
            left.obj.selected_alpn_protocol(),
            right.obj.selected_alpn_protocol(),
        )

    expected = chosen(ssl, ssl)
    for mods in ((sslbind, sslbind), (sslbind, ssl), (ssl, sslbind)):
        assert chosen(*mods) == expected, mods


# --- Passwords ---------------------------------------------------------------------------------


def test_password_hook_is_asked_only_when_needed(mod, pki):
    """For a key without a password nobody is asked."""
    calls = []

    def ask():
        calls.append(1)
        return PASSWORD

    context = mod.SSLContext(mod.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server.both, password=ask)
    assert calls == []
    context.load_cert_chain(pki.locked, password=ask)
    assert calls


@pytest.mark.parametrize("error", (ZeroDivisionError, KeyboardInterrupt, SystemExit))
def test_password_hook_raises(mod, pki, error):
    """What the hook raises comes out of load_cert_chain."""
    if mod is ssl and PYPY:
        pytest.skip("PyPy's own ssl loses it")

    def ask():
        raise error("no password today")

    context = mod.SSLContext(mod.PROTOCOL_TLS_SERVER)
    with pytest.raises(error, match="no password today"):
        context.load_cert_chain(pki.locked, password=ask)
    # The failure leaves nothing behind.
    context.load_cert_chain(pki.locked, password=PASSWORD)


def test_password_hook_that_raised_is_not_asked_again(mod, pki):
    """A second answer does not load what the first failed for; OpenSSL may ask several times."""
    if mod is ssl and PYPY:
        pytest.skip("PyPy's own ssl loses it")
    answers = [PASSWORD] * 9

    def ask():
        answers.pop()
        if len(answers) == 8:
            raise ZeroDivisionError
        return PASSWORD

    context = mod.SSLContext(mod.PROTOCOL_TLS_SERVER)
    with pytest.raises(ZeroDivisionError):
        context.load_cert_chain(pki.locked, password=ask)
    assert len(answers) == 8
    left, right = memory_pair(client_context(ssl, pki), context, HOST, ssl, mod)
    assert any(failing(left, right))


# --- Messages ----------------------------------------------------------------------------------


def test_message_hook(mod, pki, version):
    """The hook sees the handshake's messages go by, with their direction and kind."""
    client = client_context(mod, pki, version)
    seen = []
    client._msg_callback = lambda *args: seen.append(args)
    left, right = shaken_pair(mod, pki, version, client=client)
    conn, direction, ver, content, kind, data = seen[0]
    assert conn is left.obj
    kinds = {(entry[1], int(entry[4])) for entry in seen}
    assert ("write", 1) in kinds
    assert ("read", 2) in kinds
    assert all(isinstance(entry[5], bytes) for entry in seen)


def test_message_hook_raises(mod, pki, version):
    """What the hook raises comes out of the handshake, at the latest when it would succeed."""
    if mod is ssl and PYPY:
        pytest.skip("PyPy's own ssl loses it")
    client = client_context(mod, pki, version)

    def hook(*_):
        raise ZeroDivisionError("from the hook")

    client._msg_callback = hook
    left, right = memory_pair(client, server_context(mod, pki, version), HOST, mod, mod)
    with pytest.raises(ZeroDivisionError):
        shake_memory(left, right)


def test_message_hook_loses_one_record(mod, pki, version):
    """What the hook raises comes out of a read, and costs no more than the read's first record."""
    if mod is ssl and PYPY:
        pytest.skip("PyPy's own ssl loses it")
    size = 4 * 16384
    client = client_context(mod, pki, version)
    client._msg_callback = lambda *_: None
    left, right = shaken_pair(mod, pki, version, client=client)
    right.obj.write(b"x" * size)
    right.flush()
    raising = []

    def hook(*_):
        if not raising:
            raising.append(True)
            raise ZeroDivisionError("from the hook")

    client._msg_callback = hook
    with pytest.raises(ZeroDivisionError):
        left.obj.read(size)
    got = 0
    while got < size - 16384:
        got += len(left.obj.read(size))
    assert got == size - 16384


def test_message_hook_is_kept(mod, pki):
    """The attribute returns the hook; None removes it."""
    if mod is ssl and PYPY:
        pytest.skip("PyPy's own ssl cannot remove it")
    client = client_context(mod, pki)
    assert client._msg_callback is None

    def hook(*_):
        raise AssertionError("removed, and still called")

    client._msg_callback = hook
    assert callable(client._msg_callback)  # the stdlib wraps it
    client._msg_callback = None
    shaken_pair(mod, pki, client=client)


# --- Key log -----------------------------------------------------------------------------------

LABELS = {
    "TLSv1_2": {"CLIENT_RANDOM"},
    "TLSv1_3": {
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
        "EXPORTER_SECRET",
    },
}


def test_key_log(mod, pki, version, tmp_path):
    """The file gets a comment, then a line a secret (the NSS key log format)."""
    path = tmp_path / "keys.log"
    client = client_context(mod, pki, version)
    client.keylog_filename = str(path)
    assert client.keylog_filename == str(path)
    shaken_pair(mod, pki, version, client=client)
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# TLS secrets log file")
    assert {line.split()[0] for line in lines[1:]} == LABELS[version]
    assert all(len(line.split()) == 3 for line in lines[1:])
    # A second context appends, without a second header.
    server = server_context(mod, pki, version)
    server.keylog_filename = path
    shaken_pair(mod, pki, version, server=server)
    again = path.read_text().splitlines()
    assert len(again) == 2 * len(lines) - 1
    client.keylog_filename = None
    shaken_pair(mod, pki, version, client=client)
    assert path.read_text().splitlines() == again


def test_key_log_from_the_environment(mod, pki, tmp_path, monkeypatch):
    """`create_default_context` obeys SSLKEYLOGFILE."""
    path = str(tmp_path / "keys.log")
    monkeypatch.setenv("SSLKEYLOGFILE", path)
    assert mod.create_default_context().keylog_filename == path
    monkeypatch.setenv("SSLKEYLOGFILE", "")
    assert getattr(mod.create_default_context(), "keylog_filename", None) is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_key_log_on_a_full_disk(pki, version):
    """A key log that cannot be written is an error, and no crash."""
    client = client_context(sslbind, pki, version)
    told = outcome(setattr, client, "keylog_filename", "/dev/full")
    if not told.error:
        left, right = memory_pair(client, server_context(sslbind, pki, version))
        failing(left, right)


# --- Pre-shared keys ---------------------------------------------------------------------------


def psk_contexts(mod, version, client_hook, server_hook):
    """Return a client and a server that know no certificates, only their hooks."""
    need(mod, "set_psk_client_callback")
    client, server = (
        mod.SSLContext(mod.PROTOCOL_TLS_CLIENT),
        mod.SSLContext(mod.PROTOCOL_TLS_SERVER),
    )
    client.check_hostname = False
    client.verify_mode = mod.CERT_NONE
    for context in (client, server):
        pin(context, mod, version)
        if version == "TLSv1_2":
            context.set_ciphers("PSK")
    client.set_psk_client_callback(client_hook)
    server.set_psk_server_callback(server_hook, "a hint")
    return client, server


def test_psk(mod, version):
    """Both ends agree by a key that the hooks know; the identity is handed over."""
    seen = []

    def client_hook(hint):
        seen.append(hint)
        return "who I am", b"a shared key"

    def server_hook(identity):
        seen.append(identity)
        return b"a shared key"

    client, server = psk_contexts(mod, version, client_hook, server_hook)
    left, right = memory_pair(client, server, None, mod, mod)
    shake_memory(left, right)
    left.obj.write(b"x")
    left.flush()
    assert right.obj.read(1) == b"x"
    assert "who I am" in seen
    assert ("a hint" in seen) == (version == "TLSv1_2")


PSK_FAILURES = {
    "raises": lambda *_: 1 / 0,
    "None": lambda *_: None,
    "text": lambda *_: "text",
    "number": lambda *_: 7,
    "key as text": lambda *_: ("identity", "text"),
    "too long": lambda *_: ("identity", b"x" * 5000),
    "identity too long": lambda *_: ("x" * 5000, b"key"),
    "three": lambda *_: (1, 2, 3),
    "key as a number": lambda *_: ("identity", 3),
    "key as numbers": lambda *_: ("identity", [0, 0, 0]),
}


@pytest.mark.parametrize("name", PSK_FAILURES)
def test_psk_client_hook_fails(mod, version, name):
    """A client's hook that fails ends the handshake at both ends."""
    client, server = psk_contexts(mod, version, PSK_FAILURES[name], lambda _: bytes(3))
    left, right = memory_pair(client, server, None, mod, mod)
    assert any(failing(left, right))


@pytest.mark.parametrize(
    "hook",
    (
        lambda _: 1 / 0,
        lambda _: None,
        lambda _: b"",
        lambda _: "x",
        lambda _: 3,
        lambda _: bytearray(3),
    ),
)
def test_psk_server_hook_fails(mod, version, hook):
    """A server's hook that fails ends the handshake at both ends."""
    client, server = psk_contexts(mod, version, lambda _: ("identity", bytes(3)), hook)
    left, right = memory_pair(client, server, None, mod, mod)
    assert any(failing(left, right))


def test_psk_keys_differ(mod, version):
    """Different keys are noticed."""
    client, server = psk_contexts(mod, version, lambda _: ("me", b"one"), lambda _: b"two")
    left, right = memory_pair(client, server, None, mod, mod)
    assert any(failing(left, right))


# --- All hooks ---------------------------------------------------------------------------------


def test_hooks_do_not_keep_connections(pki):
    """A context's hooks hold no connection alive."""
    server = server_context(sslbind, pki)
    server.sni_callback = lambda *_: None
    server._msg_callback = lambda *_: None
    left, right = shaken_pair(sslbind, pki, server=server)
    watch = weakref.ref(right.obj)
    del left.other, right.other, right
    if PYPY:
        gc.collect()
        gc.collect()
    assert watch() is None


def test_hook_drops_the_context(pki, version):
    """A hook that removes itself while it runs does no harm."""
    server = server_context(sslbind, pki, version)

    def hook(sock, name, context):
        context.sni_callback = None

    server.sni_callback = hook
    shaken_pair(sslbind, pki, version, server=server)
    shaken_pair(sslbind, pki, version, server=server)

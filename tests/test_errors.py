"""The same fault gives the same error: class, errno, library, reason, verify code and text.

Each fault is a small function that is run once with sslbind and once with the stdlib, against
the same peer; what a caller can see of the two results must be equal.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import struct
import sys
from pathlib import Path

import pytest
from links import (
    DEADLINE,
    Link,
    Peer,
    Wire,
    client_context,
    memory_pair,
    pin,
    raw_pair,
    server_context,
)
from outcomes import PYPY, Outcome, allow_other_words, brief, failure, outcome
from pki import HOST, PASSWORD

import sslbind

BACKS = pytest.mark.parametrize("ragged", (True, False), ids=("forgiving", "strict"))


def table(faults: dict):
    """Parametrize a test over a dictionary of faults, named by their keys."""
    return pytest.mark.parametrize("fault", faults.values(), ids=list(faults))


# CPython 3.13 is the oracle. Up to 3.12.2 (cpython#115627) and on PyPy the system's errors are
# taken for the end of the stream, and 3.9 words and checks differently: these interpreters are
# held against what 3.13 said. `SSLBIND_RECORD=1 pytest tests/test_errors.py` on CPython 3.13 and
# OpenSSL 3.0, without xdist, writes that record anew.
LIVE = not PYPY and sys.version_info >= (3, 12, 3)
RECORD = Path(__file__).with_name("oracle.json")
RECORDED_OPENSSL = (3, 0)
SAME_OPENSSL = sslbind.OPENSSL_VERSION_INFO[:2] == RECORDED_OPENSSL
ALERT_HIDES_THE_END = sslbind.OPENSSL_VERSION_INFO >= (3, 2)


@pytest.fixture(scope="module")
def record():
    """What the oracle said, by the names of the tests: indexes into a list of what it can say."""
    stories = json.loads(RECORD.read_text()) if RECORD.exists() else {"said": [], "tests": {}}
    yield stories
    if os.environ.get("SSLBIND_RECORD"):
        RECORD.write_text(json.dumps(stories, indent=0) + "\n")


@pytest.fixture
def compare(request, record):
    """A function that plays `scene(mod)` on both modules and compares what happened."""

    def play(scene) -> None:
        name = request.node.name
        if os.environ.get("SSLBIND_RECORD"):
            said = json.loads(json.dumps(brief(scene(ssl))))
            if said not in record["said"]:
                record["said"].append(said)
            record["tests"][name] = record["said"].index(said)
        elif LIVE:
            expected, told = scene(ssl), scene(sslbind)
            allow_other_words(told, expected)
            assert told == expected
        elif not SAME_OPENSSL:
            pytest.skip("neither a live oracle nor a record for this OpenSSL")
        else:
            expected = record["said"][record["tests"][name]]
            assert json.loads(json.dumps(brief(scene(sslbind)))) == expected

    return play


# --- Handshakes that fail, seen from either end ------------------------------------------------


class Setting:
    """Two contexts and a name that a fault may spoil before the handshake."""

    def __init__(self, mods, pki, version) -> None:
        self.client_mod, self.server_mod = mods
        self.pki, self.version = pki, version
        self.client = client_context(self.client_mod, pki, version)
        self.server = server_context(self.server_mod, pki, version)
        self.name = HOST

    def serve(self, leaf) -> None:
        """Let the server show another certificate."""
        self.server = server_context(self.server_mod, self.pki, self.version, leaf)

    def ask_client(self, mode="CERT_REQUIRED") -> None:
        """Let the server ask the client for a certificate."""
        self.server.verify_mode = self.server_mod.VerifyMode[mode]
        self.server.load_verify_locations(self.pki.ca)


def expired(s):
    s.serve(s.pki.expired)


def not_yet_valid(s):
    s.serve(s.pki.not_yet)


def self_signed(s):
    s.serve(s.pki.self_signed)


def unknown_ca(s):
    s.serve(s.pki.unknown)


def no_trust_at_all(s):
    s.client = pin(s.client_mod.SSLContext(s.client_mod.PROTOCOL_TLS_CLIENT), s.client_mod, None)


def wrong_host(s):
    s.serve(s.pki.wrong_host)


def wrong_ip(s):
    s.name = "127.0.0.2"


def wrong_ip6(s):
    s.name = "::2"


def ip_for_name(s):
    s.serve(s.pki.wrong_host)
    s.name = "127.0.0.1"


def wildcard_too_deep(s):
    s.serve(s.pki.wildcard)
    s.name = "a.b.wild.example"


def wildcard_at_top(s):
    s.serve(s.pki.wildcard)
    s.name = "wild.example"


def idna_host_differs(s):
    s.name = "könig.example"


def revoked_by_crl(s):
    s.serve(s.pki.revoked)
    s.client.load_verify_locations(s.pki.crl)
    s.client.verify_flags |= s.client_mod.VERIFY_CRL_CHECK_LEAF


def no_crl_at_hand(s):
    s.client.verify_flags |= s.client_mod.VERIFY_CRL_CHECK_LEAF


def client_shows_nothing(s):
    s.ask_client()


def client_shows_unknown(s):
    s.ask_client()
    s.client.load_cert_chain(s.pki.unknown.both)


def client_shows_expired(s):
    s.ask_client()
    s.client.load_cert_chain(s.pki.expired.both)


def client_shows_self_signed_optional(s):
    s.ask_client("CERT_OPTIONAL")
    s.client.load_cert_chain(s.pki.self_signed.both)


def no_common_protocol(s):
    """The one side speaks TLS 1.2 only and the other TLS 1.3 only."""
    other = "TLSv1_2" if s.version == "TLSv1_3" else "TLSv1_3"
    pin(s.server, s.server_mod, other)


def no_common_cipher(s):
    s.client.maximum_version = s.client_mod.TLSVersion.TLSv1_2
    s.client.minimum_version = s.client_mod.TLSVersion.TLSv1_2
    s.server.minimum_version = s.server_mod.TLSVersion.TLSv1_2
    s.server.maximum_version = s.server_mod.TLSVersion.TLSv1_2
    s.client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    s.server.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")


def key_of_another_kind(s):
    """The server has an RSA certificate and the client's suites want ECDSA."""
    no_common_cipher(s)
    s.serve(s.pki.server_rsa)
    pin(s.server, s.server_mod, "TLSv1_2")


def server_without_certificate(s):
    s.server = pin(
        s.server_mod.SSLContext(s.server_mod.PROTOCOL_TLS_SERVER), s.server_mod, s.version
    )


def name_refused(s):
    s.server.sni_callback = lambda *_: s.server_mod.AlertDescription(
        s.server_mod.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    )


def access_denied(s):
    s.server.sni_callback = lambda *_: s.server_mod.ALERT_DESCRIPTION_ACCESS_DENIED


def nothing_wrong(s):
    pass


HANDSHAKES = {
    fault.__name__: fault
    for fault in (
        expired,
        not_yet_valid,
        self_signed,
        unknown_ca,
        no_trust_at_all,
        wrong_host,
        wrong_ip,
        wrong_ip6,
        ip_for_name,
        wildcard_too_deep,
        wildcard_at_top,
        idna_host_differs,
        revoked_by_crl,
        no_crl_at_hand,
        client_shows_nothing,
        client_shows_unknown,
        client_shows_expired,
        client_shows_self_signed_optional,
        no_common_protocol,
        no_common_cipher,
        key_of_another_kind,
        server_without_certificate,
        name_refused,
        access_denied,
        nothing_wrong,
    )
}


def attempt(step, *args):
    """Run a step of a script; tell whether it is over, and how it ended."""
    try:
        return True, Outcome(step(*args))
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return False, None
    except Exception as exc:
        return True, failure(exc)


def converse(left, right) -> dict:
    """Let two memory ends shake hands, say a word, listen and part; return each end's story."""
    stories = {left: [], right: []}
    scripts = {
        end: [
            (end.obj.do_handshake,),
            (end.obj.write, b"word"),
            (end.obj.read, 100),
            (end.obj.unwrap,),
        ]
        for end in (left, right)
    }
    for _ in range(30):
        for end, script in scripts.items():
            while script:
                over, told = attempt(*script[0])
                end.flush()
                if not over:
                    break
                stories[end].append(told)
                script.pop(0)
                if told.error:
                    script.clear()
        if not any(scripts.values()):
            break
    return stories


def setting_for(mod, role, pki, version) -> Setting:
    """Return a setting in which `mod` plays `role` and the stdlib the other."""
    return Setting((mod, ssl) if role == "client" else (ssl, mod), pki, version)


@table(HANDSHAKES)
def test_handshake_in_memory(compare, fault, pki, version, role):
    """Objects over memory BIOs report a failed handshake as the stdlib's do, at both ends."""

    def scene(mod):
        setting = setting_for(mod, role, pki, version)
        fault(setting)
        left, right = memory_pair(
            setting.client,
            setting.server,
            setting.name,
            setting.client_mod,
            setting.server_mod,
        )
        return converse(left, right)[left if role == "client" else right]

    compare(scene)


def polite(sock, done):
    """Shake hands, say and hear a word, and keep the socket open until the other end is done.

    Closing early would turn alerts into resets, whose arrival is a matter of chance.
    """
    try:
        sock.do_handshake()
        sock.sendall(b"word")
        sock.recv(100)
    except OSError:
        pass
    done.recv(1)
    sock.close()


@table(HANDSHAKES)
def test_handshake_on_a_socket(compare, fault, pki, version, role, family):
    """Sockets report a failed handshake as the stdlib's do, at both ends."""

    def scene(mod):
        setting = setting_for(mod, role, pki, version)
        fault(setting)
        left, right = raw_pair(family)
        done, signal = socket.socketpair()
        client = setting.client.wrap_socket(
            left, server_hostname=setting.name, do_handshake_on_connect=False
        )
        server = setting.server.wrap_socket(right, server_side=True, do_handshake_on_connect=False)
        ours, theirs = (client, server) if role == "client" else (server, client)
        story = []
        with done, signal, ours, Peer(polite, theirs, done):
            for step in ((ours.do_handshake,), (ours.sendall, b"word"), (ours.recv, 100)):
                story.append(outcome(*step))
                if story[-1].error:
                    break
            signal.send(b".")
        return story

    compare(scene)


# --- Contexts given something bad --------------------------------------------------------------

# An integer in the place of a path, and no open descriptor: whoever takes it for one must fail
# here, and not close a file of the test runner.
NO_FILE = 98765


def password_raises(_):
    raise KeyError("no password today")


PASSWORDS = {
    "wrong": "not it",
    "wrong bytes": b"not it",
    "wrong bytearray": bytearray(b"not it"),
    "empty": "",
    "non-ASCII": "wächter",
    "too long": "x" * 2000,
    "with NUL": "rose\0bud",
    "integer": 7,
    "list": ["rosebud"],
    "callback wrong": lambda: "not it",
    "callback empty": lambda: b"",
    "callback None": lambda: None,
    "callback integer": lambda: 7,
    "callback too long": lambda: b"x" * 2000,
    "callback raises": lambda: password_raises(None),
    "callback wants arguments": password_raises,
    "callback exits": lambda: sys.exit(3),
    "right": PASSWORD,
    "right bytes": PASSWORD.encode(),
    "right bytearray": bytearray(PASSWORD.encode()),
    "right callback": lambda: PASSWORD,
    "right callback bytes": lambda: PASSWORD.encode(),
}


@pytest.mark.parametrize("password", PASSWORDS.values(), ids=list(PASSWORDS))
def test_passwords(compare, password, pki):
    """A password that is wrong, or a callback that fails, ends as in the stdlib."""

    def scene(mod):
        context = mod.SSLContext(mod.PROTOCOL_TLS_SERVER)
        try:
            return outcome(context.load_cert_chain, pki.server.cert, pki.locked_key, password)
        except SystemExit as exc:
            return failure(exc)

    compare(scene)


CHAINS = {
    "missing certificate": lambda p: (p.missing,),
    "missing key": lambda p: (p.server.cert, p.missing),
    "garbage certificate": lambda p: (p.garbage,),
    "garbage key": lambda p: (p.server.cert, p.garbage),
    "empty certificate": lambda p: (p.empty,),
    "empty key": lambda p: (p.server.cert, p.empty),
    "bad base64": lambda p: (p.bad_base64,),
    "folder": lambda p: (str(p.folder),),
    "key of another": lambda p: (p.server.cert, p.client.key),
    "RSA key for EC": lambda p: (p.server.cert, p.server_rsa.key),
    "certificate only": lambda p: (p.server.cert,),
    "key only": lambda p: (p.server.key,),
    "key as certificate": lambda p: (p.server.key, p.server.key),
    "None": lambda p: (None,),
    "None with key": lambda p: (None, p.server.key),
    "integer": lambda p: (NO_FILE,),
    "list": lambda p: ([p.server.both],),
    "float key": lambda p: (p.server.both, 1.5),
    "NUL in path": lambda p: (p.server.both + "\0",),
    "NUL in key path": lambda p: (p.server.cert, "a\0b"),
    "empty path": lambda p: ("",),
    "non-ASCII path": lambda p: ("/nowhere/schlüssel.pem",),
    "bytes path": lambda p: (p.missing.encode(),),
    "surrogate path": lambda p: ("/nowhere/\udcff.pem",),
    "lone surrogate path": lambda p: ("/nowhere/\ud800.pem",),
    "long path": lambda p: ("/" + "x" * 5000,),
    "good": lambda p: (p.server.both,),
    "good bytes": lambda p: (p.server.both.encode(),),
}


@table(CHAINS)
def test_certificate_chains(compare, fault, pki):
    """Files that are missing, garbled or do not belong together are refused as in the stdlib."""

    def scene(mod):
        context = mod.SSLContext(mod.PROTOCOL_TLS_SERVER)
        return outcome(context.load_cert_chain, *fault(pki))

    compare(scene)


def text_of(path: str) -> str:
    """Return a file as text."""
    with open(path, encoding="ascii") as file:
        return file.read()


LOCATIONS = {
    "nothing": lambda p: {},
    "all None": lambda p: {"cafile": None, "capath": None, "cadata": None},
    "missing file": lambda p: {"cafile": p.missing},
    "missing folder": lambda p: {"capath": p.missing},
    "folder as file": lambda p: {"cafile": str(p.folder)},
    "file as folder": lambda p: {"capath": p.ca},
    "garbage file": lambda p: {"cafile": p.garbage},
    "empty file": lambda p: {"cafile": p.empty},
    "bad base64 file": lambda p: {"cafile": p.bad_base64},
    "key as file": lambda p: {"cafile": p.server.key},
    "integer file": lambda p: {"cafile": NO_FILE},
    "integer folder": lambda p: {"capath": NO_FILE},
    "NUL in file": lambda p: {"cafile": p.ca + "\0"},
    "NUL in folder": lambda p: {"capath": "a\0b"},
    "empty names": lambda p: {"cafile": "", "capath": ""},
    "empty text": lambda p: {"cadata": ""},
    "empty bytes": lambda p: {"cadata": b""},
    "garbage text": lambda p: {"cadata": "this is not PEM"},
    "garbage bytes": lambda p: {"cadata": b"this is not DER"},
    "non-ASCII text": lambda p: {"cadata": "schlüssel"},
    "surrogate text": lambda p: {"cadata": "\ud800"},
    "NUL text": lambda p: {"cadata": "\0"},
    "header only": lambda p: {"cadata": "-----BEGIN CERTIFICATE-----\n"},
    "bad base64 text": lambda p: {"cadata": text_of(p.bad_base64)},
    "half a certificate": lambda p: {"cadata": text_of(p.ca)[:200]},
    "certificate then garbage": lambda p: {"cadata": text_of(p.ca) + "garbage"},
    "certificate then half": lambda p: {"cadata": text_of(p.ca) + text_of(p.other_ca)[:100]},
    "key as text": lambda p: {"cadata": text_of(p.server.key)},
    "cut DER": lambda p: {"cadata": p.ca_der[:-1]},
    "DER and one byte": lambda p: {"cadata": p.ca_der + b"\0"},
    "DER then garbage": lambda p: {"cadata": p.ca_der + b"garbage"},
    "two DER, one cut": lambda p: {"cadata": p.ca_der + p.other_ca_der[:-1]},
    "integer data": lambda p: {"cadata": 7},
    "list data": lambda p: {"cadata": [p.ca_der]},
    "same twice": lambda p: {"cadata": p.ca_der + p.ca_der},
    "bytearray": lambda p: {"cadata": bytearray(p.ca_der)},
    "memoryview": lambda p: {"cadata": memoryview(p.ca_der)},
    "strided view": lambda p: {"cadata": memoryview(p.ca_der)[::2]},
    "good text": lambda p: {"cadata": text_of(p.ca)},
    "good file, garbage data": lambda p: {"cafile": p.ca, "cadata": "garbage"},
    "missing file, good data": lambda p: {"cafile": p.missing, "cadata": text_of(p.ca)},
    "good all": lambda p: {"cafile": p.ca, "capath": str(p.folder), "cadata": text_of(p.other_ca)},
}


@table(LOCATIONS)
def test_trusted_locations(compare, fault, pki):
    """Bad trust anchors are refused as in the stdlib, and leave the same store behind."""

    def scene(mod):
        context = mod.SSLContext(mod.PROTOCOL_TLS_CLIENT)
        told = outcome(context.load_verify_locations, **fault(pki))
        names = {pki.ca_der: "ca", pki.other_ca_der: "other ca"}
        known = sorted(names.get(der, "?") for der in context.get_ca_certs(True))
        return told, context.cert_store_stats(), known

    compare(scene)


CONTEXT_CALLS = {
    "ciphers unknown": lambda c, m, p: c.set_ciphers("^$:NO-SUCH-SUITE"),
    "ciphers empty": lambda c, m, p: c.set_ciphers(""),
    "ciphers NUL": lambda c, m, p: c.set_ciphers("AES\0128"),
    "ciphers non-ASCII": lambda c, m, p: c.set_ciphers("ÄES"),
    "ciphers surrogate": lambda c, m, p: c.set_ciphers("\ud800"),
    "ciphers integer": lambda c, m, p: c.set_ciphers(7),
    "ciphers None": lambda c, m, p: c.set_ciphers(None),
    "ciphers bytes": lambda c, m, p: c.set_ciphers(b"ALL"),
    "ciphers bad command": lambda c, m, p: c.set_ciphers("@NONSENSE=3"),
    "ciphers bad level": lambda c, m, p: c.set_ciphers("ALL:@SECLEVEL=99"),
    "ciphers TLS 1.3 only": lambda c, m, p: c.set_ciphers("TLS_AES_128_GCM_SHA256"),
    "curve unknown": lambda c, m, p: c.set_ecdh_curve("no-such-curve"),
    "curve empty": lambda c, m, p: c.set_ecdh_curve(""),
    "curve that is none": lambda c, m, p: c.set_ecdh_curve("serverAuth"),
    "curve None": lambda c, m, p: c.set_ecdh_curve(None),
    "curve integer": lambda c, m, p: c.set_ecdh_curve(7),
    "curve NUL": lambda c, m, p: c.set_ecdh_curve("prime256v1\0"),
    "curve bytes": lambda c, m, p: c.set_ecdh_curve(b"prime256v1"),
    "curve bad bytes": lambda c, m, p: c.set_ecdh_curve(b"no-such-curve"),
    "DH missing": lambda c, m, p: c.load_dh_params(p.missing),
    "DH garbage": lambda c, m, p: c.load_dh_params(p.garbage),
    "DH empty": lambda c, m, p: c.load_dh_params(p.empty),
    "DH folder": lambda c, m, p: c.load_dh_params(str(p.folder)),
    "DH certificate": lambda c, m, p: c.load_dh_params(p.ca),
    "DH None": lambda c, m, p: c.load_dh_params(None),
    "DH integer": lambda c, m, p: c.load_dh_params(NO_FILE),
    "DH NUL": lambda c, m, p: c.load_dh_params("a\0b"),
    "DH nothing": lambda c, m, p: c.load_dh_params(),
    "ALPN empty name": lambda c, m, p: c.set_alpn_protocols([""]),
    "ALPN long name": lambda c, m, p: c.set_alpn_protocols(["x" * 256]),
    "ALPN longest name": lambda c, m, p: c.set_alpn_protocols(["x" * 255]),
    "ALPN non-ASCII": lambda c, m, p: c.set_alpn_protocols(["ö"]),
    "ALPN bytes": lambda c, m, p: c.set_alpn_protocols([b"h2"]),
    "ALPN integer": lambda c, m, p: c.set_alpn_protocols([7]),
    "ALPN None": lambda c, m, p: c.set_alpn_protocols(None),
    "ALPN empty list": lambda c, m, p: c.set_alpn_protocols([]),
    "ALPN too many": lambda c, m, p: c.set_alpn_protocols(["x" * 255] * 300),
    "SNI callback integer": lambda c, m, p: c.set_servername_callback(7),
    "SNI attribute text": lambda c, m, p: setattr(c, "sni_callback", "text"),
    "purpose None": lambda c, m, p: c.load_default_certs(None),
    "purpose text": lambda c, m, p: c.load_default_certs("SERVER_AUTH"),
    "mode while host checked": lambda c, m, p: setattr(c, "verify_mode", m.CERT_NONE),
    "mode 9": lambda c, m, p: setattr(c, "verify_mode", 9),
    "mode -1": lambda c, m, p: setattr(c, "verify_mode", -1),
    "mode text": lambda c, m, p: setattr(c, "verify_mode", "CERT_NONE"),
    "mode None": lambda c, m, p: setattr(c, "verify_mode", None),
    "mode huge": lambda c, m, p: setattr(c, "verify_mode", 1 << 70),
    "flags text": lambda c, m, p: setattr(c, "verify_flags", "x"),
    "options text": lambda c, m, p: setattr(c, "options", "x"),
    "options None": lambda c, m, p: setattr(c, "options", None),
    "options huge": lambda c, m, p: setattr(c, "options", 1 << 70),
    "minimum 17": lambda c, m, p: setattr(c, "minimum_version", 17),
    "minimum text": lambda c, m, p: setattr(c, "minimum_version", "TLSv1_2"),
    "minimum None": lambda c, m, p: setattr(c, "minimum_version", None),
    "maximum 0": lambda c, m, p: setattr(c, "maximum_version", 0),
    "maximum huge": lambda c, m, p: setattr(c, "maximum_version", 1 << 70),
    "maximum SSLv3": lambda c, m, p: setattr(c, "maximum_version", m.TLSVersion.SSLv3),
    "tickets -1": lambda c, m, p: setattr(c, "num_tickets", -1),
    "tickets text": lambda c, m, p: setattr(c, "num_tickets", "2"),
    "tickets None": lambda c, m, p: setattr(c, "num_tickets", None),
    "tickets on a client": lambda c, m, p: setattr(c, "num_tickets", 1),
    "key log in no folder": lambda c, m, p: setattr(c, "keylog_filename", p.missing + "/x"),
    "key log folder": lambda c, m, p: setattr(c, "keylog_filename", str(p.folder)),
    "key log integer": lambda c, m, p: setattr(c, "keylog_filename", 1.5),
    "key log NUL": lambda c, m, p: setattr(c, "keylog_filename", "a\0b"),
    "message hook integer": lambda c, m, p: setattr(c, "_msg_callback", 7),
    "protocol set": lambda c, m, p: setattr(c, "protocol", 2),
    "session_stats set": lambda c, m, p: setattr(c, "security_level", 2),
}


SETTINGS = (
    "options",
    "verify_mode",
    "verify_flags",
    "minimum_version",
    "maximum_version",
    "check_hostname",
    "keylog_filename",
)


def state_of(context) -> dict[str, object]:
    """Return the settings of a context that a refused call must leave alone."""
    return {name: getattr(context, name) for name in SETTINGS}


@pytest.mark.parametrize("name", CONTEXT_CALLS)
def test_context_calls(compare, name, pki):
    """A context refuses bad values as the stdlib's does, and stays as it was."""

    def scene(mod):
        context = mod.SSLContext(mod.PROTOCOL_TLS_CLIENT)
        before = state_of(context)
        told = outcome(CONTEXT_CALLS[name], context, mod, pki)
        after = state_of(context)
        return told, [key for key in before if before[key] != after[key]]

    compare(scene)


PROTOCOLS = {
    "-1": -1,
    "99": 99,
    "huge": 1 << 70,
    "text": "TLS",
    "None in a list": [None],
    "float": 2.0,
    "SSLv2": 0,
    "SSLv3": 1,
    "PROTOCOL_TLS": 2,
    "TLSv1": 3,
    "TLSv1_1": 4,
    "TLSv1_2": 5,
    "client": 16,
    "server": 17,
    "18": 18,
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols(compare, name):
    """`SSLContext(protocol)` takes and refuses the stdlib's values, with its defaults."""

    def scene(mod):
        told = outcome(mod.SSLContext, PROTOCOLS[name])
        if told.error:
            return told
        context = told.value
        return int(context.protocol), int(context.verify_mode), context.check_hostname

    compare(scene)


NAMES = {
    "empty": "",
    "leading dot": ".example.org",
    "NUL": "local\0host",
    "NUL first": "\0localhost",
    "trailing dot": "localhost.",
    "only a dot": ".",
    "two dots": "local..host",
    "label of 64": "x" * 64 + ".example",
    "256 characters": ".".join(["x" * 31] * 8),
    "300 characters": "x" * 300,
    "IDNA": "könig.example",
    "sharp s": "straße.example",
    "bad IDNA": "\u200d.example",
    "lone surrogate": "\ud800.example",
    "space": "local host",
    "slash": "localhost/",
    "bytes": b"localhost",
    "bytes non-ASCII": "könig.example".encode(),
    "bytes NUL": b"local\0host",
    "bytes leading dot": b".localhost",
    "bytes empty": b"",
    "bytearray": bytearray(b"localhost"),
    "integer": 7,
    "list": ["localhost"],
    "None": None,
    "address": "127.0.0.1",
    "address with zone": "fe80::1%lo",
    "address in brackets": "[::1]",
    "address 6": "::1",
    "short address": "127.1",
    "upper case": "LOCALHOST",
    "good": "localhost",
}


@pytest.mark.parametrize("checked", (True, False), ids=("checked", "unchecked"))
@pytest.mark.parametrize("name", NAMES.values(), ids=list(NAMES))
def test_server_names(compare, name, checked, pki):
    """Odd host names are refused, or kept, as in the stdlib, by sockets and by objects."""

    def on_a_socket(context):
        left, right = raw_pair("unix")
        with left, right:
            with context.wrap_socket(
                left, server_hostname=name, do_handshake_on_connect=False
            ) as sock:
                return sock.server_hostname

    def scene(mod):
        context = client_context(mod, pki)
        context.check_hostname = checked
        bios = mod.MemoryBIO(), mod.MemoryBIO()
        in_memory = outcome(lambda: context.wrap_bio(*bios, server_hostname=name).server_hostname)
        if checked and not name:
            in_memory = None  # from 3.14 on objects need a name to check, as sockets always did
        return in_memory, outcome(on_a_socket, context)

    compare(scene)


@pytest.mark.skipif(sslbind.OPENSSL_VERSION_INFO < (4,), reason="this OpenSSL takes any name")
@pytest.mark.parametrize("name", ("localhost.", "local host", "*.example", "[::1]", "-.example"))
def test_names_that_openssl_refuses(pki, name):
    """OpenSSL 4.0 checks no certificate against a name that none can have, which is an error."""
    context = client_context(sslbind, pki)
    bios = sslbind.MemoryBIO(), sslbind.MemoryBIO()
    with pytest.raises(sslbind.SSLError, match="OpenSSL refuses the host name"):
        context.wrap_bio(*bios, server_hostname=name)
    context.check_hostname = False
    assert context.wrap_bio(*bios, server_hostname=name).server_hostname == name


def wrapped(mod, pki, **options):
    """Wrap one end of a plain pair; return what the call raised, or close the socket."""
    context = client_context(mod, pki)
    left, right = raw_pair("unix")
    with left, right:
        context.wrap_socket(left, **options).close()


def wrap_datagrams(mod, pki):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        client_context(mod, pki).wrap_socket(sock, server_hostname=HOST)


def wrap_closed(mod, pki):
    left, right = raw_pair("unix")
    left.close()
    right.close()
    client_context(mod, pki).wrap_socket(left, server_hostname=HOST)


def wrap_server_of_client(mod, pki):
    left, right = raw_pair("unix")
    with left, right:
        client_context(mod, pki).wrap_socket(left, server_side=True)


def wrap_client_of_server(mod, pki):
    left, right = raw_pair("unix")
    with left, right:
        context = server_context(mod, pki)
        context.wrap_socket(left, server_hostname=HOST, do_handshake_on_connect=False)


def non_blocking_handshake_on_connect(mod, pki):
    left, right = raw_pair("unix")
    left.setblocking(False)
    with left, right:
        client_context(mod, pki).wrap_socket(left, server_hostname=HOST)


def with_data_waiting(mod, pki):
    """Plaintext that came before the handshake of a server socket is not silently dropped."""
    left, right = raw_pair("unix")
    right.send(b"early")
    with left, right:
        wrapped_sock = server_context(mod, pki).wrap_socket(
            left, server_side=True, do_handshake_on_connect=False
        )
        with wrapped_sock:
            return wrapped_sock.pending()


WRAPS = {
    "no name": wrapped,
    "session text": lambda m, p: wrapped(m, p, server_hostname=HOST, session="x"),
    "session of server": lambda m, p: wrapped(m, p, server_side=True, session="x"),
    "server with name": lambda m, p: wrapped(m, p, server_side=True, server_hostname=HOST),
    "unknown option": lambda m, p: wrapped(m, p, nonsense=1),
    "not a socket": lambda m, p: client_context(m, p).wrap_socket(7, server_hostname=HOST),
    "None": lambda m, p: client_context(m, p).wrap_socket(None, server_hostname=HOST),
    "datagrams": wrap_datagrams,
    "closed socket": wrap_closed,
    "server of client context": wrap_server_of_client,
    "client of server context": wrap_client_of_server,
    "handshake on a non-blocking socket": non_blocking_handshake_on_connect,
    "data waiting": with_data_waiting,
    "object of None": lambda m, p: client_context(m, p).wrap_bio(None, None, False, HOST),
    "object of text": lambda m, p: client_context(m, p).wrap_bio("a", "b", False, HOST),
    "object without BIOs": lambda m, p: client_context(m, p).wrap_bio(),
    "bare socket": lambda m, p: m.SSLSocket(),
    "bare object": lambda m, p: m.SSLObject(),
    "bare session": lambda m, p: m.SSLSession(),
}


@table(WRAPS)
def test_wrapping(compare, fault, pki):
    """What cannot be wrapped is refused as in the stdlib."""
    if fault is wrap_client_of_server and sys.version_info < (3, 10):
        pytest.skip("before Python 3.10 it is OpenSSL that refuses, in the handshake")
    compare(lambda mod: outcome(fault, mod, pki))


# --- Operations at the wrong time --------------------------------------------------------------

OPERATIONS = {
    "read": lambda s: s.read(10),
    "read into": lambda s: s.read(10, bytearray(10)),
    "write": lambda s: s.write(b"x"),
    "recv": lambda s: s.recv(10),
    "recv nothing": lambda s: s.recv(0),
    "recv_into": lambda s: s.recv_into(bytearray(10)),
    "recvfrom": lambda s: s.recvfrom(10),
    "recvfrom_into": lambda s: s.recvfrom_into(bytearray(10), 10),
    "recvmsg": lambda s: s.recvmsg(10),
    "recvmsg_into": lambda s: s.recvmsg_into([bytearray(10)]),
    "send": lambda s: s.send(b"x"),
    "send nothing": lambda s: s.send(b""),
    "sendall": lambda s: s.sendall(b"x"),
    "sendall nothing": lambda s: s.sendall(b""),
    "sendall no bytes": lambda s: s.sendall(bytearray()),
    "sendall no buffer": lambda s: s.sendall(None),
    "sendto": lambda s: s.sendto(b"x", ("127.0.0.1", 1)),
    "sendmsg": lambda s: s.sendmsg([b"x"]),
    "pending": lambda s: s.pending(),
    "getpeercert": lambda s: s.getpeercert(),
    "cipher": lambda s: s.cipher(),
    "version": lambda s: s.version(),
    "compression": lambda s: s.compression(),
    "shared_ciphers": lambda s: s.shared_ciphers(),
    "ALPN": lambda s: s.selected_alpn_protocol(),
    "NPN": lambda s: s.selected_npn_protocol(),
    "channel binding": lambda s: s.get_channel_binding(),
    "unknown binding": lambda s: s.get_channel_binding("tls-nonsense"),
    "session": lambda s: s.session,
    "session_reused": lambda s: s.session_reused,
    "unwrap": lambda s: s.unwrap(),
    "post-handshake": lambda s: s.verify_client_post_handshake(),
    "accept": lambda s: s.accept(),
    "dup": lambda s: s.dup(),
    "fileno": lambda s: s.fileno() >= 0,
    "getpeername": lambda s: bool(s.getpeername()),
    "connect": lambda s: s.connect(("127.0.0.1", 1)),
    "do_handshake": lambda s: s.do_handshake(),
    "shutdown": lambda s: s.shutdown(socket.SHUT_RDWR),
    "detach": lambda s: s.detach() >= 0,
}


def untouched(mod, pki):
    """A connected socket whose handshake has not begun; nothing will ever come in."""
    left, right = raw_pair("unix")
    sock = client_context(mod, pki).wrap_socket(
        left, server_hostname=HOST, do_handshake_on_connect=False
    )
    sock.setblocking(False)
    return sock, right


def unconnected(mod, pki):
    """A socket that was wrapped and not yet connected."""
    plain = socket.socket()
    plain.settimeout(DEADLINE)
    return client_context(mod, pki).wrap_socket(plain, server_hostname=HOST), plain


def listening(mod, pki):
    """A server's listening socket, wrapped, with nobody knocking."""
    plain = socket.create_server(("127.0.0.1", 0))
    sock = server_context(mod, pki).wrap_socket(plain, server_side=True)
    sock.setblocking(False)
    return sock, plain


def closed(mod, pki):
    """A socket that has been closed."""
    sock, other = untouched(mod, pki)
    sock.close()
    return sock, other


def shut_down(mod, pki):
    """A socket that has been shut down both ways after its handshake."""
    made = Link(mod, pki)
    made.ours.shutdown(socket.SHUT_RDWR)
    return made.ours, made.theirs


def unwrapped(mod, pki):
    """A socket whose TLS layer has been taken off after its handshake."""
    made = Link(mod, pki)
    with Peer(made.theirs.unwrap):
        plain = made.ours.unwrap()
    plain.close()
    return made.ours, made.theirs


def idle(mod, pki):
    """A non-blocking socket after its handshake, with nothing to read."""
    made = Link(mod, pki, "TLSv1_2")
    made.ours.setblocking(False)
    return made.ours, made.theirs


STATES = (untouched, unconnected, listening, closed, shut_down, unwrapped, idle)

# Values that differ between any two connections: that there is one is all that can be compared.
PRIVATE = ("session", "getpeercert", "channel binding", "cipher", "dup", "unwrap")


@pytest.mark.parametrize("state", STATES, ids=[state.__name__ for state in STATES])
@pytest.mark.parametrize("name", OPERATIONS)
def test_wrong_time(compare, name, state, pki):
    """Each operation on a socket in each state gives what the stdlib gives."""
    nothing = ("recv nothing", "sendall nothing", "sendall no bytes")
    if PYPY and name in nothing and state not in (untouched, idle):
        pytest.skip("without TLS it is PyPy's plain socket that answers")

    def scene(mod):
        sock, other = state(mod, pki)
        try:
            told = outcome(OPERATIONS[name], sock)
            if told.error or name not in PRIVATE:
                return told
            return told.value is not None
        finally:
            sock.close()
            other.close()

    if (name, state) == ("do_handshake", shut_down):
        # The stdlib trips over its own None there; any refusal is as good.
        assert scene(sslbind).error
        return
    compare(scene)


OBJECT_OPERATIONS = {
    "read": lambda o: o.read(10),
    "read nothing": lambda o: o.read(0),
    "read negative": lambda o: o.read(-1),
    "read into": lambda o: o.read(10, bytearray(10)),
    "write": lambda o: o.write(b"x"),
    "write nothing": lambda o: o.write(b""),
    "pending": lambda o: o.pending(),
    "getpeercert": lambda o: o.getpeercert(),
    "cipher": lambda o: o.cipher(),
    "version": lambda o: o.version(),
    "ALPN": lambda o: o.selected_alpn_protocol(),
    "channel binding": lambda o: o.get_channel_binding(),
    "unwrap": lambda o: o.unwrap(),
    "post-handshake": lambda o: o.verify_client_post_handshake(),
    "session": lambda o: o.session,
    "set session text": lambda o: setattr(o, "session", "x"),
    "set session None": lambda o: setattr(o, "session", None),
    "set context text": lambda o: setattr(o, "context", "x"),
    "set name": lambda o: setattr(o, "server_hostname", "x"),
    "set server_side": lambda o: setattr(o, "server_side", True),
}


@pytest.mark.parametrize("server_side", (False, True), ids=("client", "server"))
@table(OBJECT_OPERATIONS)
def test_object_before_handshake(compare, fault, server_side, pki):
    """Each operation of an object before its handshake gives what the stdlib gives."""

    def scene(mod):
        context = (server_context if server_side else client_context)(mod, pki)
        obj = context.wrap_bio(
            mod.MemoryBIO(), mod.MemoryBIO(), server_side, None if server_side else HOST
        )
        return outcome(fault, obj)

    compare(scene)


# --- Peers that break the rules, or the connection ---------------------------------------------


def reset(sock) -> None:
    """Close a TCP socket so that its peer gets a reset (SO_LINGER of 0 seconds, socket(7))."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket.close(sock)


STRANGERS = {
    "plain text": b"this is not TLS, and it is long enough to be a record\r\n" * 3,
    "HTTP response": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "HTTP request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP proxy": b"CONNECT example.org:443 HTTP/1.1\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "SMTP": b"220 mail.example ESMTP\r\n",
    "zeros": bytes(64),
    "0xff": b"\xff" * 64,
    "empty record": b"\x16\x03\x03\x00\x00",
    "huge record": b"\x16\x03\x03\xff\xff" + bytes(64),
    "record of version 9": b"\x16\x09\x09\x00\x10" + bytes(16),
    "application data": b"\x17\x03\x03\x00\x10" + bytes(16),
    "change cipher spec": b"\x14\x03\x03\x00\x01\x01",
    "alert handshake_failure": b"\x15\x03\x03\x00\x02\x02\x28",
    "alert close_notify": b"\x15\x03\x03\x00\x02\x01\x00",
    "alert unknown": b"\x15\x03\x03\x00\x02\x02\xfe",
    "alert of 1 byte": b"\x15\x03\x03\x00\x01\x02",
    "SSLv2 hello": bytes.fromhex("802e0100020015000000100700c00300800100800600400400800200800000"),
    "nothing": b"",
    "half a header": b"\x16\x03",
}


def stranger(raw, words):
    """Send words that are no TLS, say that no more comes, and read until the end."""
    with raw, contextlib.suppress(OSError):  # the other end may have hung up already
        raw.sendall(words)
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(65536):
            pass


@BACKS
@pytest.mark.parametrize("words", STRANGERS.values(), ids=list(STRANGERS))
def test_stranger(compare, words, role, ragged, pki):
    """A peer that speaks no TLS is reported as by the stdlib, whichever end it plays."""

    def scene(mod):
        left, right = raw_pair("tcp")
        context = (client_context if role == "client" else server_context)(mod, pki)
        sock = context.wrap_socket(
            left,
            server_side=role == "server",
            do_handshake_on_connect=False,
            suppress_ragged_eofs=ragged,
            server_hostname=HOST if role == "client" else None,
        )
        with Peer(stranger, right, words), sock:
            return outcome(sock.do_handshake)

    compare(scene)


@pytest.mark.parametrize("words", STRANGERS.values(), ids=list(STRANGERS))
def test_stranger_in_memory(compare, words, role, pki):
    """Objects report bytes that are no TLS as the stdlib's do."""

    def scene(mod):
        context = (client_context if role == "client" else server_context)(mod, pki)
        incoming = mod.MemoryBIO()
        obj = context.wrap_bio(
            incoming, mod.MemoryBIO(), role == "server", HOST if role == "client" else None
        )
        incoming.write(words)
        waiting = outcome(obj.do_handshake)
        incoming.write_eof()
        return waiting, outcome(obj.do_handshake)

    compare(scene)


def abrupt(made):
    """The peer closes TCP without a word."""
    socket.socket.close(made.theirs)


def half_closed(made):
    """The peer closes its sending half of TCP without a word."""
    socket.socket.shutdown(made.theirs, socket.SHUT_WR)


def words_then_abrupt(made):
    """The peer says something, then closes TCP."""
    made.theirs.sendall(b"last words")
    socket.socket.close(made.theirs)


def goodbye(made):
    """The peer sends close_notify."""
    made.theirs.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        made.theirs.unwrap()


def words_then_goodbye(made):
    """The peer says something, then close_notify."""
    made.theirs.sendall(b"last words")
    goodbye(made)


def plain_text(made):
    """The peer forgets about TLS."""
    socket.socket.send(made.theirs, b"plain text in the middle of it all")


def broken_record(made):
    """The peer's record fails its integrity check."""
    socket.socket.send(made.theirs, b"\x17\x03\x03\x00\x20" + b"?" * 32)


def half_record(made):
    """The peer's record is cut short by the end of TCP."""
    socket.socket.send(made.theirs, b"\x17\x03\x03\x00\x20" + b"?" * 5)
    socket.socket.close(made.theirs)


def too_long(made):
    """The peer's record is longer than the protocol allows (RFC 8446 5.2)."""
    socket.socket.send(made.theirs, b"\x17\x03\x03\x7f\xff" + b"?" * 32)


PARTINGS = {
    fault.__name__: fault
    for fault in (
        abrupt,
        half_closed,
        words_then_abrupt,
        goodbye,
        words_then_goodbye,
        plain_text,
        broken_record,
        half_record,
        too_long,
    )
}

AFTERWARDS = {
    "recv": lambda s: s.recv(100),
    "read": lambda s: s.read(100),
    "recv_into": lambda s: s.recv_into(bytearray(100)),
    "unwrap": lambda s: type(s.unwrap()).__name__,
}


@BACKS
@pytest.mark.parametrize("name", AFTERWARDS)
@table(PARTINGS)
def test_parting(compare, fault, name, ragged, version, family, pki):
    """The end of a connection, clean or not, is seen as with the stdlib, twice over."""

    def scene(mod):
        # Over AF_UNIX the stdlib then reports that OpenSSL's alert meets nobody, not the end.
        hidden = ALERT_HIDES_THE_END and mod is ssl and name != "unwrap"
        kind = "tcp" if hidden else family
        with Link(mod, pki, version, "client", kind, suppress_ragged_eofs=ragged) as made:
            fault(made)
            if fault in (goodbye, words_then_goodbye):
                made.theirs.setblocking(True)
                made.ours.settimeout(DEADLINE)
            told = [outcome(AFTERWARDS[name], made.ours)]
            if name == "unwrap":
                return told
            return told + [outcome(AFTERWARDS[name], made.ours) for _ in range(2)]

    compare(scene)


@BACKS
@pytest.mark.parametrize("name", AFTERWARDS)
def test_reset(compare, name, ragged, version, pki):
    """A reset connection gives the system's error, as with the stdlib."""

    def scene(mod):
        with Link(mod, pki, version, suppress_ragged_eofs=ragged) as made:
            reset(made.theirs)
            return outcome(AFTERWARDS[name], made.ours)

    compare(scene)


def until_it_fails(sock):
    """Send until the system says that nobody listens; at most a few times."""
    for _ in range(20):
        sock.sendall(b"x" * 1000)


def test_send_after_reset(compare, version, pki):
    """Sending to a peer that is gone gives the system's error, as with the stdlib."""

    def scene(mod):
        with Link(mod, pki, version) as made:
            reset(made.theirs)
            return outcome(until_it_fails, made.ours)

    compare(scene)


def send_to_nobody(mod, pki, version, told=outcome):
    """Send over AF_UNIX to a peer that is gone; `told` says what came of it."""
    with Link(mod, pki, version, family="unix") as made:
        socket.socket.close(made.theirs)
        return told(until_it_fails, made.ours)


def test_send_to_closed_unix_peer(compare, version, pki):
    """A broken pipe is reported as by the stdlib, and kills nobody by SIGPIPE."""
    compare(lambda mod: send_to_nobody(mod, pki, version))


def test_reset_during_handshake(compare, role, pki):
    """A connection that is reset before the handshake gives the system's error."""

    def scene(mod):
        left, right = raw_pair("tcp")
        context = (client_context if role == "client" else server_context)(mod, pki)
        sock = context.wrap_socket(
            left,
            server_side=role == "server",
            do_handshake_on_connect=False,
            server_hostname=HOST if role == "client" else None,
        )
        with sock:
            reset(right)
            return outcome(sock.do_handshake)

    compare(scene)


def test_write_after_own_goodbye(compare, version, pki):
    """After our own close_notify nothing more can be written."""

    def scene(mod):
        with Wire(mod, pki, version) as made:
            first = outcome(made.ours.unwrap)
            return first, outcome(made.ours.write, b"x"), outcome(made.ours.read, 1)

    compare(scene)


def part_in_memory(mod, fault, version, pki, told=outcome, buffers=None) -> list:
    """End a connection of an object by a fault; return what it made of that, as `told` says it.

    `buffers` is the module of its memory buffers, if that is another one.
    """
    with Wire(ssl, pki, version, "unix", "server") as helper:
        # A record of that helper belongs to another connection: it cannot be decrypted.
        foreign = helper.say(b"x")
    client = client_context(mod, pki, version)
    server = server_context(ssl, pki, version)
    left, right = memory_pair(client, server, client_mod=buffers or mod)
    for _ in range(3):
        for end in (left, right):
            attempt(end.obj.do_handshake)
            end.flush()
    if "words" in fault.__name__:
        right.obj.write(b"last words")
    if "goodbye" in fault.__name__:
        attempt(right.obj.unwrap)
    right.flush()
    if fault in (plain_text, broken_record, too_long):
        left.incoming.write(b"plain text" if fault is plain_text else foreign)
    elif "goodbye" not in fault.__name__:
        left.incoming.write(foreign[:7] if fault is half_record else b"")
        left.incoming.write_eof()
    return [told(left.obj.read, 100) for _ in range(3)] + [told(left.obj.unwrap)]


@table(PARTINGS)
def test_parting_in_memory(compare, fault, version, pki):
    """Objects see the end of a connection as the stdlib's do."""
    compare(lambda mod: part_in_memory(mod, fault, version, pki))


# --- Waiting -----------------------------------------------------------------------------------

SHORT = 0.05  # seconds; these operations have to run into their timeout


def fill(sock):
    """Send until neither the kernel nor the peer takes more."""
    while True:
        sock.sendall(b"x" * 65536)


WAITS = {
    "recv": lambda s: s.recv(10),
    "read": lambda s: s.read(10),
    "recv_into": lambda s: s.recv_into(bytearray(10)),
    "unwrap": lambda s: s.unwrap(),
    "sendall": fill,
    "makefile": lambda s: s.makefile("rb").read(10),
}


@pytest.mark.parametrize("name", WAITS)
def test_timeouts(compare, name, version, family, pki):
    """An operation that runs out of time says so in the stdlib's words."""

    def scene(mod):
        with Link(mod, pki, version, family=family) as made:
            made.ours.settimeout(SHORT)
            return outcome(WAITS[name], made.ours)

    compare(scene)


@pytest.mark.parametrize("name", [name for name in WAITS if name != "makefile"])
def test_non_blocking(compare, name, version, family, pki):
    """A non-blocking socket says want-read or want-write as the stdlib's does."""

    def scene(mod):
        with Link(mod, pki, version, family=family) as made:
            made.ours.setblocking(False)
            return outcome(WAITS[name], made.ours)

    compare(scene)


@pytest.mark.parametrize("blocking", (SHORT, 0.0), ids=("timeout", "non-blocking"))
def test_handshake_waits(compare, blocking, role, pki):
    """A handshake with a silent peer times out, or wants to read, as in the stdlib."""

    def scene(mod):
        left, right = raw_pair("tcp")
        context = (client_context if role == "client" else server_context)(mod, pki)
        sock = context.wrap_socket(
            left,
            server_side=role == "server",
            do_handshake_on_connect=False,
            server_hostname=HOST if role == "client" else None,
        )
        with sock, right:
            sock.settimeout(blocking)
            return outcome(sock.do_handshake)

    compare(scene)


def full_listener() -> list[socket.socket]:
    """Return a loopback listener whose queue is full, and those who fill it.

    Linux drops the SYN of whoever comes next (listen(2)), so that a connect has to wait.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(3):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
        waiting.append(sock)
    return [listener, *waiting]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the queue rule is Linux's own")
@pytest.mark.parametrize("method", ("connect", "connect_ex"))
def test_connect_timeout(compare, method, pki):
    """A connect that gets no answer times out as in the stdlib."""

    def scene(mod):
        crowd = full_listener()
        try:
            sock = client_context(mod, pki).wrap_socket(socket.socket(), server_hostname=HOST)
            with sock:
                sock.settimeout(SHORT)
                return outcome(getattr(sock, method), crowd[0].getsockname())
        finally:
            for one in crowd:
                one.close()

    compare(scene)


@pytest.mark.parametrize("method", ("connect", "connect_ex"))
def test_connect_refused(compare, method, pki):
    """A refused connect is the system's error, as in the stdlib."""

    def scene(mod):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
        with client_context(mod, pki).wrap_socket(socket.socket(), server_hostname=HOST) as sock:
            return outcome(getattr(sock, method), address)

    compare(scene)


# --- Functions of the module -------------------------------------------------------------------

FUNCTIONS = {
    "time garbage": lambda m: m.cert_time_to_seconds("garbage"),
    "time bad month": lambda m: m.cert_time_to_seconds("Foo  5 09:34:43 2018 GMT"),
    "time no zone": lambda m: m.cert_time_to_seconds("Jan  5 09:34:43 2018"),
    "time bad zone": lambda m: m.cert_time_to_seconds("Jan  5 09:34:43 2018 UTC"),
    "time bad hour": lambda m: m.cert_time_to_seconds("Jan  5 24:34:43 2018 GMT"),
    "time leap second": lambda m: m.cert_time_to_seconds("Jan  5 23:59:60 2018 GMT"),
    "time lower case": lambda m: m.cert_time_to_seconds("jan  5 09:34:43 2018 gmt"),
    "time None": lambda m: m.cert_time_to_seconds(None),
    "time integer": lambda m: m.cert_time_to_seconds(5),
    "time bytes": lambda m: m.cert_time_to_seconds(b"Jan  5 09:34:43 2018 GMT"),
    "PEM garbage": lambda m: m.PEM_cert_to_DER_cert("garbage"),
    "PEM no footer": lambda m: m.PEM_cert_to_DER_cert(m.PEM_HEADER + "\nAAAA"),
    "PEM bad base64": lambda m: m.PEM_cert_to_DER_cert(
        m.PEM_HEADER + "\nAAAAA\n" + m.PEM_FOOTER + "\n"
    ),
    "PEM bytes": lambda m: m.PEM_cert_to_DER_cert(b"x"),
    "PEM None": lambda m: m.PEM_cert_to_DER_cert(None),
    "PEM lines": lambda m: m.PEM_cert_to_DER_cert(
        "\n" + m.PEM_HEADER + "\nAA\nAA\n" + m.PEM_FOOTER + "\n\n"
    ),
    "DER text": lambda m: m.DER_cert_to_PEM_cert("text"),
    "DER None": lambda m: m.DER_cert_to_PEM_cert(None),
    "DER empty": lambda m: m.DER_cert_to_PEM_cert(b""),
    "DER any": lambda m: m.DER_cert_to_PEM_cert(bytes(range(200))),
    "RAND_bytes -1": lambda m: m.RAND_bytes(-1),
    "RAND_bytes huge": lambda m: m.RAND_bytes(1 << 70),
    "RAND_bytes text": lambda m: m.RAND_bytes("5"),
    "RAND_bytes float": lambda m: m.RAND_bytes(5.0),
    "RAND_bytes 0": lambda m: m.RAND_bytes(0),
    "RAND_add None": lambda m: m.RAND_add(None, 1.0),
    "RAND_add text": lambda m: m.RAND_add("text", 1.0),
    "RAND_add no entropy": lambda m: m.RAND_add(b"text", "much"),
    "RAND_add lone surrogate": lambda m: m.RAND_add("\ud800", 1.0),
    "RAND_status argument": lambda m: m.RAND_status(1),
    "protocol name": lambda m: m.get_protocol_name(99),
    "protocol name of text": lambda m: m.get_protocol_name("x"),
    "protocol name of a list": lambda m: m.get_protocol_name([]),
    "context purpose text": lambda m: m.create_default_context("SERVER_AUTH"),
    "context purpose None": lambda m: m.create_default_context(None),
    "context missing file": lambda m: m.create_default_context(cafile="/nowhere/at/all"),
    "context garbage data": lambda m: m.create_default_context(cadata="x"),
    "unverified bad cert_reqs": lambda m: m._create_unverified_context(cert_reqs=9),
    "unverified certificate": lambda m: m._create_unverified_context(keyfile="only a key"),
    "unverified purpose": lambda m: m._create_unverified_context(purpose=7),
    "certificate of nobody": lambda m: m.get_server_certificate(("127.0.0.1",)),
    "certificate of text": lambda m: m.get_server_certificate("127.0.0.1"),
    "purpose unknown": lambda m: m.Purpose("1.2.3"),
    "version unknown": lambda m: m.TLSVersion(7),
    "alert unknown": lambda m: m.AlertDescription(255),
}


@table(FUNCTIONS)
def test_functions(compare, fault):
    """Module functions refuse bad arguments as the stdlib's do."""
    compare(lambda mod: outcome(fault, mod))


BIO_CALLS = {
    "write text": lambda b: b.write("text"),
    "write None": lambda b: b.write(None),
    "write integer": lambda b: b.write(7),
    "write strided": lambda b: b.write(memoryview(b"abcdef")[::2]),
    "write after the end": lambda b: (b.write_eof(), b.write(b"x")),
    "read text": lambda b: b.read("5"),
    "read float": lambda b: b.read(1.5),
    "read None": lambda b: b.read(None),
    "read huge": lambda b: b.read(1 << 70),
    "read much": lambda b: b.read(1 << 30),
    "read negative": lambda b: b.read(-7),
    "set pending": lambda b: setattr(b, "pending", 1),
    "set eof": lambda b: setattr(b, "eof", True),
    "write_eof argument": lambda b: b.write_eof(1),
}


@table(BIO_CALLS)
def test_memory_bio(compare, fault):
    """A memory BIO refuses bad arguments as the stdlib's does."""
    compare(lambda mod: outcome(fault, mod.MemoryBIO()))


def test_classes_are_the_interpreters():
    """`except ssl.SSLError` in any library catches what sslbind raises, and the reverse."""
    for name in (
        "SSLError",
        "SSLZeroReturnError",
        "SSLWantReadError",
        "SSLWantWriteError",
        "SSLSyscallError",
        "SSLEOFError",
        "SSLCertVerificationError",
        "CertificateError",
    ):
        assert getattr(sslbind, name) is getattr(ssl, name)


def test_errno_is_the_first_argument(wire, mod):
    """Libraries compare `args[0]` with the `SSL_ERROR_*` numbers."""
    with pytest.raises(mod.SSLWantReadError) as caught:
        wire(mod, "TLSv1_3").ours.recv(1)
    assert caught.value.args[0] == caught.value.errno == mod.SSL_ERROR_WANT_READ


def test_old_error_does_not_leak_into_the_next(pki, mod):
    """A failed call leaves nothing behind that a later call on another object would report."""
    with Link(mod, pki) as healthy:
        for spoil in (
            lambda: client_context(mod, pki).load_verify_locations(cadata="garbage"),
            lambda: server_context(mod, pki).load_cert_chain(pki.garbage),
            lambda: client_context(mod, pki).set_ecdh_curve("nonsense"),
        ):
            assert outcome(spoil).error
            healthy.ours.sendall(b"x")
            assert healthy.theirs.recv(1) == b"x"
            healthy.ours.settimeout(SHORT)
            assert outcome(healthy.ours.recv, 1).error in ("timeout", "TimeoutError")

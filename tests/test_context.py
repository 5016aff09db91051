"""SSLContext: protocols, versions, options, verification settings, suites, statistics."""

from __future__ import annotations

import copy
import gc
import pickle
import ssl
import sys
import warnings
from unittest import mock

import pytest
from links import client_context, memory_pair, pin, server_context, shake_memory, shaken_pair
from outcomes import PYPY, outcome
from pki import HOST

import sslbind
from sslbind import _ctx

SAME_OPENSSL = ssl.OPENSSL_VERSION_INFO[:4] == sslbind.OPENSSL_VERSION_INFO[:4]
SETTINGS = (
    "protocol",
    "options",
    "verify_mode",
    "verify_flags",
    "check_hostname",
    "minimum_version",
    "maximum_version",
    "post_handshake_auth",
    "hostname_checks_common_name",
    "num_tickets",
    "sni_callback",
    "security_level",
)


class Odd(int):
    """A number that passes for others, by all that it says of itself."""

    def __int__(self):
        return 17

    __index__ = __int__

    def __hash__(self):
        return 17

    def __eq__(self, other):
        return True


@pytest.mark.parametrize("number", (16, 17, 2, 99))
def test_a_protocol_is_a_number(mod, number):
    """What a number of somebody's own class says of itself plays no part."""
    told = []
    for protocol in (number, Odd(number)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            told.append(outcome(lambda: int(mod.SSLContext(protocol).protocol)))  # noqa: B023
        told.append([str(warning.message) for warning in caught])
    assert told[:2] == told[2:]


def test_interrupted_before_the_ciphers_are_known():
    """Then the next context looks which they are."""
    ciphers = _ctx._InitialCiphers("HIGH")
    context = sslbind.SSLContext(sslbind.PROTOCOL_TLS_SERVER)
    with mock.patch.object(_ctx._SSLContext, "get_ciphers", side_effect=KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            ciphers.learn(context)
    assert ciphers.pending


def test_what_openssl_lacks_is_not_deprecated(mod):
    """SSLv3, where it is no more, is an error without a warning before it."""
    if mod.HAS_SSLv3:
        pytest.skip("this OpenSSL has it")
    with warnings.catch_warnings(), pytest.raises(ValueError, match="invalid or unsupported"):
        warnings.simplefilter("error")
        mod.SSLContext(1)


def test_a_refused_context_never_was(mod):
    """No finaliser sees half of one."""
    seen = []

    class Watched(mod.SSLContext):
        def __del__(self):
            seen.append(self.protocol)

    with pytest.raises(ValueError):
        Watched(99)
    gc.collect()
    assert not seen


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("protocol", ("PROTOCOL_TLS_CLIENT", "PROTOCOL_TLS_SERVER"))
def test_settings_of_a_new_context(protocol, name):
    """A new context has the stdlib's settings."""
    ours = getattr(sslbind.SSLContext(getattr(sslbind, protocol)), name)
    theirs = ssl.SSLContext(getattr(ssl, protocol))
    if not hasattr(theirs, name):
        pytest.skip(f"this Python's ssl has no {name}")
    theirs = getattr(theirs, name)
    if name == "options":
        known = int(ssl.OP_ALL) | int(ssl.OP_NO_COMPRESSION) | int(ssl.OP_NO_SSLv3)
        ours, theirs = ours & known, theirs & known
    if name == "minimum_version":
        # 3.9 leaves it to the system; 3.10 and later say TLS 1.2.
        assert ours in (theirs, sslbind.TLSVersion.TLSv1_2)
        return
    assert ours == theirs


def test_default_protocol_warns():
    """Without a protocol the context is made, with the stdlib's warning of 3.10 and later."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        context = sslbind.SSLContext()
    assert context.protocol == sslbind.PROTOCOL_TLS
    if sslbind is not ssl and sys.version_info >= (3, 10):
        assert any(issubclass(one.category, DeprecationWarning) for one in seen)


def test_is_a_context_to_other_libraries(mod):
    """asyncio and others ask `isinstance(context, ssl.SSLContext)`."""
    context = mod.SSLContext(mod.PROTOCOL_TLS_CLIENT)
    assert isinstance(context, ssl.SSLContext)
    assert isinstance(context, mod.SSLContext)


def test_options_that_are_none(pki):
    """A number that does not fit is refused; a negative one as by the stdlib from 3.12 on."""
    context = client_context(sslbind, pki)
    before = context.options
    negative = "ValueError" if sys.version_info >= (3, 14) else "OverflowError"
    assert outcome(setattr, context, "options", -1).error == negative
    assert outcome(setattr, context, "options", 1 << 64).error == "OverflowError"
    if sys.version_info >= (3, 12) and not PYPY:
        assert outcome(setattr, client_context(ssl, pki), "options", -1).error == negative
    assert context.options == before


@pytest.mark.parametrize("name", ("OP_NO_TLSv1_3", "OP_NO_TICKET", "OP_CIPHER_SERVER_PREFERENCE"))
def test_options_on_and_off(mod, name):
    """Options can be set and cleared, and are an enum."""
    context = mod.SSLContext(mod.PROTOCOL_TLS_CLIENT)
    flag = getattr(mod, name)
    before = context.options
    context.options |= flag
    assert context.options == before | flag
    assert isinstance(context.options, mod.Options)
    context.options &= ~flag
    assert not context.options & flag


def test_verify_mode_and_check_hostname(mod):
    """The two depend on each other as in the stdlib."""
    context = mod.SSLContext(mod.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ValueError, match="Cannot set verify_mode to CERT_NONE"):
        context.verify_mode = mod.CERT_NONE
    context.check_hostname = False
    context.verify_mode = mod.CERT_NONE
    context.check_hostname = True
    assert context.verify_mode == mod.CERT_REQUIRED
    context.check_hostname = False
    assert context.verify_mode == mod.CERT_REQUIRED


@pytest.mark.parametrize("name", ("minimum_version", "maximum_version"))
def test_version_limits(mod, name):
    """Limits are kept, as enum members."""
    context = mod.SSLContext(mod.PROTOCOL_TLS_CLIENT)
    for version in (mod.TLSVersion.TLSv1_2, mod.TLSVersion.TLSv1_3):
        setattr(context, name, version)
        assert getattr(context, name) is version


def test_limits_decide(mod, pki):
    """The version that is agreed on is within both ends' limits."""
    for low, high in (("TLSv1_2", "TLSv1_2"), ("TLSv1_2", "TLSv1_3"), ("TLSv1_3", "TLSv1_3")):
        client = client_context(mod, pki)
        client.minimum_version, client.maximum_version = mod.TLSVersion[low], mod.TLSVersion[high]
        left, _ = shaken_pair(mod, pki, client=client)
        assert left.obj.version() == high.replace("_", ".")


def test_fixed_protocols(mod, pki):
    """A context of a fixed protocol speaks that one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = mod.SSLContext(mod.PROTOCOL_TLSv1_2)
    client.load_verify_locations(pki.ca)
    left, _ = shaken_pair(mod, pki, client=client)
    assert left.obj.version() == "TLSv1.2"


@pytest.mark.skipif(not SAME_OPENSSL, reason="suites may differ between OpenSSL's versions")
@pytest.mark.parametrize("suites", (None, "ECDHE+AESGCM", "AES128-SHA", "ALL:!COMPLEMENTOFDEFAULT"))
def test_ciphers(suites):
    """The suites of a context are listed as by the stdlib."""
    told = []
    for mod in (sslbind, ssl):
        context = mod.SSLContext(mod.PROTOCOL_TLS_CLIENT)
        if suites:
            context.set_ciphers(suites)
        told.append([entry["name"] for entry in context.get_ciphers()])
    assert told[0] == told[1]


def test_cipher_entries(mod):
    """Each suite is described by a dict of plain values."""
    kinds = {
        "id": int,
        "name": str,
        "protocol": str,
        "description": str,
        "strength_bits": int,
        "alg_bits": int,
    }
    for entry in mod.SSLContext(mod.PROTOCOL_TLS_CLIENT).get_ciphers():
        assert {name: type(entry[name]) for name in kinds} == kinds
        assert entry["name"] in entry["description"]


def test_session_stats(mod, pki):
    """Handshakes are counted."""
    server = server_context(mod, pki)
    assert set(server.session_stats()) == set(
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).session_stats()
    )
    assert set(server.session_stats().values()) == {0}
    shaken_pair(mod, pki, server=server)
    assert server.session_stats()["accept_good"] == 1
    assert server.session_stats()["connect"] == 0


def test_tickets(mod, pki):
    """The number of TLS 1.3 tickets is a server's to set."""
    server = mod.SSLContext(mod.PROTOCOL_TLS_SERVER)
    for count in (0, 1, 5):
        server.num_tickets = count
        assert server.num_tickets == count
    with pytest.raises(ValueError):
        server.num_tickets = -1
    with pytest.raises(ValueError):
        mod.SSLContext(mod.PROTOCOL_TLS_CLIENT).num_tickets = 1


def test_own_classes(mod, pki):
    """A context of a subclass, with own attributes, works and finds its class again."""

    class Mine(mod.SSLContext):
        label = "mine"

    context = Mine(mod.PROTOCOL_TLS_CLIENT)
    context.extra = 1
    context.load_verify_locations(pki.ca)
    left, _ = shaken_pair(mod, pki, client=context)
    assert left.obj.context is context
    assert (context.label, context.extra) == ("mine", 1)


@pytest.mark.parametrize("how", (copy.copy, copy.deepcopy, pickle.dumps))
def test_no_copies(mod, how):
    """Contexts cannot be copied or pickled."""
    with pytest.raises(TypeError):
        how(mod.SSLContext(mod.PROTOCOL_TLS_CLIENT))


def test_swapped_between_handshakes(mod, pki, version):
    """A connection's context can be changed before its handshake, for one of its own kind."""
    one, two = server_context(mod, pki, version), server_context(mod, pki, version, pki.second)
    left, right = memory_pair(client_context(mod, pki, version), one, "second.example", mod, mod)
    right.obj.context = two
    assert right.obj.context is two
    shake_memory(left, right)


def test_unverified_contexts(mod, pki):
    """`_create_unverified_context` verifies nothing, and `_create_stdlib_context` is the same."""
    for make in (mod._create_unverified_context, mod._create_stdlib_context):
        context = make()
        assert (context.verify_mode, context.check_hostname) == (mod.CERT_NONE, False)
        left, right = memory_pair(
            context, server_context(mod, pki, leaf=pki.self_signed), HOST, mod, mod
        )
        shake_memory(left, right)


@pytest.mark.parametrize("protocol", (None, "PROTOCOL_TLS", "PROTOCOL_TLS_CLIENT"))
@pytest.mark.parametrize("mode", (None, "CERT_NONE", "CERT_OPTIONAL", "CERT_REQUIRED"))
def test_names_checked_without_certificates(protocol, mode):
    """`_create_unverified_context` refuses it from Python 3.10 on; before, it verifies."""
    told = []
    for mod in (sslbind, ssl):
        arguments = {"check_hostname": True, "cert_reqs": mode and getattr(mod, mode)}
        if protocol is not None:
            arguments["protocol"] = getattr(mod, protocol)
        made = outcome(mod._create_unverified_context, **arguments)
        if made.value is not None:
            settings = made.value.check_hostname, int(made.value.verify_mode)
            made = made._replace(value=settings)
        told.append(made)
    if PYPY:
        del told[1]
    assert told[0] == told[-1]
    assert told[0].error or told[0].value[0] and told[0].value[1]


NEWER = {
    "set_ciphersuites": ("TLS_AES_128_GCM_SHA256",),
    "set_groups": ("P-256",),
    "set_client_sigalgs": ("ECDSA+SHA256",),
    "set_server_sigalgs": ("ECDSA+SHA256",),
}


@pytest.mark.parametrize("name", NEWER)
def test_newer_setters(name, pki):
    """What 3.15 can set works on every Python, or says which OpenSSL is needed."""
    if sslbind is ssl and not hasattr(ssl.SSLContext, name):
        pytest.skip("the stdlib stands in for sslbind")
    client = pin(client_context(sslbind, pki), sslbind, "TLSv1_3")
    try:
        getattr(client, name)(*NEWER[name])
    except NotImplementedError as exc:
        assert "OpenSSL" in str(exc)
        return
    left, _ = shaken_pair(sslbind, pki, client=client)
    if name == "set_ciphersuites":
        assert left.obj.cipher()[0] == NEWER[name][0]
    for nonsense in ("no-such-thing", 7, None):
        assert outcome(getattr(client, name), nonsense).error

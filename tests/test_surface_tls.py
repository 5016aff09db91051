"""What connections agree on, by the settings of 3.x: groups, signature algorithms, tickets, names.

On an OpenSSL that lacks a feature the call raises NotImplementedError with the version that has it.
"""

from __future__ import annotations

import re
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from links import (
    client_context,
    memory_pair,
    pin,
    server_context,
    shake_memory,
    shaken_pair,
)
from outcomes import outcome
from pki import HOST, utc

import sslbind

OPENSSL = sslbind.OPENSSL_VERSION_INFO[:2]


def needs(version, call, *args, **kwargs):
    """Return what a call gives, or skip after it has told which OpenSSL it needs."""
    if version <= OPENSSL:
        return call(*args, **kwargs)
    wanted = rf"OpenSSL {version[0]}\.{version[1]}\b"
    with pytest.raises(NotImplementedError, match=wanted) as caught:
        call(*args, **kwargs)
    pytest.skip(str(caught.value))


# --- Groups -----------------------------------------------------------------------------------


def test_group(pki, version):
    """`group` is the one that both ends have."""
    client = client_context(sslbind, pki, version)
    client.set_groups("P-384:P-521")
    server = server_context(sslbind, pki, version, pki.server_rsa)
    server.set_groups("P-521:X25519")
    left, right = shaken_pair(sslbind, pki, client=client, server=server)
    for end in (left, right):
        assert needs((3, 2), end.obj.group) == "secp521r1"


def test_no_group_in_common(pki):
    """Without one there is no TLS 1.3."""
    client = pin(client_context(sslbind, pki), sslbind, "TLSv1_3")
    client.set_groups("P-384")
    server = server_context(sslbind, pki)
    server.set_groups("X25519")
    left, right = memory_pair(client, server, client_mod=sslbind, server_mod=sslbind)
    with pytest.raises(sslbind.SSLError, match="NO_SUITABLE_(KEY_SHARE|GROUPS)"):
        shake_memory(left, right)


def test_group_before_the_handshake(pki):
    """Before it there is none."""
    left, _ = memory_pair(client_context(sslbind, pki), server_context(sslbind, pki))
    assert needs((3, 2), left.obj.group) is None


def test_get_groups(pki):
    """`get_groups` has what can be set, aliases if so wished."""
    context = client_context(sslbind, pki)
    names = needs((3, 5), context.get_groups)
    assert {"x25519", "secp256r1", "secp384r1", "X25519MLKEM768"} <= set(names)
    everything = context.get_groups(include_aliases=True)
    assert set(names) < set(everything)
    assert "P-256" in everything
    with pytest.raises(TypeError):
        context.get_groups(True)
    for name in names:
        context.set_groups(name)
        assert name in context.get_groups()


def test_post_quantum_group(pki):
    """X25519MLKEM768 is agreed on where OpenSSL has it (3.5)."""
    if OPENSSL < (3, 5):
        with pytest.raises(sslbind.SSLError, match="unrecognized group"):
            client_context(sslbind, pki).set_groups("X25519MLKEM768")
        pytest.skip("OpenSSL 3.5 is the first with post-quantum groups")
    client = pin(client_context(sslbind, pki), sslbind, "TLSv1_3")
    client.set_groups("X25519MLKEM768")
    left, right = shaken_pair(sslbind, pki, client=client)
    assert left.obj.group() == right.obj.group() == "X25519MLKEM768"


@pytest.mark.parametrize("nonsense", ["", "no-such-group", "X25519:no-such-group", ":::"])
def test_unknown_groups(pki, nonsense):
    """A list that OpenSSL does not understand changes nothing."""
    context = client_context(sslbind, pki)
    context.set_groups("P-384")
    told = outcome(context.set_groups, nonsense)
    assert told.error in ("SSLError", "")
    if told.error:
        assert told.args[0] == 0 and told.text.startswith("unrecognized group")
        left, right = shaken_pair(sslbind, pki, client=context)
        if OPENSSL >= (3, 2):
            assert left.obj.group() == "secp384r1"


# How each setter refuses what it cannot use; CPython 3.15, and 3.13 for PSK, are the models.
# (protocol, method, arguments, class, args[0], text)
REFUSALS = [
    ("CLIENT", "set_ciphers", ("none",), "SSLError", "No cipher can be selected.", ""),
    ("CLIENT", "set_ciphersuites", ("none",), "SSLError", 0, "No cipher suite can be selected."),
    ("CLIENT", "set_groups", ("none",), "SSLError", 0, "unrecognized group"),
    ("CLIENT", "set_client_sigalgs", ("none",), "SSLError", 0, "unrecognized signature algorithm"),
    ("CLIENT", "set_server_sigalgs", ("none",), "SSLError", 0, "unrecognized signature algorithm"),
    ("CLIENT", "set_groups", ("a\0b",), "ValueError", "embedded null character", ""),
    ("SERVER", "set_psk_client_callback", (len,), "SSLError", 0, "Cannot add PSK client callback"),
    ("CLIENT", "set_psk_server_callback", (len,), "SSLError", 0, "Cannot add PSK server callback"),
    ("SERVER", "set_psk_server_callback", (7,), "TypeError", "callback must be callable", ""),
    ("CLIENT", "set_psk_client_callback", (7,), "TypeError", "callback must be callable", ""),
    (
        *("SERVER", "set_psk_server_callback", (len, "x" * 300)),
        *("ValueError", "failed to set identity hint", ""),
    ),
    (
        *("SERVER", "set_psk_server_callback", (len, b"hint"), "TypeError"),
        "set_psk_server_callback() argument 'identity_hint' must be str or None, not bytes",
        "",
    ),
]
REFUSALS += [
    ("CLIENT", name, (thing,), "TypeError", f"{name}() argument must be str, not {kind}", "")
    for name in ("set_ciphers", "set_ciphersuites", "set_groups", "set_server_sigalgs")
    for thing, kind in ((7, "int"), (None, "None"), (b"ALL", "bytes"))
]


@pytest.mark.parametrize(("side", "method", "arguments", "error", "first", "text"), REFUSALS)
def test_refusals(mod, side, method, arguments, error, first, text):
    """Class, arguments and text of what is raised."""
    context = mod.SSLContext(getattr(mod, f"PROTOCOL_TLS_{side}"))
    if mod is ssl and not hasattr(context, method):
        pytest.skip(f"this Python's ssl has no {method}")
    with pytest.raises(Exception) as caught:  # the class is in the table
        getattr(context, method)(*arguments)
    assert type(caught.value).__name__ == error
    assert caught.value.args[0] == first
    assert str(caught.value).startswith(text)


# --- Signature algorithms ---------------------------------------------------------------------


def test_get_sigalgs():
    """`get_sigalgs` lists what the setters take."""
    names = needs((3, 4), sslbind.get_sigalgs)
    assert {"ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256", "ed25519"} <= set(names)
    context = sslbind.SSLContext(sslbind.PROTOCOL_TLS_CLIENT)
    for name in names:
        context.set_server_sigalgs(name)
        context.set_client_sigalgs(name)


def test_signatures(pki, version):
    """Each end knows by which algorithm both have signed; a client without certificate has not."""
    client = client_context(sslbind, pki, version)
    server = server_context(sslbind, pki, version)
    server.set_server_sigalgs("ECDSA+SHA256")
    left, right = shaken_pair(sslbind, pki, client=client, server=server)
    for end in (left, right):
        assert needs((3, 5), end.obj.server_sigalg) in ("ecdsa_secp256r1_sha256", "ECDSA+SHA256")
        assert end.obj.client_sigalg() is None


def test_client_signature(pki, version):
    """The client's certificate is signed for by one of the algorithms that the server takes."""
    client = client_context(sslbind, pki, version)
    client.load_cert_chain(pki.client.both)
    server = server_context(sslbind, pki, version)
    server.verify_mode = sslbind.CERT_REQUIRED
    server.load_verify_locations(pki.ca)
    server.set_client_sigalgs("ECDSA+SHA256:ECDSA+SHA384")
    left, right = shaken_pair(sslbind, pki, client=client, server=server)
    assert right.obj.getpeercert()["subjectAltName"]
    for end in (left, right):
        assert needs((3, 5), end.obj.client_sigalg).lower().startswith("ecdsa")
        assert end.obj.server_sigalg()


def test_client_signature_is_not_taken(pki):
    """A client whose key can make no such signature sends no certificate, and is refused."""
    client = client_context(sslbind, pki, "TLSv1_2")
    client.load_cert_chain(pki.client.both)
    server = server_context(sslbind, pki, "TLSv1_2")
    server.verify_mode = sslbind.CERT_REQUIRED
    server.load_verify_locations(pki.ca)
    server.set_client_sigalgs("RSA+SHA256")
    left, right = memory_pair(client, server, client_mod=sslbind, server_mod=sslbind)
    with pytest.raises(sslbind.SSLError):
        shake_memory(left, right)


# --- Cipher suites and strength ---------------------------------------------------------------


def test_ciphersuites(pki):
    """TLS 1.3's suites are set apart from the older ciphers, and appear in get_ciphers()."""
    client = pin(client_context(sslbind, pki), sslbind, "TLSv1_3")
    client.set_ciphersuites("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256")
    client.set_ciphers("ECDHE+AESGCM")
    names = [c["name"] for c in client.get_ciphers() if c["name"].startswith("TLS_")]
    assert names == ["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"]
    server = server_context(sslbind, pki)
    server.set_ciphersuites("TLS_AES_128_GCM_SHA256")
    left, right = shaken_pair(sslbind, pki, client=client, server=server)
    assert left.obj.cipher() == right.obj.cipher() == ("TLS_AES_128_GCM_SHA256", "TLSv1.3", 128)
    assert [c[0] for c in right.obj.shared_ciphers()][0].startswith("TLS_")


def test_security_level(mod):
    """It is what the cipher list demands."""
    context = mod.SSLContext(mod.PROTOCOL_TLS_CLIENT)
    if mod is ssl and not hasattr(context, "security_level"):
        pytest.skip("this Python's ssl has no security_level")
    for level in range(6):
        context.set_ciphers(f"ALL:@SECLEVEL={level}")
        assert context.security_level == level
    with pytest.raises(AttributeError):
        context.security_level = 1


# --- Names ------------------------------------------------------------------------------------


@pytest.fixture
def common_name_only(pki):
    """A certificate of the authority's that has its name in the subject alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    der = pki.sign(
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)]))
        .issuer_name(pki.ca_name())
        .public_key(key.public_key())
        .serial_number(4711)
        .not_valid_before(utc(2020))
        .not_valid_after(utc(2049))
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = pki.folder / "common-name.pem"
    path.write_bytes(pem + ssl.DER_cert_to_PEM_cert(der).encode())
    return str(path)


def test_common_name(mod, pki, common_name_only, version):
    """The subject's name counts, where there is no other, until that is turned off."""
    server = pin(mod.SSLContext(mod.PROTOCOL_TLS_SERVER), mod, version)
    server.load_cert_chain(common_name_only)
    for counts in (True, False):
        client = client_context(mod, pki, version)
        assert client.hostname_checks_common_name is True
        client.hostname_checks_common_name = counts
        assert client.hostname_checks_common_name is counts
        left, right = memory_pair(client, server, HOST, mod, mod)
        if counts:
            shake_memory(left, right)
            continue
        with pytest.raises(mod.SSLCertVerificationError, match="Hostname mismatch") as caught:
            shake_memory(left, right)
        assert caught.value.verify_code == 62


# --- Tickets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_number_of_tickets(mod, pki, count):
    """A server sends as many TLS 1.3 tickets as it is told to."""
    seen = []

    def hook(conn, direction, version, content_type, msg_type, data):
        if direction == "write" and msg_type == 4:  # NEWSESSION_TICKET, RFC 8446 B.3
            seen.append(content_type)

    server = server_context(mod, pki, "TLSv1_3")
    server.num_tickets = count
    server._msg_callback = hook
    shaken_pair(mod, pki, client=client_context(mod, pki, "TLSv1_3"), server=server)
    assert len([kind for kind in seen if kind == mod._TLSContentType.HANDSHAKE]) == count


# --- Chains -----------------------------------------------------------------------------------


def test_chains_as_bytes(pki):
    """On every Python a connection's chains are lists of DER: as sent, and as verified."""
    server = server_context(sslbind, pki, leaf=pki.through)
    left, right = shaken_pair(sslbind, pki, server=server)
    sent, verified = left.obj.get_unverified_chain(), left.obj.get_verified_chain()
    assert all(isinstance(der, bytes) for der in sent + verified)
    assert sent == verified[:2]
    assert verified[0] == pki.through.der and verified[-1] == pki.ca_der
    assert right.obj.get_unverified_chain() == right.obj.get_verified_chain() == []


def test_what_a_message_is(pki):
    """Every feature that is missing is named together with the version that has it."""
    left, _ = shaken_pair(sslbind, pki)
    context = client_context(sslbind, pki)
    calls = {
        (3, 2): [left.obj.group],
        (3, 4): [sslbind.get_sigalgs],
        (3, 5): [context.get_groups, left.obj.client_sigalg, left.obj.server_sigalg],
    }
    for version, missing in calls.items():
        for call in missing:
            told = outcome(call)
            assert (told.error == "NotImplementedError") == (version > OPENSSL)
            if told.error:
                assert re.search(rf"OpenSSL {version[0]}\.{version[1]}\b", told.text), told.text

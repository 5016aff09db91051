"""Whom a context trusts: files, folders, data, defaults, revocation; and how names are checked."""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path

import pytest
from links import client_context, memory_pair, server_context, shake_memory
from outcomes import ORACLE, allow_other_words, outcome
from pki import HOST

import sslbind


def client(mod):
    """Return a client's context that trusts nobody yet."""
    return mod.SSLContext(mod.PROTOCOL_TLS_CLIENT)


def trusts(mod, context, pki, leaf=None, name=HOST) -> bool:
    """Tell whether a handshake with a server of `leaf` succeeds."""
    left, right = memory_pair(context, server_context(ssl, pki, leaf=leaf), name, mod)
    try:
        shake_memory(left, right)
    except mod.SSLCertVerificationError:
        return False
    return True


def as_path(name: str):
    return Path(name)


def as_bytes(name: str):
    return os.fsencode(name)


@pytest.mark.parametrize("kind", (str, as_path, as_bytes))
def test_file(mod, pki, kind):
    """A CA file, named in any of Python's ways, is trusted."""
    context = client(mod)
    assert not trusts(mod, context, pki)
    context.load_verify_locations(kind(pki.ca))
    assert trusts(mod, context, pki)
    assert not trusts(mod, context, pki, pki.unknown)
    context.load_verify_locations(cafile=kind(pki.other_ca))
    assert trusts(mod, context, pki, pki.unknown)


def hashed(pki, folder: Path) -> str:
    """Return a folder that holds the authority under its hash (openssl-rehash(1))."""
    command = ["openssl", "x509", "-hash", "-noout", "-in", pki.ca]
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    (folder / f"{name}.0").write_bytes(Path(pki.ca).read_bytes())
    return str(folder)


@pytest.mark.parametrize("kind", (str, as_path, as_bytes))
def test_folder(mod, pki, tmp_path, kind):
    """A folder of hashed files is searched when an issuer is wanted, and loaded by and by."""
    context = client(mod)
    context.load_verify_locations(capath=kind(hashed(pki, tmp_path)))
    assert context.get_ca_certs() == []
    assert trusts(mod, context, pki)
    assert len(context.get_ca_certs()) == 1


def test_data(mod, pki):
    """PEM as text, with or without words around it, and DER as bytes are trusted."""
    pem = Path(pki.ca).read_text()
    der = [pki.ca_der, pki.other_ca_der]
    for data in (pem, "words\n" + pem + "more words\n" + pem, der[0], der[0] + der[1]):
        context = client(mod)
        context.load_verify_locations(cadata=data)
        assert trusts(mod, context, pki)
    assert len(context.get_ca_certs()) == 2


WORDS = {
    "trusted": lambda pem: as_trusted(pem),
    "heading in a line": lambda pem: "see -----BEGIN CERTIFICATE-----\n",
    "NUL": lambda pem: "\0" + pem,
    "damaged key": lambda pem: "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n",
    "damaged certificate": lambda pem: pem.replace("MII", "!!!"),
    "half": lambda pem: pem[: len(pem) // 2],
}


def as_trusted(pem: str) -> str:
    """Return a certificate with settings of trust, for openssl(1): refused for servers."""
    command = ["openssl", "x509", "-trustout", "-addreject", "serverAuth"]
    done = subprocess.run(command, input=pem, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.skipif(not ORACLE, reason="in this, there is no oracle")
@pytest.mark.parametrize("words", WORDS)
def test_other_things_in_a_text(pki, words):
    """What stands behind a certificate in a text is skipped or refused as by the stdlib."""
    pem = Path(pki.ca).read_text()
    told = []
    for mod in (sslbind, ssl):
        context = client(mod)
        load = context.load_verify_locations
        told.append((outcome(load, cadata=pem + WORDS[words](pem)), context.cert_store_stats()))
    assert told[0] == told[1]


def test_same_twice(mod, pki):
    """Loading a certificate again is no error, and adds nothing."""
    context = client(mod)
    for _ in range(3):
        context.load_verify_locations(pki.ca)
        context.load_verify_locations(cadata=pki.ca_der)
    assert context.cert_store_stats() == {"x509": 1, "crl": 0, "x509_ca": 1}


def test_statistics(pki):
    """The store is counted as by the stdlib: certificates, authorities, CRLs."""
    for name in ("ca", "crl", "ca_and_crl"):
        told = []
        for mod in (sslbind, ssl):
            context = client(mod)
            context.load_verify_locations(getattr(pki, name))
            context.load_verify_locations(cadata=pki.server.der)
            told.append((context.cert_store_stats(), context.get_ca_certs()))
        assert told[0] == told[1]


def test_contexts_are_isolated(pki):
    """What is added to one context does not show in another that was made from the same file."""
    first, second = client(sslbind), client(sslbind)
    for context in (first, second):
        context.load_verify_locations(pki.ca)
    first.load_verify_locations(pki.other_ca)
    first.load_verify_locations(pki.crl)
    first.verify_flags |= sslbind.VERIFY_CRL_CHECK_LEAF
    assert len(second.get_ca_certs()) == 1
    assert second.cert_store_stats()["crl"] == 0
    assert not trusts(sslbind, second, pki, pki.unknown)
    assert trusts(sslbind, second, pki, pki.revoked)
    assert trusts(sslbind, first, pki, pki.unknown) is False  # no CRL of that authority
    assert not trusts(sslbind, first, pki, pki.revoked)
    assert trusts(sslbind, first, pki)
    third = client(sslbind)
    third.load_verify_locations(pki.ca)
    assert third.cert_store_stats() == {"x509": 1, "crl": 0, "x509_ca": 1}


def test_a_changed_file_is_read_again(pki, tmp_path):
    """A file that has changed between two contexts is not served from memory."""
    path = tmp_path / "changing.pem"
    path.write_bytes(Path(pki.ca).read_bytes())
    first = client(sslbind)
    first.load_verify_locations(path)
    path.write_bytes(Path(pki.other_ca).read_bytes())
    second = client(sslbind)
    second.load_verify_locations(path)
    assert first.get_ca_certs(True) == [pki.ca_der]
    assert second.get_ca_certs(True) == [pki.other_ca_der]
    # Same size, same time to the second: only the nanoseconds or the inode tell.
    stamp = path.stat().st_mtime
    replacement = tmp_path / "replacement.pem"
    replacement.write_bytes(Path(pki.ca).read_bytes())
    os.utime(replacement, (stamp, stamp))
    os.replace(replacement, path)
    third = client(sslbind)
    third.load_verify_locations(path)
    assert third.get_ca_certs(True) == [pki.ca_der]
    path.unlink()
    assert outcome(client(sslbind).load_verify_locations, path).error == "FileNotFoundError"


def test_revocation(mod, pki):
    """With a CRL and the flag for it, what is revoked is refused, and nothing else."""
    context = client_context(mod, pki)
    context.load_verify_locations(pki.crl)
    assert trusts(mod, context, pki, pki.revoked)
    context.verify_flags |= mod.VERIFY_CRL_CHECK_LEAF
    assert not trusts(mod, context, pki, pki.revoked)
    assert trusts(mod, context, pki)


def test_partial_chain(mod, pki, tmp_path):
    """With the flag for it any certificate may be an anchor."""
    context = client(mod)
    context.load_verify_locations(cadata=pki.server.der)
    context.verify_flags &= ~0x80000  # VERIFY_X509_PARTIAL_CHAIN, by number for old Pythons
    assert not trusts(mod, context, pki)
    context.verify_flags |= 0x80000
    assert trusts(mod, context, pki)


def test_through_an_intermediate(mod, pki):
    """A chain that the server sends is followed to the anchor."""
    assert trusts(mod, client_context(mod, pki), pki, pki.through)


HOSTS = {
    "exact": ("server", "localhost", True),
    "upper case": ("server", "LOCALHOST", True),
    "trailing dot": ("server", "localhost.", False),
    "address 4": ("server", "127.0.0.1", True),
    "address 6": ("server", "::1", True),
    "address 6, long": ("server", "0:0:0:0:0:0:0:1", True),
    "address, other": ("server", "127.0.0.2", False),
    "substring": ("server", "local", False),
    "subdomain": ("server", "www.localhost", False),
    "wildcard": ("wildcard", "www.wild.example", True),
    "wildcard, deeper": ("wildcard", "a.b.wild.example", False),
    "wildcard, itself": ("wildcard", "wild.example", False),
    "wildcard, literally": ("wildcard", "*.wild.example", None),
    "IDNA, Unicode": ("idna", "könig.example", True),
    "IDNA, coded": ("idna", "xn--knig-5qa.example", True),
    "IDNA, other": ("idna", "kaiser.example", False),
    "common name is none": ("client", "a client", None),
}


@pytest.mark.parametrize("leaf, name, expected", HOSTS.values(), ids=list(HOSTS))
def test_host_names(pki, leaf, name, expected):
    """Names match certificates as with the stdlib."""
    told = [
        outcome(trusts, mod, client_context(mod, pki), pki, getattr(pki, leaf), name)
        for mod in (sslbind, ssl)
    ]
    allow_other_words(*told)
    assert told[0] == told[1]
    if expected is not None:
        assert told[0].value is expected


def test_unchecked(mod, pki):
    """Without check_hostname any name will do; without verification any certificate."""
    context = client_context(mod, pki)
    context.check_hostname = False
    assert trusts(mod, context, pki, pki.wrong_host)
    assert not trusts(mod, context, pki, pki.unknown)
    context.verify_mode = mod.CERT_NONE
    for leaf in (pki.unknown, pki.expired, pki.self_signed):
        assert trusts(mod, context, pki, leaf)


def test_required_is_required(pki, version):
    """CERT_REQUIRED on a server refuses a client without a certificate; CERT_OPTIONAL does not."""
    for mode, certificate, allowed in (
        ("CERT_REQUIRED", None, False),
        ("CERT_REQUIRED", "client", True),
        ("CERT_REQUIRED", "unknown", False),
        ("CERT_OPTIONAL", None, True),
        ("CERT_OPTIONAL", "client", True),
        ("CERT_OPTIONAL", "unknown", False),
        ("CERT_NONE", "unknown", True),
    ):
        server = server_context(sslbind, pki, version)
        server.load_verify_locations(pki.ca)
        server.verify_mode = sslbind.VerifyMode[mode]
        caller = client_context(ssl, pki, version)
        if certificate:
            caller.load_cert_chain(getattr(pki, certificate).both)
        left, right = memory_pair(caller, server, HOST, ssl, sslbind)
        told = outcome(shake_memory, left, right)
        assert (not told.error) == allowed, (mode, certificate)


# --- Defaults ----------------------------------------------------------------------------------


def test_default_paths(mod):
    """Where OpenSSL looks is told as by the stdlib."""
    ours, theirs = mod.get_default_verify_paths(), ssl.get_default_verify_paths()
    assert ours._fields == theirs._fields
    if mod.OPENSSL_VERSION == ssl.OPENSSL_VERSION:
        assert tuple(ours) == tuple(theirs)


def test_default_paths_from_the_environment(mod, pki, monkeypatch):
    """SSL_CERT_FILE and SSL_CERT_DIR go before what was built in."""
    monkeypatch.setenv("SSL_CERT_FILE", pki.ca)
    monkeypatch.setenv("SSL_CERT_DIR", str(pki.folder))
    paths = mod.get_default_verify_paths()
    assert (paths.cafile, paths.capath) == (pki.ca, str(pki.folder))
    context = mod.create_default_context()
    assert context.get_ca_certs(True) == [pki.ca_der]
    assert trusts(mod, context, pki)


def test_default_contexts(pki):
    """`create_default_context` gives the settings of the interpreter's own."""
    for purpose in ("SERVER_AUTH", "CLIENT_AUTH"):
        ours = sslbind.create_default_context(getattr(sslbind.Purpose, purpose), cafile=pki.ca)
        theirs = ssl.create_default_context(getattr(ssl.Purpose, purpose), cafile=pki.ca)
        for name in ("protocol", "verify_mode", "check_hostname"):
            assert getattr(ours, name) == getattr(theirs, name)
        assert ours.get_ca_certs() == theirs.get_ca_certs()
        assert ours.minimum_version >= theirs.minimum_version or theirs.minimum_version < 0
        assert ours.verify_flags == theirs.verify_flags


def test_system_anchors(pki):
    """Contexts over the system's CA file have the same anchors, and do not share additions."""
    if sslbind is ssl:
        pytest.skip("the stdlib stands in for sslbind")
    paths = sslbind.get_default_verify_paths()
    if not paths.cafile:
        pytest.skip("no system CA file")
    first = sslbind.create_default_context()
    second = sslbind.create_default_context()
    assert sorted(first.get_ca_certs(True)) == sorted(second.get_ca_certs(True))
    second.load_verify_locations(pki.ca)
    assert len(second.get_ca_certs()) == len(first.get_ca_certs()) + 1

"""What a context shows of itself: chains, keys, passwords, DH parameters, curves."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dh
from cryptography.hazmat.primitives.serialization import Encoding, ParameterFormat
from links import client_context, memory_pair, pin, server_context, shake_memory
from outcomes import outcome
from pki import HOST, PASSWORD

import sslbind

KINDS = pytest.mark.parametrize("kind", (str, Path, os.fsencode))


def server(mod):
    """Return a server's context without a certificate."""
    return mod.SSLContext(mod.PROTOCOL_TLS_SERVER)


def shown(mod, context, pki) -> bytes:
    """Return the certificate that a server of this context shows."""
    left, right = memory_pair(client_context(ssl, pki), context, HOST, ssl, mod)
    shake_memory(left, right)
    return left.obj.getpeercert(True)


@KINDS
def test_one_file(mod, pki, kind):
    """Key and chain may be in one file."""
    context = server(mod)
    context.load_cert_chain(kind(pki.server.both))
    assert shown(mod, context, pki) == pki.server.der


@KINDS
def test_two_files(mod, pki, kind):
    """Key and chain may be in two files."""
    context = server(mod)
    context.load_cert_chain(kind(pki.server.cert), keyfile=kind(pki.server.key))
    assert shown(mod, context, pki) == pki.server.der


def test_chain_is_sent(mod, pki):
    """The certificates after the first are sent along."""
    context = server(mod)
    context.load_cert_chain(pki.through.both)
    assert shown(mod, context, pki) == pki.through.der


def test_one_of_each_kind(mod, pki):
    """A server may have an EC and an RSA certificate; the client's suites decide."""
    context = pin(server(mod), mod, "TLSv1_2")
    context.load_cert_chain(pki.server.both)
    context.load_cert_chain(pki.server_rsa.both)
    for suites, expected in (("ECDHE-ECDSA", pki.server), ("ECDHE-RSA", pki.server_rsa)):
        client = client_context(ssl, pki, "TLSv1_2")
        client.set_ciphers(f"{suites}-AES128-GCM-SHA256")
        left, right = memory_pair(client, context, HOST, ssl, mod)
        shake_memory(left, right)
        assert left.obj.getpeercert(True) == expected.der


def test_replaced(mod, pki):
    """A chain that is loaded later takes the place of the first of its kind."""
    context = server(mod)
    context.load_cert_chain(pki.wrong_host.both)
    context.load_cert_chain(pki.server.both)
    assert shown(mod, context, pki) == pki.server.der


def test_failed_load_changes_nothing(pki):
    """After a load that failed the context still has what it had, or refuses; never half of it."""
    for arguments in (
        (pki.missing,),
        (pki.garbage,),
        (pki.second.cert, pki.missing),
        (pki.second.cert, pki.locked_key, "wrong"),
        (pki.second.cert, pki.server_rsa.key),
    ):
        context = server_context(sslbind, pki)
        assert outcome(context.load_cert_chain, *arguments).error
        left, right = memory_pair(client_context(ssl, pki), context, HOST, ssl, sslbind)
        told = outcome(shake_memory, left, right)
        assert told.error or left.obj.getpeercert(True) == pki.server.der, arguments


@pytest.mark.parametrize(
    "password",
    (PASSWORD, PASSWORD.encode(), bytearray(PASSWORD.encode()), lambda: PASSWORD),
    ids=("str", "bytes", "bytearray", "callable"),
)
def test_password(mod, pki, password):
    """A locked key is opened by a password in any form."""
    context = server(mod)
    context.load_cert_chain(pki.server.cert, pki.locked_key, password)
    assert shown(mod, context, pki) == pki.server.der
    context.load_cert_chain(pki.locked, password=password)


def test_password_in_an_object(mod, pki):
    """Any callable will do, a bound method as well."""

    class Vault:
        def open(self):
            return PASSWORD

        __call__ = open

    server(mod).load_cert_chain(pki.locked, password=Vault())
    server(mod).load_cert_chain(pki.locked, password=Vault().open)


# RFC 3526 section 3, group 14: the prime of 2048 bits, whose generator is 2.
PRIME = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"
    "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"
    "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05"
    "98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB"
    "9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718"
    "3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)


@pytest.fixture
def dh_file(tmp_path) -> str:
    """A file with DH parameters."""
    parameters = dh.DHParameterNumbers(PRIME, 2).parameters()
    path = tmp_path / "dh.pem"
    path.write_bytes(parameters.parameter_bytes(Encoding.PEM, ParameterFormat.PKCS3))
    return str(path)


def test_dh_parameters(mod, pki, dh_file):
    """With DH parameters a server can do ephemeral Diffie-Hellman."""
    context = server_context(mod, pki, "TLSv1_2", pki.server_rsa)
    context.load_dh_params(dh_file)
    context.set_ciphers("DHE-RSA-AES128-GCM-SHA256")
    client = client_context(ssl, pki, "TLSv1_2")
    client.set_ciphers("DHE-RSA-AES128-GCM-SHA256")
    left, right = memory_pair(client, context, HOST, ssl, mod)
    shake_memory(left, right)
    assert right.obj.cipher()[0] == "DHE-RSA-AES128-GCM-SHA256"


@pytest.mark.parametrize("curve", ("prime256v1", "secp384r1", b"prime256v1"))
def test_curve(mod, pki, version, curve):
    """A server may be held to one curve."""
    context = server_context(mod, pki, version)
    context.set_ecdh_curve(curve)
    left, right = memory_pair(client_context(ssl, pki, version), context, HOST, ssl, mod)
    shake_memory(left, right)


def test_curves_that_do_not_meet(mod, pki):
    """Ends without a common curve do not agree."""
    context = server_context(mod, pki, "TLSv1_3")
    context.set_ecdh_curve("secp384r1")
    client = client_context(mod, pki, "TLSv1_3")
    client.set_ecdh_curve("prime256v1")
    left, right = memory_pair(client, context, HOST, mod, mod)
    assert outcome(shake_memory, left, right).error == "SSLError"

"""Throw-away certificates for the tests: one authority, and leaves with every fault we know.

Nothing here speaks TLS. A `Pki` is made once per test process and only read afterwards.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "localhost"
PASSWORD = "rosebud"


@dataclass(frozen=True)
class Leaf:
    """A certificate with its key, as files (`both` holds key and chain) and as DER bytes."""

    cert: str
    key: str
    both: str
    der: bytes


def utc(year: int) -> datetime.datetime:
    """Return midnight of 1 January of `year`, as cryptography wants it: naive, meaning UTC."""
    return datetime.datetime(year, 1, 1)


def key_pem(key, password: bytes | None = None) -> bytes:
    """Return a private key as PEM, encrypted when a password is given."""
    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def self_signed(key, name: str = HOST) -> x509.Certificate:
    """Return a certificate for `name` that vouches for itself and is no authority."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(77)
        .not_valid_before(utc(2020))
        .not_valid_after(utc(2049))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


class Authority:
    """A certificate authority whose name a test chooses.

    Its certificates tell by an identifier which key signed them, but for those that are `vague`.
    """

    def __init__(self, name: str, vague: bool = False) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.vague = vague
        cert = self._certificate(self.name, self.key, True)
        self.pem = cert.public_bytes(serialization.Encoding.PEM)
        self.der = cert.public_bytes(serialization.Encoding.DER)

    def _certificate(self, subject, key, is_ca: bool) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(utc(2020))
            .not_valid_after(utc(2049) + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        )
        if not self.vague:
            own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
            signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
            builder = builder.add_extension(own, False).add_extension(signer, False)
        return builder.sign(self.key, hashes.SHA256())

    def leaf(self, folder: Path, label: str) -> Leaf:
        """Return a server's certificate of this authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
        cert = self._certificate(subject, key, False)
        both = folder / f"{label}.pem"
        both.write_bytes(key_pem(key) + cert.public_bytes(serialization.Encoding.PEM))
        return Leaf("", "", str(both), cert.public_bytes(serialization.Encoding.DER))


class Pki:
    """The files of a small public-key world below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._authority = trustme.CA()
        self._stranger = trustme.CA()
        self.ca = self._write("ca.pem", self._authority.cert_pem.bytes())
        self.other_ca = self._write("other-ca.pem", self._stranger.cert_pem.bytes())
        self.ca_der = self.der_of(self._authority.cert_pem.bytes())
        self.other_ca_der = self.der_of(self._stranger.cert_pem.bytes())

        self.server = self._issue("server", HOST, "127.0.0.1", "::1")
        self.server_rsa = self._issue("server-rsa", HOST, key_type=trustme.KeyType.RSA)
        self.second = self._issue("second", "second.example")
        self.wildcard = self._issue("wildcard", "*.wild.example")
        self.idna = self._issue("idna", "xn--knig-5qa.example")
        self.client = self._issue("client", "client@example.org", common_name="a client")
        self.expired = self._issue("expired", HOST, not_before=utc(2001), not_after=utc(2002))
        self.not_yet = self._issue("not-yet", HOST, not_before=utc(2100), not_after=utc(2101))
        self.wrong_host = self._issue("wrong-host", "elsewhere.example")
        self.revoked = self._issue("revoked", HOST)
        self.unknown = self._issue("unknown", HOST, authority=self._stranger)
        self.through = self._issue("through", HOST, authority=self._authority.create_child_ca())
        self.self_signed = self._make_self_signed()

        self.crl = self._write("crl.pem", self._revocations())
        self.ca_and_crl = self._join("ca-crl.pem", self.ca, self.crl)
        self.locked_key = self._lock("locked.key")
        self.locked = self._join("locked.pem", self.server.cert, self.locked_key)
        self.garbage = self._write("garbage.pem", b"this is no PEM at all\n" * 4)
        self.bad_base64 = self._write("bad-base64.pem", self._bad_pem())
        self.empty = self._write("empty.pem", b"")
        self.missing = str(folder / "missing.pem")

    @staticmethod
    def der_of(pem: bytes) -> bytes:
        """Return the first certificate of `pem` as DER."""
        return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)

    def sign(self, builder: x509.CertificateBuilder) -> bytes:
        """Return the DER of a certificate that the authority signs as the builder says."""
        return builder.sign(self._signer(), hashes.SHA256()).public_bytes(
            serialization.Encoding.DER
        )

    def ca_name(self) -> x509.Name:
        """Return the authority's subject."""
        return x509.load_pem_x509_certificate(self._authority.cert_pem.bytes()).subject

    def _signer(self):
        pem = self._authority.private_key_pem.bytes()
        return serialization.load_pem_private_key(pem, None)

    def _write(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def _join(self, name: str, *paths: str) -> str:
        return self._write(name, b"".join(Path(path).read_bytes() for path in paths))

    def _issue(self, label: str, *names: str, authority=None, **options) -> Leaf:
        leaf = (authority or self._authority).issue_cert(*names, **options)
        key = leaf.private_key_pem.bytes()
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        return self._store(label, key, chain)

    def _store(self, label: str, key: bytes, chain: bytes) -> Leaf:
        return Leaf(
            cert=self._write(f"{label}.crt", chain),
            key=self._write(f"{label}.key", key),
            both=self._write(f"{label}.pem", key + chain),
            der=self.der_of(chain),
        )

    def _make_self_signed(self) -> Leaf:
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self_signed(key).public_bytes(serialization.Encoding.PEM)
        return self._store("self-signed", key_pem(key), cert)

    def _revocations(self) -> bytes:
        revoked = x509.load_der_x509_certificate(self.revoked.der)
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(revoked.serial_number)
            .revocation_date(utc(2021))
            .build()
        )
        crl = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.ca_name())
            .last_update(utc(2021))
            .next_update(utc(2049))
            .add_revoked_certificate(entry)
            .sign(self._signer(), hashes.SHA256())
        )
        return crl.public_bytes(serialization.Encoding.PEM)

    def _lock(self, name: str) -> str:
        key = serialization.load_pem_private_key(Path(self.server.key).read_bytes(), None)
        return self._write(name, key_pem(key, PASSWORD.encode()))

    def _bad_pem(self) -> bytes:
        body = b"@@@ not base64 @@@\n"
        return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"

"""Random authorities, chains and flags: both modules accept the same servers, by the same chain.

As in `test_differential.py`. The contexts of a test share what is remembered from one to the next:
sets of anchors, and chains whose signatures were verified before.
"""

from __future__ import annotations

import random
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from links import memory_pair, new_context, shake_memory
from outcomes import ORACLE, outcome
from pki import HOST, key_pem, utc

import sslbind

pytestmark = pytest.mark.skipif(
    not ORACLE or ssl.OPENSSL_VERSION != sslbind.OPENSSL_VERSION, reason="no oracle"
)

WORLDS = 3  # a test's
SERVERS = 12  # a world's
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
STRICT, CRL_LEAF, CRL_CHAIN, TRUSTED_FIRST, PARTIAL_CHAIN = 0x20, 0x4, 0xC, 0x8000, 0x80000
NAMES = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in "ABCa"]
NAMES.append(x509.Name([]))
HOSTS = ([HOST],) * 4 + (["*.example.org"], ["other"])


class World:
    """Authorities that sign each other, leaves of theirs, and lists of what is revoked."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(4)]
        self.owners = [(rng.choice(NAMES), rng.choice(keys)) for _ in range(5)]
        self.authorities = [
            self.certificate(*owner, *rng.choice((owner, owner, rng.choice(self.owners))), True)
            for owner in self.owners * 2
        ]
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.leaves = [
            self.certificate(
                rng.choice(NAMES + NAMES[-1:] * 5), self.key, *rng.choice(self.owners), False
            )
            for _ in range(5)
        ]
        self.crls = [self.crl(*owner) for owner in self.owners[:3]]

    def rarely(self, chance: float = 0.1) -> bool:
        return self.rng.random() < chance

    def certificate(self, name, key, issuer, issuer_key, is_ca: bool) -> x509.Certificate:
        rng = self.rng
        begin, end = rng.choice(((2020, 2049),) * 12 + ((2020, 2021), (2048, 2049)))
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(rng.randrange(1, 1 << 60))
            .not_valid_before(utc(begin))
            .not_valid_after(utc(end))
        )
        if is_ca and not self.rarely():
            length = rng.choice((None, None, 0, 1))
            builder = builder.add_extension(x509.BasicConstraints(True, length), True)
        if not is_ca and not self.rarely():
            names = [x509.DNSName(host) for host in rng.choice(HOSTS)]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), self.rarely(0.5))
        if is_ca and self.rarely():
            permitted = [x509.DNSName(rng.choice((HOST, "example.org")))]
            builder = builder.add_extension(x509.NameConstraints(permitted, None), True)
        if not is_ca and self.rarely():
            usages = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
            builder = builder.add_extension(x509.ExtendedKeyUsage([rng.choice(usages)]), False)
        if not self.rarely(0.4):
            own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
            builder = builder.add_extension(own, False)
        if not self.rarely(0.4):
            signer = rng.choice(self.owners)[1] if self.rarely() else issuer_key
            other = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
            builder = builder.add_extension(other, False)
        return builder.sign(issuer_key, hashes.SHA256())

    def crl(self, name, key) -> x509.CertificateRevocationList:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(name)
            .last_update(utc(2020))
            .next_update(utc(2021 if self.rarely() else 2049))
        )
        for cert in self.rng.sample(self.leaves + self.authorities, 3):
            revoked = x509.RevokedCertificateBuilder().serial_number(cert.serial_number)
            builder = builder.add_revoked_certificate(revoked.revocation_date(utc(2021)).build())
        return builder.sign(key, hashes.SHA256())

    def some(self, items: list, least: int = 0) -> list:
        return self.rng.sample(items, self.rng.randint(least, len(items)))

    def loads(self, path):
        """Return what trusts some of the authorities, in one way or another, for any context."""
        trusted = self.some(self.authorities, 1) + self.rng.choice(([], [], self.leaves[:1]))
        way = self.rng.choice(("file", "file", "text", "bytes"))
        if way == "file":
            every = trusted + self.some(self.crls)
            self.rng.shuffle(every)
            path.write_bytes(b"".join(item.public_bytes(PEM) for item in every))
            return lambda context: context.load_verify_locations(str(path))
        data = [cert.public_bytes(DER if way == "bytes" else PEM) for cert in trusted]
        cadata = b"".join(data) if way == "bytes" else b"".join(data).decode()
        return lambda context: context.load_verify_locations(cadata=cadata)

    def flags(self) -> int:
        flags = 0 if self.rarely() else TRUSTED_FIRST
        for flag in (STRICT, CRL_LEAF, CRL_CHAIN, PARTIAL_CHAIN):
            flags |= flag if self.rarely(0.15) else 0
        return flags


def met(mod, loads, flags: int, looks: bool, server, host: str) -> list:
    """Return what a client of `mod` says of a server, twice."""
    client = new_context(mod, "PROTOCOL_TLS_CLIENT")
    for load in loads:
        load(client)
    client.verify_flags = flags
    said: list = [sorted(client.get_ca_certs(True))] if looks else []
    for _ in range(2):
        left, right = memory_pair(client, server, host, mod, ssl)
        said.append(outcome(shake_memory, left, right)._replace(value=None))
        chain = getattr(left.obj, "get_verified_chain", left.obj._sslobj.get_verified_chain)
        if not said[-1].error:
            certs = chain() or ()
            said.append([cert if type(cert) is bytes else cert.public_bytes(2) for cert in certs])
    return [*said, {*client.get_ca_certs(True)}]


@pytest.mark.parametrize("block", range(8))
def test_random_chains(block, tmp_path):
    """Whoever is trusted, and whatever is sent, both modules accept it, or neither."""
    for seed in range(block * WORLDS, (block + 1) * WORLDS):
        rng = random.Random(seed)
        world = World(rng)
        for n in range(SERVERS):
            leaf, sent = rng.choice(world.leaves), world.some(world.authorities)
            path = tmp_path / f"{seed}-{n}.pem"
            path.write_bytes(
                b"".join(cert.public_bytes(PEM) for cert in [leaf, *sent]) + key_pem(world.key)
            )
            server = new_context(ssl, "PROTOCOL_TLS_SERVER")
            server.load_cert_chain(str(path))
            loads = [
                world.loads(tmp_path / f"{seed}-{n}-{i}.pem") for i in range(rng.choice((1, 1, 2)))
            ]
            flags, looks = world.flags(), world.rarely(0.3)
            host = rng.choice((HOST,) * 5 + ("a.example.org",))
            theirs, ours = (met(mod, loads, flags, looks, server, host) for mod in (ssl, sslbind))
            assert ours == theirs, f"seed {seed}, server {n}"

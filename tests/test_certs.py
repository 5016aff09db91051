"""Certificates as Python sees them: dicts, PEM, DER, times. The stdlib's decoder is the oracle."""

from __future__ import annotations

import importlib
import ipaddress
import locale
import random
import ssl
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from links import client_context, memory_pair, server_context, shake_memory
from outcomes import ORACLE, PYPY, outcome
from pki import HOST, Leaf, key_pem, utc

import sslbind
from sslbind._conn import _SSLSocket

KEY = ec.generate_private_key(ec.SECP256R1())


def attribute(oid, value, kind=None):
    """Return one part of a name, in the ASN.1 string type `kind`."""
    return x509.NameAttribute(oid, value, kind) if kind else x509.NameAttribute(oid, value)


def odd_names() -> x509.Name:
    """Return a name with many types of text, and several parts in one place."""
    rdn = x509.RelativeDistinguishedName
    return x509.Name(
        [
            rdn([attribute(NameOID.COUNTRY_NAME, "DE")]),
            rdn([attribute(NameOID.ORGANIZATION_NAME, "Köln & Söhne")]),
            rdn([attribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "BMP ☃", _ASN1Type.BMPString)]),
            rdn(
                [
                    attribute(NameOID.COMMON_NAME, "two in one"),
                    attribute(NameOID.USER_ID, "me"),
                ]
            ),
            rdn([attribute(NameOID.EMAIL_ADDRESS, "a@b.example")]),
            rdn([attribute(x509.ObjectIdentifier("1.2.3.4.5.6.7.8.9.10.11.12"), "odd type")]),
            rdn([attribute(NameOID.TITLE, "printable", _ASN1Type.PrintableString)]),
            rdn([attribute(NameOID.PSEUDONYM, 'quotes " + , = \\ / \n newline')]),
        ]
    )


LONG_OID = "1.3.6.1.4.1." + ".".join(str(2**20 + n) for n in range(14))

NAMES = {
    "hosts": [x509.DNSName("a.example"), x509.DNSName("*.b.example")],
    "NUL in host": [x509.DNSName("good.example\0.evil.example")],
    "newline in host": [x509.DNSName("good.example\n DNS:evil.example")],
    "comma in host": [x509.DNSName("good.example, DNS:evil.example")],
    "empty host": [x509.DNSName("")],
    "long host": [x509.DNSName("x" * 3000)],
    "address 4": [x509.IPAddress(ipaddress.ip_address("192.0.2.1"))],
    "address 6": [x509.IPAddress(ipaddress.ip_address("2001:db8::ff:0:1"))],
    "address 6 zeros": [x509.IPAddress(ipaddress.ip_address("::"))],
    "mail": [x509.RFC822Name("user@example.org")],
    "URI": [x509.UniformResourceIdentifier("https://example.org/a?b=c,d")],
    "NUL in URI": [x509.UniformResourceIdentifier("https://example.org\0/x")],
    "registered": [x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4.5"))],
    "registered, known": [x509.RegisteredID(x509.ObjectIdentifier("2.5.4.3"))],
    "registered, long": [x509.RegisteredID(x509.ObjectIdentifier(LONG_OID))],
    "folder": [x509.DirectoryName(odd_names())],
    "other": [x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x02hi")],
    "all": [
        x509.DNSName("a.example"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
        x509.RFC822Name("user@example.org"),
        x509.DirectoryName(odd_names()),
        x509.DNSName("b.example"),
    ],
    "many": [x509.DNSName(f"host{n}.example") for n in range(500)],
}


def builder(serial=5, since=2020, until=2049, subject=None) -> x509.CertificateBuilder:
    """Return a certificate to which a test adds something odd."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject or x509.Name([attribute(NameOID.COMMON_NAME, HOST)]))
        .issuer_name(odd_names())
        .public_key(KEY.public_key())
        .serial_number(serial)
        .not_valid_before(utc(since))
        .not_valid_after(utc(until))
    )


def points(*names) -> x509.CRLDistributionPoints:
    """Return distribution points, one a name."""
    return x509.CRLDistributionPoints(
        [x509.DistributionPoint([name], None, None, None) for name in names]
    )


def access(*pairs) -> x509.AuthorityInformationAccess:
    """Return access descriptions."""
    return x509.AuthorityInformationAccess(
        [x509.AccessDescription(method, name) for method, name in pairs]
    )


def raw_host(name: bytes) -> x509.UnrecognizedExtension:
    """Return alternative names of one DNS name that is not the ASCII it must be."""
    inner = bytes([0x82, len(name)]) + name
    names = bytes([0x30, len(inner)]) + inner
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), names)


URI = x509.UniformResourceIdentifier
OCSP = x509.oid.AuthorityInformationAccessOID.OCSP
ISSUERS = x509.oid.AuthorityInformationAccessOID.CA_ISSUERS

CORPUS = {
    f"names: {label}": builder().add_extension(x509.SubjectAlternativeName(names), False)
    for label, names in NAMES.items()
}
CORPUS.update(
    {
        "plain": builder(),
        "empty subject": builder(subject=x509.Name([])),
        "odd subject": builder(subject=odd_names()),
        "serial 1": builder(serial=1),
        "serial with high bit": builder(serial=0x80),
        "serial of 20 bytes": builder(serial=2**158 + 12345),
        "from 1950": builder(since=1950),
        "from 1999 to 2050": builder(since=1999, until=2050),
        "to 9999": builder(until=9999),
        "CRL points": builder().add_extension(
            points(URI("http://a.example/1.crl"), URI("ldap:///x?y")), False
        ),
        "CRL point of another kind": builder().add_extension(
            points(x509.DNSName("a.example"), URI("http://b.example")), False
        ),
        "OCSP": builder().add_extension(access((OCSP, URI("http://ocsp.example"))), False),
        "issuers": builder().add_extension(access((ISSUERS, URI("http://ca.example"))), False),
        "OCSP and issuers": builder().add_extension(
            access(
                (OCSP, URI("http://ocsp.example")),
                (ISSUERS, URI("http://ca.example")),
                (OCSP, URI("http://ocsp2.example")),
                (OCSP, x509.DNSName("no.uri")),
            ),
            False,
        ),
        "unknown extension": builder().add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False
        ),
        "broken names": builder().add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x30\x05abc"), False
        ),
        "no names": builder().add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x30\x00"), False
        ),
        "UTF-8 host": builder().add_extension(raw_host("höst".encode()), False),
        "Latin-1 host": builder().add_extension(raw_host("höst".encode("latin-1")), False),
        "surrogate host": builder().add_extension(raw_host(b"a\xed\xa0\x80b"), False),
        "overlong host": builder().add_extension(raw_host(b"a\xc0\x80b"), False),
        "key usage": builder().add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), True
        ),
    }
)


@pytest.fixture(scope="module")
def corpus() -> dict[str, bytes]:
    """The corpus as DER."""
    return {
        label: one.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
        for label, one in CORPUS.items()
    }


def decode(mod, path):
    """Decode a certificate file by the module's own decoder."""
    name = "_ssl" if mod is ssl else "sslbind._ssl"
    return importlib.import_module(name)._test_decode_cert(path)


def written(tmp_path, der: bytes) -> str:
    """Write a certificate as PEM; return the path."""
    path = tmp_path / "cert.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(der))
    return str(path)


# PyPy's own decoder differs in these from CPython's, which is what we follow.
PYPY_DIFFERS = (
    "names: other",
    "names: registered, long",
    "broken names",
    "no names",
    "to 9999",
)


@pytest.mark.parametrize("label", CORPUS)
def test_decoded_as_by_the_stdlib(label, corpus, tmp_path):
    """Every odd certificate gives the stdlib's dict, or its error."""
    if PYPY and label in PYPY_DIFFERS:
        pytest.skip("PyPy's own decoder differs from CPython's here")
    path = written(tmp_path, corpus[label])
    assert outcome(decode, sslbind, path) == outcome(decode, ssl, path)


def element(tag: int, content: bytes) -> bytes:
    """Return an element in DER (X.690 8.1.3, 10.1)."""
    size = len(content)
    long = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, size] if size < 0x80 else [tag, 0x80 | len(long), *long]) + content


def swapped(der: bytes, old: bytes, new: bytes) -> bytes:
    """Return DER with each element `old` replaced, and the lengths of those around it put right."""
    done = b""
    while der:
        tag, size, start = der[0], der[1], 2
        if size >= 0x80:
            start += size & 0x7F
            size = int.from_bytes(der[2:start], "big")
        whole, content, der = der[: start + size], der[start : start + size], der[start + size :]
        if whole == old:
            whole = new
        elif tag & 0x20:  # constructed
            whole = element(tag, swapped(content, old, new))
        done += whole
    return done


INTEGER, UTC_TIME, GENERALIZED_TIME = 0x02, 0x17, 0x18
SINCE, SERIAL = element(UTC_TIME, b"200101000000Z"), element(INTEGER, b"\5")
ODD = {
    **{
        text: (SINCE, element(UTC_TIME if len(text) < 15 else GENERALIZED_TIME, text.encode()))
        for text in (
            *("500101000000Z", "491231235959Z", "000229010203Z", "010229010203Z"),
            *("201301000000Z", "200132000000Z", "200101240000Z", "200101000060Z", "2001010000Z"),
            *("200101000000z", "20010100000Z0", "200101000000+0100", "20010 000000Z"),
            *("00010101000000Z", "09991231235959Z", "10000101000000Z", "20201301000000Z"),
            *("20200101000000.5Z", "20200101000000.123456789Z", "20200101000000+0100"),
            *("20200101000000", "202001010000Z", "2020010100Z", "20200230000000Z"),
        )
    },
    **{
        f"serial of {len(number)} bytes, {number[0]:02x}": (SERIAL, element(INTEGER, number))
        for number in (
            *(b"\0", b"\x80", b"\xff", b"\0\x80", b"\x81" + bytes(19)),
            *(b"\x7f" * 34, b"\x7f" * 35, b"\0\5"),
        )
    },
}


@pytest.mark.skipif(not ORACLE, reason="this interpreter's own ssl is no oracle")
@pytest.mark.parametrize("label", ODD)
def test_odd_numbers(label, corpus, tmp_path):
    """Times and serial numbers as RFC 5280 does not allow them are told as by the stdlib."""
    der = swapped(corpus["plain"], *ODD[label])
    assert der != corpus["plain"]
    path = written(tmp_path, der)
    assert outcome(decode, sslbind, path) == outcome(decode, ssl, path)


@pytest.mark.parametrize("size", (36, 80, 3000))
def test_serial_number_is_whole(size, corpus, tmp_path):
    """However long it is; the stdlib cuts it at 35 bytes."""
    der = swapped(corpus["plain"], SERIAL, element(INTEGER, b"\x7f" * size))
    assert decode(sslbind, written(tmp_path, der))["serialNumber"] == "7F" * size


def test_bit_string_in_a_name(corpus, tmp_path):
    """A unique identifier is bytes, as in the stdlib as of Python 3.10."""
    old = element(0x06, b"\x55\4\3") + element(0x0C, HOST.encode())
    new = element(0x06, b"\x55\4\x2d") + element(0x03, b"\0\1\xff\x80")
    der = swapped(corpus["plain"], element(0x30, old), element(0x30, new))
    subject = decode(sslbind, written(tmp_path, der))["subject"]
    assert subject == ((("x500UniqueIdentifier", b"\1\xff\x80"),),)


def test_each_dict_is_the_callers_own(mod, pki):
    """What a program does to the dict of a certificate is not in the next one."""
    left, right = memory_pair(
        client_context(mod, pki), server_context(mod, pki), client_mod=mod, server_mod=mod
    )
    shake_memory(left, right)
    first = left.obj.getpeercert()
    told = dict(first)
    first["subject"] = first["extra"] = ()
    second = left.obj.getpeercert()
    second.clear()
    assert left.obj.getpeercert() == told and told["subject"]


def test_nul_does_not_end_a_name(corpus, tmp_path):
    """A NUL inside a name is kept (CVE-2013-4238)."""
    seen = decode(sslbind, written(tmp_path, corpus["names: NUL in host"]))
    assert seen["subjectAltName"] == (("DNS", "good.example\0.evil.example"),)


@pytest.mark.skipif(not ORACLE, reason="this interpreter's own ssl is no oracle")
@pytest.mark.parametrize("path", ("missing", "garbage", "empty", "folder"))
def test_decode_refuses(pki, path):
    """Files that hold no certificate are refused as by the stdlib."""
    name = str(pki.folder) if path == "folder" else getattr(pki, path)
    assert outcome(decode, sslbind, name) == outcome(decode, ssl, name)


def peer_certificate(mod, pki, mode="CERT_REQUIRED", leaf=None, **how):
    """Return `getpeercert(**how)` after a handshake with a given verification mode."""
    client = client_context(mod, pki)
    client.check_hostname = False
    client.verify_mode = mod.VerifyMode[mode]
    if leaf is not None:
        client.load_verify_locations(leaf.both)
    left, right = memory_pair(client, server_context(ssl, pki, leaf=leaf), client_mod=mod)
    shake_memory(left, right)
    return left.obj.getpeercert(**how)


@pytest.mark.parametrize("mode", ("CERT_REQUIRED", "CERT_NONE"))
@pytest.mark.parametrize("binary", (True, False))
def test_getpeercert_that_cannot_be_read(pki, tmp_path, mode, binary):
    """A name that is no UTF-8 is an error each time, but only for whoever asks for the names."""
    odd = builder(subject=odd_names()).add_extension(raw_host("höst".encode("latin-1")), False)
    cert = odd.sign(KEY, hashes.SHA256())
    both = tmp_path / "odd.pem"
    both.write_bytes(key_pem(KEY) + cert.public_bytes(serialization.Encoding.PEM))
    leaf = Leaf("", "", str(both), cert.public_bytes(serialization.Encoding.DER))
    seen = [
        outcome(peer_certificate, mod, pki, mode, leaf, binary_form=binary)
        for mod in (sslbind, sslbind, ssl)
    ]
    assert seen[0] == seen[1]
    if ORACLE:
        assert seen[0] == seen[2]
    if mode == "CERT_REQUIRED" and not binary:
        assert seen[0].error == "UnicodeError"
    else:
        assert seen[0].value == (leaf.der if binary else {})


def test_getpeercert_while_the_handshake_ends(pki, monkeypatch):
    """None is for a peer that sent none, not for one whose handshake another thread completes."""
    client, server = client_context(sslbind, pki), server_context(sslbind, pki)
    left, right = memory_pair(client, server, client_mod=sslbind, server_mod=sslbind)
    for end in (left, right):
        with pytest.raises(ssl.SSLWantReadError):
            end.obj.do_handshake()
        end.flush()
    ask = _SSLSocket._peer_cert

    def ask_too_early(conn, known):
        found = ask(conn, known)
        if found is None:
            left.obj.do_handshake()
        return found

    monkeypatch.setattr(_SSLSocket, "_peer_cert", ask_too_early)
    assert left.obj.getpeercert(True) == pki.server.der


@pytest.mark.parametrize("mode", ("CERT_REQUIRED", "CERT_NONE"))
@pytest.mark.parametrize("binary", (True, False, 1, None))
def test_getpeercert(pki, mode, binary):
    """The peer's certificate as dict (empty if unverified) or DER is the stdlib's."""
    seen = [peer_certificate(mod, pki, mode, binary_form=binary) for mod in (sslbind, ssl)]
    assert seen[0] == seen[1]
    if binary:
        assert seen[0] == pki.server.der
    elif mode == "CERT_NONE":
        assert seen[0] == {}


def test_peer_without_certificate(mod, pki):
    """A server whose client shows no certificate gets None."""
    left, right = memory_pair(client_context(mod, pki), server_context(mod, pki), HOST, mod, mod)
    with pytest.raises(ValueError, match="handshake not done"):
        right.obj.getpeercert()
    shake_memory(left, right)
    assert right.obj.getpeercert() is None
    assert right.obj.getpeercert(True) is None


def test_chains(pki, mod):
    """The chain as sent, and as verified up to the anchor, leaf first, as DER (3.13)."""
    if mod is ssl and (sys.version_info < (3, 13) or PYPY):
        pytest.skip("this Python's ssl has no public chains")
    client, server = client_context(mod, pki), server_context(mod, pki, leaf=pki.through)
    left, right = memory_pair(client, server, HOST, mod, mod)
    shake_memory(left, right)
    sent, verified = left.obj.get_unverified_chain(), left.obj.get_verified_chain()
    assert sent[0] == verified[0] == pki.through.der
    assert len(sent) == 2
    assert verified[-1] == pki.ca_der
    assert verified[:2] == sent
    assert right.obj.get_unverified_chain() == []


def test_back_end_certificates(pki, backend):
    """The back's Certificate objects give PEM, DER and the dict."""
    if not hasattr(backend, "Certificate"):
        pytest.skip("CPython has them from 3.10 on")
    mod = ssl if backend.__name__ == "_ssl" else sslbind
    left, right = memory_pair(client_context(mod, pki), server_context(mod, pki), HOST, mod, mod)
    shake_memory(left, right)
    cert = left.obj._sslobj.get_unverified_chain()[0]
    assert cert.public_bytes(backend.ENCODING_DER) == pki.server.der
    assert cert.public_bytes(backend.ENCODING_PEM) == ssl.DER_cert_to_PEM_cert(pki.server.der)
    assert cert.public_bytes() == cert.public_bytes(backend.ENCODING_PEM)
    assert cert.get_info() == left.obj.getpeercert()
    same = left.obj._sslobj.get_unverified_chain()[0]
    assert cert == same
    assert hash(cert) == hash(same)
    with pytest.raises((ValueError, TypeError)):
        cert.public_bytes(99)


# --- PEM, DER and times ------------------------------------------------------------------------


def test_pem_and_back(mod, pki):
    """DER to PEM and back is the identity; lines have 64 characters."""
    pem = mod.DER_cert_to_PEM_cert(pki.ca_der)
    assert mod.PEM_cert_to_DER_cert(pem) == pki.ca_der
    lines = pem.splitlines()
    assert (lines[0], lines[-1]) == (mod.PEM_HEADER, mod.PEM_FOOTER)
    assert {len(line) for line in lines[1:-2]} == {64}
    assert pem.endswith("\n")


TIMES = (
    "Jan  5 09:34:43 2018 GMT",
    "May  9 00:00:00 2007 GMT",
    "Dec 31 23:59:59 1969 GMT",
    "Jan  1 00:00:00 1970 GMT",
    "Feb 29 12:00:00 2024 GMT",
    "Feb 29 12:00:00 2023 GMT",
    "Jan 01 00:00:59 2000 GMT",
    "Jan  1 00:00:60 2000 GMT",
    "Jan  1 00:00:61 2000 GMT",
    "Jan  1 00:60:00 2000 GMT",
    "Jan 32 00:00:00 2000 GMT",
    "JAN  5 09:34:43 2018 GMT",
    "Jan 5 09:34:43 2018 GMT",
    "Jan  5 9:34:43 2018 GMT",
    " Jan  5 09:34:43 2018 GMT",
    "Jan  5 09:34:43 2018 GMT ",
    "Jan  5 09:34 2018 GMT",
    "Jan  5 09:34:43 18 GMT",
    "Dec 31 23:59:59 9999 GMT",
    "Jan  1 00:00:00 1600 GMT",
    "",
)


@pytest.mark.parametrize("text", TIMES)
def test_times(text):
    """A certificate's time becomes the stdlib's seconds since 1970, or its error."""
    told = outcome(sslbind.cert_time_to_seconds, text)
    assert told == outcome(ssl.cert_time_to_seconds, text)


def test_times_know_no_locale():
    """Month names are English whatever the locale is."""
    for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "C"):
        try:
            before = locale.setlocale(locale.LC_ALL)
            locale.setlocale(locale.LC_ALL, name)
        except locale.Error:
            continue
        try:
            assert sslbind.cert_time_to_seconds("May  9 00:00:00 2007 GMT") == 1178668800
        finally:
            locale.setlocale(locale.LC_ALL, before)


# --- Damaged certificates ----------------------------------------------------------------------


def damaged(der: bytes, dice: random.Random) -> bytes:
    """Return a certificate with a few bytes changed, cut, or doubled."""
    broken = bytearray(der)
    for _ in range(dice.randrange(1, 4)):
        place = dice.randrange(len(broken))
        how = dice.randrange(4)
        if how == 0:
            broken[place] = dice.randrange(256)
        elif how == 1:
            broken[place] ^= 1 << dice.randrange(8)
        elif how == 2:
            del broken[place : place + dice.randrange(1, 5)]
        else:
            broken[place:place] = dice.randbytes(dice.randrange(1, 5))
    return bytes(broken)


def loaded(mod, der: bytes):
    """Return what loading DER as a trust anchor did, and the store's contents after it."""
    context = mod.SSLContext(mod.PROTOCOL_TLS_CLIENT)
    # The stdlib leaves errors in OpenSSL's queue, where its next call finds them; this clears it.
    outcome(context.set_ciphers, "no such suite")
    told = outcome(context.load_verify_locations, cadata=der)
    return told, outcome(context.get_ca_certs), context.get_ca_certs(True)


@pytest.mark.skipif(PYPY, reason="PyPy's own parser stops elsewhere in damaged data")
@pytest.mark.parametrize("seed", range(4))
def test_damaged_certificates(seed, corpus):
    """Damaged certificates are taken, refused and shown as by the stdlib; nothing crashes."""
    dice = random.Random(seed)
    for _ in range(150):
        der = damaged(corpus[dice.choice(list(corpus))], dice)
        ours, theirs = loaded(sslbind, der), loaded(ssl, der)
        if "HEADER_TOO_LONG" in ours[0].text and not theirs[0].error:
            ours = theirs[0], *ours[1:]  # behind a certificate the stdlib takes this for the end
        assert ours == theirs, der.hex()

"""SSLObject: TLS between two memory BIOs."""

from __future__ import annotations

import random
import ssl
import sys
from types import SimpleNamespace

import pytest
from links import (
    client_context,
    memory_pair,
    server_context,
    shake_memory,
    shaken_pair,
)
from outcomes import PYPY
from pki import HOST

import sslbind

# The program may hand the stdlib's BIOs to our context (asyncio, trio and anyio do).
BIOS = pytest.mark.parametrize("bio", (sslbind.MemoryBIO, ssl.MemoryBIO), ids=("ours", "stdlib"))


def test_conversation(pair, mod, version):
    """Both ends talk, and part."""
    left, right = pair(mod, version)
    for sender in (left, right):
        assert sender.obj.write(b"hello") == 5
        sender.flush()
        assert sender.other.obj.read(100) == b"hello"
        with pytest.raises(mod.SSLWantReadError):
            sender.other.obj.read(100)
    with pytest.raises(mod.SSLWantReadError):
        left.obj.unwrap()
    left.flush()
    right.obj.unwrap()
    right.flush()
    left.obj.unwrap()


def pair_over(bio, pki, version):
    """Return a pair of ours over buffers of a class, after its handshake."""
    kind = SimpleNamespace(MemoryBIO=bio)
    contexts = client_context(sslbind, pki, version), server_context(sslbind, pki, version)
    left, right = memory_pair(*contexts, client_mod=kind, server_mod=kind)
    shake_memory(left, right)
    return left, right


@BIOS
def test_either_kind_of_bio(pki, version, bio):
    """Our objects work over our BIOs and over the stdlib's."""
    left, right = pair_over(bio, pki, version)
    data = bytes(range(256)) * 400
    sent = 0
    while sent < len(data):
        sent += left.obj.write(data[sent:])
    left.flush()
    got = b""
    while len(got) < len(data):
        got += right.obj.read(262144)
    assert got == data
    left.hang_up()
    with pytest.raises(ssl.SSLEOFError):
        right.obj.read(1)


@BIOS
def test_one_read_of_several_records(pki, version, bio):
    """A read takes all the records that are there, whatever kind of buffer they are in."""
    left, right = pair_over(bio, pki, version)
    for word in (b"one ", b"two ", b"three"):
        left.obj.write(word)
    left.flush()
    assert right.obj.read(100) == b"one two three"


@BIOS
def test_pending_promises_a_read(pki, version, bio):
    """While `pending()` is not 0 a read succeeds: a part of a record is not counted."""
    left, right = pair_over(bio, pki, version)

    def read_all() -> bytes:
        try:
            got = right.obj.read(1)
        except ssl.SSLWantReadError:
            return b""
        while right.obj.pending():
            got += right.obj.read(right.obj.pending())
        return got

    for cut in range(80):  # three records have more
        for word in (b"one", b"two", b"three"):
            left.obj.write(word)
        records = left.outgoing.read()
        right.incoming.write(records[:cut])
        got = read_all()
        right.incoming.write(records[cut:])
        while len(got) < len(b"onetwothree"):
            got += read_all()
        assert got == b"onetwothree"


@BIOS
def test_pending_of_the_dead_is_nothing(pki, version, bio):
    """What came behind a fatal alert cannot be read."""
    left, right = pair_over(bio, pki, version)
    left.obj.write(b"one")
    broken = bytearray(left.outgoing.read())
    broken[-1] ^= 1
    left.obj.write(b"two")
    right.incoming.write(bytes(broken) + left.outgoing.read())
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC|RECORD_LAYER_FAILURE"):
        right.obj.read(1)
    assert right.obj.pending() == 0


@BIOS
def test_mixed_bios(pki, version, bio):
    """The two BIOs of one object may be of different kinds."""
    other = ssl.MemoryBIO if bio is sslbind.MemoryBIO else sslbind.MemoryBIO
    incoming, outgoing = bio(), other()
    obj = client_context(sslbind, pki, version).wrap_bio(incoming, outgoing, server_hostname=HOST)
    with pytest.raises(ssl.SSLWantReadError):
        obj.do_handshake()
    assert outgoing.pending > 100


@pytest.mark.skipif(not PYPY, reason="PyPy's MemoryBIO")
@pytest.mark.parametrize("is_shared", (True, False))
def test_pypys_bios_are_shared(pki, is_shared):
    """C uses what PyPy's own MemoryBIO is made of, but not one of a class derived from it."""
    bio = ssl.MemoryBIO if is_shared else type("OtherBIO", (ssl.MemoryBIO,), {})
    obj = client_context(sslbind, pki).wrap_bio(bio(), bio(), server_hostname=HOST)
    assert (obj._sslobj._pump is None) is is_shared


@pytest.mark.skipif(not PYPY, reason="PyPy's MemoryBIO")
def test_bios_of_another_openssl_are_pumped(pki, monkeypatch):
    """What PyPy has an OpenSSL of its own for is not ours to touch."""
    ffi = sys.modules["_cffi_ssl._stdssl"].ffi
    lib = SimpleNamespace(BIO_s_mem=lambda: ffi.NULL)
    # Or it has none of its own any more: see docs/pypy.md.
    for other in (SimpleNamespace(MemoryBIO=ssl.MemoryBIO, lib=lib), SimpleNamespace()):
        monkeypatch.setitem(sys.modules, "_cffi_ssl._stdssl", other)
        left, right = memory_pair(client_context(sslbind, pki), server_context(sslbind, pki))
        assert left.obj._sslobj._pump is not None
        shake_memory(left, right)


def test_positional_arguments(pki, mod):
    """All five arguments of `wrap_bio` may be given by position, the name as bytes."""
    context = client_context(mod, pki)
    obj = context.wrap_bio(mod.MemoryBIO(), mod.MemoryBIO(), False, b"localhost", None)
    assert obj.server_hostname == "localhost"
    assert obj.server_side is False
    assert obj.context is context
    assert isinstance(obj, mod.SSLObject)


def test_read_into(pair, mod, version):
    """`read(n, buffer)` fills the buffer and returns a count."""
    left, right = pair(mod, version)
    left.obj.write(b"0123456789")
    left.flush()
    buffer = bytearray(b"." * 8)
    assert right.obj.read(3, buffer) == 3
    assert buffer == b"012....."
    assert right.obj.pending() == 7
    assert right.obj.read(100, memoryview(buffer)[1:5]) == 4
    assert buffer == b"03456..."
    assert right.obj.read(0, buffer) == 3
    assert buffer == b"78956..."


def test_default_read_size(pair, mod):
    """Without a size, 1024 bytes at most are read."""
    left, right = pair(mod)
    left.obj.write(b"x" * 3000)
    left.flush()
    assert right.obj.read() == b"x" * 1024


def test_large_read_takes_all_records(pair, version):
    """A large read drains all the complete records that are there."""
    if sslbind.SSLObject is ssl.SSLObject:
        pytest.skip("the stdlib stands in for sslbind, and reads one record a call")
    left, right = pair(sslbind, version)
    for letter in b"abcdefgh":
        left.obj.write(bytes([letter]) * 1000)
    left.flush()
    buffer = bytearray(100000)
    count = right.obj.read(len(buffer), buffer)
    assert count == 8000
    assert buffer[:count] == b"".join(bytes([letter]) * 1000 for letter in b"abcdefgh")


def drain(obj, size: int) -> bytes:
    """Read until the object wants more."""
    got = b""
    while True:
        try:
            got += obj.read(size)
        except ssl.SSLWantReadError:
            return got


@pytest.mark.parametrize("size", (1, 100, 262144))
def test_every_split(pair, mod, version, size):
    """Two records cut at any byte are delivered when they are complete, and not before."""
    left, right = pair(mod, version)
    split, total = 0, 1
    while split <= total:
        left.obj.write(b"first")
        first = left.outgoing.read()
        left.obj.write(b"second")
        stream = first + left.outgoing.read()
        total = len(stream)
        complete = b"" if split < len(first) else b"first" if split < total else b"firstsecond"
        right.incoming.write(stream[:split])
        assert drain(right.obj, size) == complete, split
        right.incoming.write(stream[split:])
        assert complete + drain(right.obj, size) == b"firstsecond", split
        assert right.obj.pending() == 0
        split += 1


def test_large_reads_however_full(pair, mod, version):
    """A read gets its bytes whether the one before was full, all but empty, or had nothing."""
    left, right = pair(mod, version)
    numbers = random.Random(4)
    for size in (262144, 262144, 262144, 10, 262144, 600000, 70000, 0, 1, 200000):
        data = numbers.randbytes(size)
        left.obj.write(data)
        left.flush()
        got = b"" if data else drain(right.obj, 262144)
        while len(got) < size:
            got += right.obj.read(262144)
        assert got == data, size


def test_rest_after_goodbye_stays_in_the_bio(pair, mod, version):
    """What follows close_notify in the incoming BIO is left there."""
    left, right = pair(mod, version)
    left.obj.write(b"data")
    with pytest.raises(mod.SSLWantReadError):
        left.obj.unwrap()
    left.flush()
    right.incoming.write(b"plain text")
    assert right.obj.read(262144) == b"data"
    assert right.obj.read(262144) == b""
    assert right.incoming.read() == b"plain text"


def test_arguments_that_contradict_each_other(pki):
    """No name to check, or one for a server, is refused; older releases of the stdlib take it."""
    buffers = sslbind.MemoryBIO(), sslbind.MemoryBIO()
    client, server = client_context(sslbind, pki), server_context(sslbind, pki)
    session = shaken_pair(sslbind, pki, "TLSv1_2")[0].obj.session
    for context, given in (
        (client, {}),
        (client, {"server_hostname": ""}),
        (server, {"server_side": True, "server_hostname": HOST}),
        (server, {"server_side": True, "session": session}),
    ):
        with pytest.raises(ValueError, match="server_hostname|client mode"):
            context.wrap_bio(*buffers, **given)
    client.check_hostname = False
    client.wrap_bio(*buffers)


def test_ends(pair, mod, version):
    """close_notify reads as the end, again and again; without one the BIO's end is an error."""
    left, right = pair(mod, version)
    with pytest.raises(mod.SSLWantReadError):
        left.obj.unwrap()
    left.flush()
    assert [right.obj.read(1), right.obj.read(1)] == [b"", b""]
    left, right = pair(mod, version)
    left.hang_up()
    with pytest.raises(mod.SSLEOFError):
        right.obj.read(1)


def test_what_is_known(pair, mod, version):
    """After the handshake the object tells what was agreed."""
    left, right = pair(mod, version)
    for end in (left, right):
        assert end.obj.version() == version.replace("_", ".")
        name, protocol, bits = end.obj.cipher()
        assert (protocol, bits in (128, 256)) == (version.replace("_", "."), True)
        assert name.replace("-", "").isupper() or "_" in name
        assert end.obj.compression() is None
        assert end.obj.selected_alpn_protocol() is None
    assert left.obj.cipher() == right.obj.cipher()
    assert left.obj.shared_ciphers() is None
    assert left.obj.cipher()[0] in [suite[0] for suite in right.obj.shared_ciphers()]
    assert left.obj.getpeercert()["subjectAltName"][0] == ("DNS", HOST)
    assert right.obj.getpeercert() is None


def test_shared_ciphers_are_in_the_servers_order(mod, pki):
    """What both ends offered is listed as the server prefers it."""
    version, names = "TLSv1_2", ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"]
    client, server = client_context(mod, pki, version), server_context(mod, pki, version)
    client.set_ciphers(":".join(names))
    for order in (names, names[::-1]):
        server.set_ciphers(":".join([*order, "ECDHE-ECDSA-AES128-GCM-SHA256"]))
        _, right = shaken_pair(mod, pki, version, client, server)
        assert [name for name, *_ in right.obj.shared_ciphers()] == order


def test_channel_binding_agrees(pki):
    """`tls-unique` is the same at both ends, and for both modules (RFC 5929 section 3)."""
    mixes = [(sslbind, sslbind)]
    if not PYPY:  # PyPy's own ssl returns the other party's Finished message
        mixes += [(sslbind, ssl), (ssl, sslbind)]
    for client_mod, server_mod in mixes:
        left, right = memory_pair(
            client_context(client_mod, pki, "TLSv1_2"),
            server_context(server_mod, pki, "TLSv1_2"),
            client_mod=client_mod,
            server_mod=server_mod,
        )
        shake_memory(left, right)
        binding = left.obj.get_channel_binding("tls-unique")
        assert len(binding) == 12
        assert right.obj.get_channel_binding() == binding


def test_both_modules_talk(pki, version):
    """An sslbind client talks to a stdlib server, and the reverse."""
    for client_mod, server_mod in ((sslbind, ssl), (ssl, sslbind)):
        left, right = memory_pair(
            client_context(client_mod, pki, version),
            server_context(server_mod, pki, version),
            client_mod=client_mod,
            server_mod=server_mod,
        )
        shake_memory(left, right)
        left.obj.write(b"ping")
        left.flush()
        assert right.obj.read(10) == b"ping"


def test_own_classes(pki, mod):
    """`sslobject_class` chooses the class of what `wrap_bio` makes."""

    class Mine(mod.SSLObject):
        pass

    context = client_context(mod, pki)
    context.sslobject_class = Mine
    obj = context.wrap_bio(mod.MemoryBIO(), mod.MemoryBIO(), server_hostname=HOST)
    assert type(obj) is Mine


@pytest.mark.parametrize("name", ("session", "version", "pending", "shutdown", "do_handshake"))
def test_never_connected(name):
    """An object that was made past its class has no connection, and says so."""
    context = sslbind.SSLContext(sslbind.PROTOCOL_TLS_SERVER)
    real = context.wrap_bio(sslbind.MemoryBIO(), sslbind.MemoryBIO(), server_side=True)
    hollow = object.__new__(type(real._sslobj))
    with pytest.raises((AttributeError, ValueError)):
        getattr(hollow, name)()


def test_post_handshake_authentication(pki, mod):
    """A TLS 1.3 server may ask for the client's certificate later (RFC 8446 section 4.6.2)."""
    client, server = client_context(mod, pki, "TLSv1_3"), server_context(mod, pki, "TLSv1_3")
    client.load_cert_chain(pki.client.both)
    client.post_handshake_auth = True
    server.post_handshake_auth = True
    server.verify_mode = mod.CERT_REQUIRED
    server.load_verify_locations(pki.ca)
    left, right = shaken_pair(mod, pki, client=client, server=server)
    assert right.obj.getpeercert() == {} or right.obj.getpeercert() is None
    right.obj.verify_client_post_handshake()
    right.obj.write(b"ask")
    right.flush()
    assert left.obj.read(10) == b"ask"
    left.obj.write(b"told")
    left.flush()
    assert right.obj.read(10) == b"told"
    assert right.obj.getpeercert(True) == pki.client.der

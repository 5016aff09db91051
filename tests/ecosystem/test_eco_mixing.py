"""What passes between the two modules: enums, constants, classes, exceptions, memory BIOs.

Not one library but what all of them rely on, in a process whose `ssl` is the stdlib's.
"""

from __future__ import annotations

import ssl

import pytest

import sslbind

MODULES = {"sslbind": sslbind, "ssl": ssl}
EACH_WAY = pytest.mark.parametrize("own, other", (("sslbind", "ssl"), ("ssl", "sslbind")))


@EACH_WAY
def test_enums_and_constants(own, other):
    """A context of one module takes the members and constants of the other."""
    own, other = MODULES[own], MODULES[other]
    context = own.SSLContext(other.PROTOCOL_TLS_CLIENT)
    context.minimum_version = other.TLSVersion.TLSv1_2
    context.maximum_version = other.TLSVersion.TLSv1_3
    assert context.minimum_version == other.TLSVersion.TLSv1_2
    assert context.maximum_version == own.TLSVersion.TLSv1_3
    context.options |= other.OP_NO_TICKET | other.Options.OP_SINGLE_DH_USE
    assert context.options & own.OP_NO_TICKET
    context.verify_flags |= other.VerifyFlags.VERIFY_X509_STRICT
    assert context.verify_flags & own.VERIFY_X509_STRICT
    context.check_hostname = False
    context.verify_mode = other.CERT_OPTIONAL
    assert context.verify_mode == own.CERT_OPTIONAL == other.VerifyMode.CERT_OPTIONAL
    context.verify_mode = other.VerifyMode.CERT_REQUIRED
    assert context.protocol == other.PROTOCOL_TLS_CLIENT


@EACH_WAY
def test_members_compare_equal(own, other):
    """Members of one module equal those of the other, and find them in dicts and sets."""
    own, other = MODULES[own], MODULES[other]
    for enum in ("TLSVersion", "VerifyMode", "VerifyFlags", "Options", "AlertDescription"):
        for member in getattr(own, enum):
            namesake = getattr(getattr(other, enum), member.name, None)
            if namesake is not None:
                assert member == namesake and hash(member) == hash(namesake)


@EACH_WAY
def test_purposes(own, other):
    """Purposes of one module are taken by the other."""
    own, other = MODULES[own], MODULES[other]
    assert own.create_default_context(other.Purpose.SERVER_AUTH).check_hostname
    assert not own.create_default_context(other.Purpose.CLIENT_AUTH).check_hostname
    own.SSLContext(own.PROTOCOL_TLS_SERVER).load_default_certs(other.Purpose.CLIENT_AUTH)


def test_guards():
    """Contexts and sockets pass the guards that libraries set up."""
    assert isinstance(sslbind.create_default_context(), ssl.SSLContext)
    assert issubclass(sslbind.SSLSocket, ssl.SSLSocket)


def test_exceptions_are_the_same():
    """What either module catches, the other raises."""
    names = [name for name in dir(ssl) if name.endswith("Error") and name.startswith("SSL")]
    assert len(names) > 5
    for name in [*names, "CertificateError"]:
        assert getattr(sslbind, name) is getattr(ssl, name)


def handshake(client, server):
    """Let two ends, each with its BIOs, shake hands; the BIOs are (object, in, out)."""
    ends = [client, server]
    done = [False, False]
    while not all(done):
        for index, (conn, _, outgoing) in enumerate(ends):
            try:
                conn.do_handshake()
                done[index] = True
            except ssl.SSLWantReadError:
                pass
            ends[1 - index][1].write(outgoing.read())


@pytest.mark.parametrize("buffers", MODULES)
def test_memory_bios(pki, buffers):
    """Objects of ours over BIOs of either module; what is left to be read shows in a `pending`.

    uvloop reads on while the incoming BIO's or the object's is not 0, and then waits for more
    from the network: two records that arrive together, the second a close_notify, are one case.
    """
    trusting = sslbind.create_default_context(cafile=pki.ca)
    serving = sslbind.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pki.server.both)
    bios = [MODULES[buffers].MemoryBIO() for _ in range(4)]
    client = trusting.wrap_bio(bios[0], bios[1], server_hostname="localhost")
    server = serving.wrap_bio(bios[2], bios[3], server_side=True)
    handshake((client, bios[0], bios[1]), (server, bios[2], bios[3]))
    for word in (b"one", b"two", b"three"):
        server.write(word)
    with pytest.raises(ssl.SSLWantReadError):
        server.unwrap()
    bios[0].write(bios[3].read())
    got = []
    while bios[0].pending or client.pending():
        got.append(client.read(3))
        assert len(got) < 10
    assert got == [b"one", b"two", b"thr", b"ee", b""]

"""What the documentation of Python 2.7.13 has and 3.12 no longer: sockets without contexts, host
names against certificates, the table of versions, randomness from a daemon.

The interpreter's own ssl is asked first where it still has the function (up to 3.11).
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import socket
import ssl
import sys
import warnings

import pytest
from links import DEADLINE, Peer, raw_pair
from outcomes import ORACLE, PYPY, outcome
from pki import HOST
from scripts import run_script

import sslbind

MODULES = [sslbind]
if hasattr(ssl, "match_hostname") and not PYPY:
    MODULES.append(ssl)


@pytest.fixture(params=MODULES, ids=lambda module: module.__name__)
def old(request):
    """A module that has the old functions; their warnings are another test's business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield request.param


# --- Host names -------------------------------------------------------------------------------


def cert(*alt_names, cn=None):
    """Return a certificate as getpeercert() would."""
    found = {"subject": ((("commonName", cn),),) if cn else ()}
    if alt_names:
        found["subjectAltName"] = alt_names
    return found


def dns(name):
    return ("DNS", name)


def ip(address):
    return ("IP Address", address)


WILD = cert(dns("*.example.com"))
MIXED = cert(ip("2001:DB8:0:0:0:0:0:1\n"), ip("10.11.12.13"), dns("example.com"))

MATCHES = [
    (cert(dns("example.com")), "EXAMPLE.com"),
    (WILD, "a.example.com"),
    (cert(dns("*.xn--a.example")), "b.xn--a.example"),
    (cert(dns("xn--pthon-kva.python.org")), "xn--pthon-kva.python.org"),
    (cert(dns("www.pythön.org")), "www.pythön.org"),
    (cert(cn="example.com"), "example.com"),
    (cert(cn="*.example.com"), "www.example.com"),
    (cert(("URI", "http://elsewhere.example"), cn="example.com"), "example.com"),
    ({"subject": ((("commonName", "a"), ("commonName", "example.com")),)}, "example.com"),
    (MIXED, "10.11.12.13"),
    (MIXED, "2001:db8::1"),
    (MIXED, "example.com"),
]
REFUSALS = [
    (WILD, "example.com", "hostname 'example.com' doesn't match '*.example.com'"),
    (WILD, "a.b.example.com", "hostname 'a.b.example.com' doesn't match '*.example.com'"),
    (WILD, ".example.com", "hostname '.example.com' doesn't match '*.example.com'"),
    (
        cert(dns("a.example"), dns("b.example")),
        "c.example",
        "hostname 'c.example' doesn't match either of 'a.example', 'b.example'",
    ),
    # The subject's name counts only if there is no other.
    (cert(dns("a.example"), cn="c.example"), "c.example", "hostname 'c.example' doesn't match 'a."),
    (cert(ip("1.2.3.4"), cn="c.example"), "c.example", "hostname 'c.example' doesn't match '1.2.3"),
    # An address is compared with addresses, a name with names.
    (cert(dns("1.2.3.4")), "1.2.3.4", "hostname '1.2.3.4' doesn't match '1.2.3.4'"),
    (MIXED, "10.11.12.14", "hostname '10.11.12.14' doesn't match either of '2001:DB8:0:"),
    (MIXED, "2001:db8::2", "hostname '2001:db8::2' doesn't match either of "),
    (
        cert(),
        "example.com",
        "no appropriate commonName or subjectAltName fields were found",
    ),
    (cert(dns("f*.com")), "foo.com", "partial wildcards in leftmost label are not supported: 'f*."),
    (cert(dns("xn--*.com")), "xn--b.com", "partial wildcards in leftmost label are not supported"),
    (cert(dns("*")), "localhost", "sole wildcard without additional labels are not support: '*'."),
    (cert(dns("*.*.com")), "a.b.com", "too many wildcards in certificate DNS name: '*.*.com'."),
    (cert(dns("a.*.com")), "a.b.com", "wildcard can only be present in the leftmost label: 'a.*."),
]


@pytest.mark.parametrize(("certificate", "name"), MATCHES)
def test_host_name_matches(old, certificate, name):
    """Any name of the certificate, an address or a whole-label wildcard of it, is enough."""
    assert old.match_hostname(certificate, name) is None


@pytest.mark.parametrize(("certificate", "name", "text"), REFUSALS)
def test_host_name_is_refused(old, certificate, name, text):
    """A mismatch is a CertificateError, whose text names both sides."""
    with pytest.raises(old.CertificateError) as caught:
        old.match_hostname(certificate, name)
    assert str(caught.value.args[0]).startswith(text)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("nothing", [None, {}])
def test_no_certificate_is_no_match(old, nothing):
    """An unverified peer has an empty certificate, which is no match for anything."""
    with pytest.raises(ValueError, match="empty or no certificate") as caught:
        old.match_hostname(nothing, "example.com")
    assert not isinstance(caught.value, old.CertificateError)


@pytest.mark.skipif(ssl not in MODULES, reason="this Python's ssl has no match_hostname")
def test_every_name_against_every_certificate():
    """Each certificate and host name of the tables above, all combined: as the stdlib says."""
    certificates = [case[0] for case in MATCHES + REFUSALS]
    names = {case[1] for case in MATCHES + REFUSALS}
    names |= {"", ".", "127.1", "::1", "fe80::1%lo", "1.2.3.4 ", "example.com.", "com"}
    for certificate, name in itertools.product(certificates, sorted(names)):
        told = [outcome(m.match_hostname, certificate, name) for m in (sslbind, ssl)]
        assert told[0] == told[1], (certificate, name)


@pytest.mark.parametrize(
    ("leaf", "name", "good"),
    [
        ("server", HOST, True),
        ("server", "127.0.0.1", True),
        ("server", "::1", True),
        ("server", "127.0.0.2", False),
        ("wildcard", "any.wild.example", True),
        ("wildcard", "wild.example", False),
        ("idna", "xn--knig-5qa.example", True),
        ("wrong_host", HOST, False),
    ],
)
def test_host_names_of_real_certificates(old, pki, leaf, name, good):
    """What getpeercert() gives is what match_hostname() takes."""
    with accepted(pki, getattr(pki, leaf)) as address:
        sock = old.wrap_socket(socket.socket(), cert_reqs=old.CERT_REQUIRED, ca_certs=pki.ca)
        with sock:
            sock.settimeout(DEADLINE)
            sock.connect(address)
            told = outcome(old.match_hostname, sock.getpeercert(), name)
    assert (told.error == "") is good


# --- wrap_socket ------------------------------------------------------------------------------


@contextlib.contextmanager
def accepted(pki, leaf=None, talk=None, **settings):
    """Serve one TLS connection of the stdlib's in a thread; yield the address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain((leaf or pki.server).both)
    for name, value in settings.items():
        setattr(context, name, value)
    if context.verify_mode != ssl.CERT_NONE:
        context.load_verify_locations(pki.ca)

    def serve():
        plain, _ = listener.accept()
        plain.settimeout(DEADLINE)
        with plain, contextlib.suppress(ssl.SSLError, ConnectionError):
            with context.wrap_socket(plain, server_side=True) as sock:
                if talk:
                    return talk(sock)
                sock.recv(1)
        return None

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        with Peer(serve):
            yield listener.getsockname()


def test_wrapped_before_connect(old, pki):
    """Nothing happens before connect(): there is no TLS object, and no byte is sent."""
    with accepted(pki, talk=lambda sock: sock.sendall(b"hello")) as address:
        sock = old.wrap_socket(socket.socket(), None, None, False, old.CERT_REQUIRED, 2, pki.ca)
        with sock:
            sock.settimeout(DEADLINE)
            assert isinstance(sock, old.SSLSocket)
            assert sock._sslobj is None
            assert (sock.cipher(), sock.version(), sock.session) == (None, None, None)
            with pytest.raises(OSError):
                sock.do_handshake()
            sock.connect(address)
            assert sock._sslobj is not None
            assert sock.recv(5) == b"hello"
            assert sock.getpeercert()["subjectAltName"]


def test_wrapped_after_connect(old, pki):
    """A connected socket is taken over, and the handshake is done."""
    with accepted(pki, talk=lambda sock: sock.sendall(b"hello")) as address:
        plain = socket.create_connection(address, DEADLINE)
        with old.wrap_socket(plain, ca_certs=pki.ca, cert_reqs=old.CERT_OPTIONAL) as sock:
            assert plain.fileno() == -1
            assert sock.recv(5) == b"hello"


def test_handshake_is_left_to_the_caller(old, pki):
    """With do_handshake_on_connect=False nobody else shakes hands."""
    with accepted(pki, talk=lambda sock: sock.sendall(b"hello")) as address:
        plain = socket.create_connection(address, DEADLINE)
        with old.wrap_socket(plain, do_handshake_on_connect=False) as sock:
            assert sock.cipher() is None
            sock.do_handshake()
            assert sock.cipher() is not None
            assert sock.recv(5) == b"hello"


def test_listening_socket(old, pki):
    """A listening socket wraps what accept() returns, with its own settings."""
    listener = old.wrap_socket(
        socket.create_server(("127.0.0.1", 0)),
        keyfile=pki.server.key,
        certfile=pki.server.cert,
        server_side=True,
        cert_reqs=old.CERT_REQUIRED,
        ca_certs=pki.ca,
        suppress_ragged_eofs=False,
    )

    def visit():
        context = ssl.create_default_context(cafile=pki.ca)
        context.load_cert_chain(pki.client.both)
        plain = socket.create_connection(listener.getsockname(), DEADLINE)
        with context.wrap_socket(plain, server_hostname=HOST) as sock:
            sock.sendall(b"hello")
            sock.recv(1)

    with listener:
        listener.settimeout(DEADLINE)
        assert listener._sslobj is None
        with Peer(visit):
            sock, _ = listener.accept()
            with sock:
                assert isinstance(sock, old.SSLSocket)
                assert sock.server_side
                assert sock.suppress_ragged_eofs is False
                assert sock.context is listener.context
                sock.settimeout(DEADLINE)
                assert sock.recv(5) == b"hello"
                subject = sock.getpeercert()["subjectAltName"]
                assert subject == (("email", "client@example.org"),)


@pytest.mark.parametrize("ragged", [True, False])
def test_ragged_end(old, pki, ragged):
    """An end without close_notify reads as the end, or raises where that was asked for."""
    left, right = raw_pair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server.both)
    theirs = context.wrap_socket(right, server_side=True, do_handshake_on_connect=False)
    with theirs, left:
        with Peer(theirs.do_handshake):
            sock = old.wrap_socket(left, suppress_ragged_eofs=ragged)
        with sock:
            sock.context.options &= ~0x80
            theirs.sendall(b"?")
            assert sock.recv(1) == b"?"
            socket.socket.shutdown(theirs, socket.SHUT_RDWR)
            if ragged or sys.version_info < (3, 10):
                # 3.9 tells OpenSSL to take it for a proper end, whatever its sockets were told.
                assert sock.recv(1) == b""
            else:
                with pytest.raises(old.SSLEOFError):
                    sock.recv(1)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"server_side": True}, "certfile must be specified for server-side operations"),
        ({"keyfile": "a"}, "certfile must be specified"),
        ({"cert_reqs": 7}, None),
        ({"ssl_version": 99}, None),
        ({"certfile": "/nowhere/at/all.pem"}, None),
        ({"ca_certs": "/nowhere/at/all.pem"}, None),
        ({"ciphers": "no-such-cipher"}, None),
    ],
)
def test_nonsense_is_refused_at_once(old, arguments, text):
    """Arguments are looked at when the socket is wrapped; the plain socket stays as it was."""
    with socket.socket() as plain:
        told = outcome(old.wrap_socket, plain, **arguments)
        assert told.error
        assert text is None or (told.error, told.text) == ("ValueError", text)
        assert plain.fileno() >= 0
        if ssl in MODULES and old is sslbind and ORACLE:
            assert told == outcome(ssl.wrap_socket, plain, **arguments)


def test_only_streams(old):
    """A datagram socket is not wrapped."""
    with socket.socket(type=socket.SOCK_DGRAM) as plain:
        with pytest.raises(NotImplementedError, match="only stream sockets are supported"):
            old.wrap_socket(plain)


def test_ciphers_and_version(old, pki):
    """`ciphers` and `ssl_version` are those of the connection."""
    with accepted(pki, pki.server_rsa) as address:
        sock = old.wrap_socket(
            socket.create_connection(address, DEADLINE),
            ciphers="ECDHE-RSA-AES256-GCM-SHA384",
            ssl_version=old.PROTOCOL_TLSv1_2,
        )
        with sock:
            assert sock.version() == "TLSv1.2"
            assert sock.cipher()[0] == "ECDHE-RSA-AES256-GCM-SHA384"
            assert sock.context.protocol == old.PROTOCOL_TLSv1_2


def test_cert_reqs(old, pki):
    """CERT_NONE accepts any certificate, the others only what `ca_certs` vouches for."""
    for mode in (old.CERT_OPTIONAL, old.CERT_REQUIRED):
        with accepted(pki, pki.unknown) as address:
            plain = socket.create_connection(address, DEADLINE)
            with pytest.raises(old.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
                old.wrap_socket(plain, cert_reqs=mode, ca_certs=pki.ca)
    with accepted(pki, pki.unknown) as address:
        with old.wrap_socket(socket.create_connection(address, DEADLINE)) as sock:
            assert sock.getpeercert() == {}
            assert sock.getpeercert(True) == pki.unknown.der


def test_constructor_of_27(pki):
    """2.7's SSLSocket is made by calling it, and shows what it was called with."""
    with accepted(pki, talk=lambda sock: sock.sendall(b"hello")) as address:
        sock = sslbind.SSLSocket(
            socket.socket(),
            pki.client.key,
            pki.client.cert,
            cert_reqs=sslbind.CERT_REQUIRED,
            ca_certs=pki.ca,
            npn_protocols=None,
            server_hostname=HOST,
        )
        with sock:
            sock.settimeout(DEADLINE)
            sock.connect(address)
            assert sock.recv(5) == b"hello"
            assert (sock.keyfile, sock.certfile) == (pki.client.key, pki.client.cert)
            assert (sock.cert_reqs, sock.ca_certs) == (sslbind.CERT_REQUIRED, pki.ca)
            assert (sock.ssl_version, sock.ciphers) == (sslbind.PROTOCOL_SSLv23, None)
            assert sock.server_hostname == HOST


def test_simple_wrapping(pki):
    """`sslwrap_simple` gives the bare connection, with read() and write()."""

    def echo(sock):
        sock.sendall(sock.recv(5))
        sock.recv(1)

    with accepted(pki, talk=echo) as address:
        with socket.create_connection(address, DEADLINE) as plain:
            conn = sslbind.sslwrap_simple(plain, pki.client.key, pki.client.cert)
            assert conn.write(b"hello") == 5
            assert conn.read(5) == b"hello"
            assert conn.cipher()


# --- Warnings ---------------------------------------------------------------------------------


OLD_CALLS = {
    "wrap_socket": lambda m: m.wrap_socket(socket.socket()).close(),
    "match_hostname": lambda m: m.match_hostname(MIXED, "example.com"),
    "RAND_pseudo_bytes": lambda m: m.RAND_pseudo_bytes(4),
    "SSLContext": lambda m: m.SSLContext(),
    "SSLContext(2)": lambda m: m.SSLContext(2),
    "PROTOCOL_TLSv1": lambda m: m.SSLContext(m.PROTOCOL_TLSv1),
    "OP_NO_TLSv1": lambda m: setattr(m.SSLContext(16), "options", m.OP_NO_TLSv1),
    "minimum_version": lambda m: setattr(m.SSLContext(16), "minimum_version", m.TLSVersion.TLSv1),
    "set_npn_protocols": lambda m: m.SSLContext(16).set_npn_protocols(["a"]),
}


def warned(module, call):
    """Return what a call warns of: texts, classes, and whether this file is named."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with contextlib.suppress(NotImplementedError, AttributeError):  # the stdlib has no NPN
            call(module)
    told = [(str(w.message), w.category, w.filename == __file__) for w in caught]
    return [entry for entry in told if entry[1] is not ResourceWarning]


@pytest.mark.skipif(PYPY, reason="PyPy's ssl has deprecations of its own")
@pytest.mark.parametrize("name", OLD_CALLS)
def test_warnings(name):
    """Deprecated calls warn as this Python's own ssl does, at the caller's line."""
    if not hasattr(ssl, name) and hasattr(sslbind, name) and sys.version_info >= (3, 12):
        pytest.skip(f"this Python's ssl has no {name}")
    told = warned(sslbind, OLD_CALLS[name])
    assert told == warned(ssl, OLD_CALLS[name])
    assert bool(told) == (sys.version_info >= (3, 10))


# --- Which versions connect -------------------------------------------------------------------


# The table of the documentation, "Socket creation": the only pairs that connect are equal ones,
# and those of which one is PROTOCOL_SSLv23.
METHODS = ("PROTOCOL_SSLv23", "PROTOCOL_TLSv1", "PROTOCOL_TLSv1_1", "PROTOCOL_TLSv1_2")


def lenient(mod, name, pki=None):
    """Return a context of a PROTOCOL_*, for which no version is too old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = mod.SSLContext(getattr(mod, name))
        context.set_ciphers("ALL:@SECLEVEL=0")
        if name == "PROTOCOL_SSLv23":
            context.minimum_version = mod.TLSVersion.TLSv1
    if pki is not None:
        context.load_cert_chain(pki.server.both)
    return context


@pytest.mark.parametrize("server", METHODS)
@pytest.mark.parametrize("client", METHODS)
def test_version_table(mod, pki, client, server):
    """Client and server agree on a version exactly where the documentation says so."""
    left, right = raw_pair()
    theirs = lenient(mod, server, pki).wrap_socket(
        right, server_side=True, do_handshake_on_connect=False
    )
    fits = client == server or "PROTOCOL_SSLv23" in (client, server)
    with left, theirs:
        told = []
        with Peer(lambda: told.append(outcome(theirs.do_handshake))):
            own = outcome(lenient(mod, client).wrap_socket, left)
        if fits:
            assert (own.error, told[0].error) == ("", "")
            fixed = {client, server} - {"PROTOCOL_SSLv23"}
            version = fixed.pop()[9:].replace("_", ".") if fixed else "TLSv1.3"
            assert own.value.version() == theirs.version() == version
            own.value.close()
        else:
            assert own.error and told[0].error


# --- Randomness -------------------------------------------------------------------------------


class Daemon:
    """An entropy-gathering daemon on a Unix socket: answers "read, do not block" (0x01 n)."""

    def __init__(self, path, answers):
        self.path, self.answers, self.asked = str(path), list(answers), []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.listener.settimeout(DEADLINE)
        self.peer = Peer(self.serve)

    def serve(self):
        sock, _ = self.listener.accept()
        sock.settimeout(DEADLINE)
        with sock:
            while self.answers:
                request = sock.recv(2)
                if not request:
                    return
                self.asked.append(tuple(request))
                sock.sendall(self.answers.pop(0))

    def __enter__(self):
        self.peer.__enter__()
        return self

    def __exit__(self, *exc):
        self.peer.__exit__(*exc)
        self.listener.close()


@pytest.fixture
def fed(monkeypatch):
    """What reaches OpenSSL's generator."""
    seen = []
    add = sslbind._ssl.RAND_add
    monkeypatch.setattr(sslbind._ssl, "RAND_add", lambda *a: (seen.append(a), add(*a))[0])
    return seen


def full(size):
    return bytes([size]) + bytes(i % 251 for i in range(size))


def test_egd(fed, tmp_path):
    """256 bytes are read, 255 at most at a time, and fed to the generator as good randomness."""
    with Daemon(tmp_path / "egd", [full(255), full(1)]) as daemon:
        assert sslbind.RAND_egd(daemon.path) == 256
    assert daemon.asked == [(1, 255), (1, 1)]
    assert fed == [(full(255)[1:] + full(1)[1:], 256.0)]


def test_egd_has_little(fed, tmp_path):
    """A daemon that has less gives less; that is the number returned."""
    with Daemon(tmp_path / "egd", [full(20), full(3), b"\0"]) as daemon:
        assert sslbind.RAND_egd(daemon.path.encode()) == 23
    assert daemon.asked == [(1, 255), (1, 236), (1, 233)]
    assert [len(data) for data, _ in fed] == [23]


@pytest.mark.parametrize("answers", [[b"\0"], [b"\x05ab"], []], ids=["nothing", "cut", "hangs up"])
def test_egd_fails(fed, tmp_path, answers):
    """A daemon that gives nothing, or stops in between, is an SSLError with 2.7's text."""
    with Daemon(tmp_path / "egd", answers) as daemon:
        with pytest.raises(sslbind.SSLError, match="EGD connection failed or EGD did not return"):
            sslbind.RAND_egd(daemon.path)
    assert not fed


def test_egd_is_not_there(tmp_path):
    """So is a path without a daemon; what is no path is a TypeError."""
    with pytest.raises(sslbind.SSLError, match="EGD connection failed"):
        sslbind.RAND_egd(tmp_path / "nowhere")
    with pytest.raises(TypeError):
        sslbind.RAND_egd(7)


def test_pseudo_bytes(old):
    """The bytes, and that they are fit for keys."""
    data, strong = old.RAND_pseudo_bytes(24)
    assert (len(data), strong) == (24, True)
    assert old.RAND_pseudo_bytes(24)[0] != data
    with pytest.raises(ValueError, match="num must be positive"):
        old.RAND_pseudo_bytes(-1)


# --- The rest ---------------------------------------------------------------------------------


def test_server_certificate(mod, pki):
    """`get_server_certificate` with a version and trust of the caller's, by place or by name."""
    with accepted(pki) as address:
        pem = mod.get_server_certificate(address, mod.PROTOCOL_TLSv1_2, pki.ca)
    assert mod.PEM_cert_to_DER_cert(pem) == pki.server.der
    with accepted(pki, maximum_version=ssl.TLSVersion.TLSv1_2) as address:
        pem = mod.get_server_certificate(addr=address, ssl_version=mod.PROTOCOL_TLS, ca_certs=None)
    assert mod.PEM_cert_to_DER_cert(pem) == pki.server.der
    with accepted(pki, maximum_version=ssl.TLSVersion.TLSv1_2) as address:
        with pytest.raises(mod.SSLCertVerificationError):
            mod.get_server_certificate(address, ca_certs=pki.other_ca)


def test_server_certificate_in_time(mod):
    """A server that says nothing is given up after `timeout` seconds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises(socket.timeout):
            mod.get_server_certificate(listener.getsockname(), timeout=0.05)


def test_https_verification_can_be_turned_off(monkeypatch):
    """`_https_verify_certificates` decides what https clients make when given no context."""
    monkeypatch.setattr(http.client, "ssl", sslbind)
    made = []
    try:
        for enable in (False, True):
            sslbind._https_verify_certificates(enable)
            made.append(sslbind._create_default_https_context())
            made.append(http.client.HTTPSConnection(HOST)._context)
        sslbind._https_verify_certificates(False)
        sslbind._https_verify_certificates()
        made.append(sslbind._create_default_https_context())
    finally:
        sslbind._create_default_https_context = sslbind.create_default_context
    modes = [(context.verify_mode, context.check_hostname) for context in made]
    off, on = (sslbind.CERT_NONE, False), (sslbind.CERT_REQUIRED, True)
    assert modes == [off, off, on, on, on]


def test_no_windows_stores_elsewhere():
    """Only Windows has certificate stores; elsewhere the functions are missing, as in stdlib."""
    for name in ("enum_certificates", "enum_crls"):
        assert hasattr(sslbind, name) == (sys.platform == "win32")
        assert hasattr(sslbind, name) == hasattr(ssl, name)


def test_windows_stores(pki):
    """On Windows the interpreter's own functions serve, and default trust comes from them."""
    run_script(
        """
        import sys
        import _ssl, ssl, subprocess, socket, asyncio
        der, other = (open(path, "rb").read() for path in sys.argv[1:])
        der, other = (ssl.PEM_cert_to_DER_cert(pem.decode()) for pem in (der, other))
        _ssl.enum_certificates = lambda store: {
            "CA": [(der, "x509_asn", {"1.3.6.1.5.5.7.3.1"}), (other, "pkcs_7_asn", True)],
            "ROOT": [(other, "x509_asn", {"1.3.6.1.5.5.7.3.2"}), (b"junk", "x509_asn", True)],
        }[store]
        _ssl.enum_crls = lambda store: [(b"crl", "x509_asn")]
        sys.platform = "win32"
        import warnings
        import sslbind
        assert sslbind.enum_certificates("CA")[0][0] == der
        assert sslbind.enum_crls("CA") == [(b"crl", "x509_asn")]
        context = sslbind.SSLContext(sslbind.PROTOCOL_TLS_CLIENT)
        context.set_default_verify_paths = lambda: None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            context.load_default_certs()
        assert context.get_ca_certs(True) == [der]
        assert ["Bad certificate in Windows" in str(w.message) for w in caught] == [True]
        context.load_default_certs(sslbind.Purpose.CLIENT_AUTH)
        assert len(context.get_ca_certs()) == 2
        """,
        pki.ca,
        pki.other_ca,
    )

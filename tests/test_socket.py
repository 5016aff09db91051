"""SSLSocket is a socket: connect, accept, timeouts, closing, and what is known of a connection."""

from __future__ import annotations

import errno
import io
import pickle
import select
import socket
import ssl

import pytest
from links import DEADLINE, Peer, client_context, raw_pair, readable, server_context
from outcomes import outcome
from pki import HOST

import sslbind


@pytest.fixture
def served(pki, version):
    """The address of a stdlib server that answers one connection after another by an echo."""
    context = server_context(ssl, pki, version)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(DEADLINE)

    def serve():
        while True:
            plain, _ = listener.accept()
            plain.settimeout(DEADLINE)
            with plain:
                if not plain.recv(1, socket.MSG_PEEK):
                    return  # a caller without a word: the test is over
                try:
                    with context.wrap_socket(plain, server_side=True) as sock:
                        while True:
                            chunk = sock.recv(65536)
                            if not chunk:
                                break
                            sock.sendall(chunk)
                except OSError:
                    pass

    with listener, Peer(serve):
        yield listener.getsockname()
        socket.create_connection(listener.getsockname()).close()


def ask(sock) -> bytes:
    """Send a word to the echo and return what comes back."""
    sock.sendall(b"echo")
    return sock.recv(100)


def test_is_a_socket(mod, link):
    """An SSLSocket is a `socket.socket`, and for other libraries the stdlib's SSLSocket."""
    ours = link(mod).ours
    assert isinstance(ours, socket.socket)
    assert isinstance(ours, ssl.SSLSocket)
    assert isinstance(ours, mod.SSLSocket)
    assert ours.fileno() >= 0
    assert (ours.family, ours.type) == (socket.AF_INET, socket.SOCK_STREAM)


def test_connect_then_wrap(mod, pki, served, version):
    """A connected socket is wrapped, which does the handshake."""
    context = client_context(mod, pki, version)
    with socket.create_connection(served, DEADLINE) as plain:
        with context.wrap_socket(plain, server_hostname=HOST) as sock:
            assert plain.fileno() == -1
            assert sock.gettimeout() == DEADLINE
            assert ask(sock) == b"echo"
            assert sock.getpeername() == served


@pytest.mark.parametrize("method", ("connect", "connect_ex"))
def test_wrap_then_connect(mod, pki, served, version, method):
    """An unconnected socket is wrapped, and `connect` does the handshake."""
    sock = client_context(mod, pki, version).wrap_socket(socket.socket(), server_hostname=HOST)
    with sock:
        sock.settimeout(DEADLINE)
        assert sock.version() is None
        assert getattr(sock, method)(served) in (None, 0)
        assert ask(sock) == b"echo"
        with pytest.raises(ValueError):
            sock.connect(served)


def test_non_blocking_connect(mod, pki, served, version):
    """Connecting and shaking hands without blocking, by `select`."""
    sock = client_context(mod, pki, version).wrap_socket(
        socket.socket(), server_hostname=HOST, do_handshake_on_connect=False
    )
    with sock:
        sock.setblocking(False)
        assert sock.connect_ex(served) in (0, errno.EINPROGRESS)
        select.select([], [sock], [], DEADLINE)
        while True:
            try:
                sock.do_handshake()
                break
            except mod.SSLWantReadError:
                select.select([sock], [], [], DEADLINE)
            except mod.SSLWantWriteError:
                select.select([], [sock], [], DEADLINE)
        sock.settimeout(DEADLINE)
        assert ask(sock) == b"echo"


def test_handshake_failure_on_connect(mod, pki, served):
    """A refused certificate comes out of `connect`; the socket can be closed."""
    context = mod.create_default_context(cafile=pki.other_ca)
    sock = context.wrap_socket(socket.socket(), server_hostname=HOST)
    with sock:
        sock.settimeout(DEADLINE)
        with pytest.raises(mod.SSLCertVerificationError) as caught:
            sock.connect(served)
        assert caught.value.verify_code in (19, 20)


def test_get_server_certificate(mod, pki, served):
    """The server's certificate is fetched as PEM, unverified or verified."""
    pem = mod.get_server_certificate(served)
    assert mod.PEM_cert_to_DER_cert(pem) == pki.server.der
    if mod is sslbind:
        assert mod.get_server_certificate(served, timeout=DEADLINE) == pem
    with pytest.raises(mod.SSLError):
        mod.get_server_certificate(served, ca_certs=pki.other_ca)


def test_accept(mod, pki, version):
    """A wrapped listener accepts wrapped connections."""
    listener = server_context(mod, pki, version).wrap_socket(
        socket.create_server(("127.0.0.1", 0)), server_side=True
    )
    listener.settimeout(DEADLINE)

    def call():
        with socket.create_connection(listener.getsockname(), DEADLINE) as plain:
            context = client_context(ssl, pki, version)
            with context.wrap_socket(plain, server_hostname=HOST) as sock:
                return sock.recv(10)

    with listener, Peer(call) as caller:
        sock, address = listener.accept()
        with sock:
            assert isinstance(sock, mod.SSLSocket)
            assert sock.server_side
            assert sock.getpeername() == address
            assert sock.context is listener.context
            sock.sendall(b"welcome")
            assert caller.finish() == b"welcome"


def test_failed_accept_leaves_the_listener_open(mod, pki):
    """A caller that speaks no TLS does not stop the listener."""
    listener = server_context(mod, pki).wrap_socket(
        socket.create_server(("127.0.0.1", 0)), server_side=True
    )
    listener.settimeout(DEADLINE)
    with listener:
        for _ in range(2):
            with socket.create_connection(listener.getsockname()) as plain:
                plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
                with pytest.raises(mod.SSLError):
                    listener.accept()
        assert listener.fileno() >= 0


def test_what_is_known(mod, link, version, role):
    """After the handshake the socket tells what was agreed, as its peer does."""
    made = link(mod, version, role)
    for name in ("cipher", "version", "compression", "selected_alpn_protocol"):
        assert getattr(made.ours, name)() == getattr(made.theirs, name)()
    assert made.ours.server_side == (role == "server")
    assert made.ours.server_hostname == (HOST if role == "client" else None)
    assert made.ours.pending() == 0
    assert (made.ours.shared_ciphers() is None) == (role == "client")


@pytest.mark.parametrize("method", ("recv", "recv_into", "send", "sendall"))
def test_flags_are_refused(mod, link, method):
    """Flags have no meaning over TLS."""
    ours = link(mod).ours
    argument = bytearray(1) if method == "recv_into" else 1 if method == "recv" else b"x"
    with pytest.raises(ValueError, match="non-zero flags not allowed"):
        if method == "recv_into":
            ours.recv_into(argument, 1, socket.MSG_PEEK)
        else:
            getattr(ours, method)(argument, socket.MSG_PEEK)


def test_modes(mod, link):
    """Timeouts and blocking modes are a socket's own, and can be changed at any time."""
    made = link(mod)
    for timeout in (None, 0.0, 5.0, 0.01):
        made.ours.settimeout(timeout)
        assert made.ours.gettimeout() == timeout
        assert made.ours.getblocking() == (timeout != 0.0)
        made.ours.sendall(b"x")
        assert made.theirs.recv(1) == b"x"
    with pytest.raises(socket.timeout):
        made.ours.recv(1)
    made.ours.setblocking(True)
    made.theirs.sendall(b"x")
    assert made.ours.recv(1) == b"x"


def test_blocking_handshake_on_a_non_blocking_socket(mod, pki, version):
    """`do_handshake(block=True)` waits, and the socket is non-blocking again after it."""
    left, right = raw_pair()
    client = client_context(mod, pki, version).wrap_socket(
        left, server_hostname=HOST, do_handshake_on_connect=False
    )
    server = server_context(ssl, pki, version).wrap_socket(
        right, server_side=True, do_handshake_on_connect=False
    )
    with client, server:
        client.setblocking(False)
        with Peer(server.do_handshake):
            client.do_handshake(block=True)
        assert client.gettimeout() == 0.0


def test_zero_bytes(mod, link, version):
    """Empty reads and writes do nothing, at once, and keep the connection as it is."""
    made = link(mod, version)
    assert made.ours.recv(0) == b""
    assert made.ours.send(b"") == 0
    made.ours.sendall(b"")
    assert made.ours.recv_into(bytearray()) == 0
    made.ours.sendall(b"x")
    assert made.theirs.recv(10) == b"x"


def test_detach(mod, link):
    """`detach` gives the descriptor away."""
    made = link(mod)
    number = made.ours.fileno()
    assert made.ours.detach() == number
    assert made.ours.fileno() == -1
    with socket.socket(fileno=number) as plain:
        assert plain.getpeername() == made.theirs.getsockname()


def test_a_detached_socket_touches_no_other(link):
    """After `detach`, nothing is done on the descriptor's number any more."""
    made = link(sslbind)
    number = made.ours.detach()
    with socket.socket(fileno=number) as heir:
        heir.settimeout(DEADLINE)
        for call in (
            lambda: made.ours.recv(10),
            lambda: made.ours.send(b"x"),
            lambda: made.ours.unwrap(),
            lambda: made.ours.do_handshake(),
            lambda: made.ours.close(),
        ):
            outcome(call)
        socket.socket.send(made.theirs, b"raw")
        assert heir.recv(100) == b"raw"


def test_dup_and_pickle_are_refused(mod, link):
    """TLS state cannot be shared or sent."""
    ours = link(mod).ours
    with pytest.raises(NotImplementedError):
        ours.dup()
    with pytest.raises(TypeError):
        pickle.dumps(ours)


def test_close_waits_for_files(mod, link):
    """The connection stays until the files that were made of it are closed."""
    made = link(mod)
    file = made.ours.makefile("rb")
    made.ours.close()
    made.theirs.sendall(b"still there\n")
    assert file.readline() == b"still there\n"
    file.close()
    assert made.theirs.recv(1) == b""
    assert made.ours.fileno() == -1


def test_text_files(mod, link):
    """Text files work over a connection."""
    made = link(mod)
    with made.ours.makefile("rw", encoding="utf-8", newline="\n") as file:
        assert isinstance(file, io.TextIOWrapper)
        made.theirs.sendall("zwölf\n".encode())
        assert file.readline() == "zwölf\n"
        file.write("ja\n")
        file.flush()
        assert made.theirs.recv(10) == b"ja\n"


def test_unwrap_and_wrap_again(mod, pki, link, version):
    """After `unwrap` the plain connection lives on, and can be wrapped again."""
    made = link(mod, version)
    with Peer(made.theirs.unwrap) as peer:
        plain = made.ours.unwrap()
        other = peer.finish()
    plain.sendall(b"plain")
    assert other.recv(10) == b"plain"
    again = client_context(mod, pki).wrap_socket(
        plain, server_hostname=HOST, do_handshake_on_connect=False
    )
    server = server_context(ssl, pki).wrap_socket(
        other, server_side=True, do_handshake_on_connect=False
    )
    with again, server:
        with Peer(server.do_handshake):
            again.do_handshake()
        again.sendall(b"x")
        assert server.recv(1) == b"x"


def test_own_classes(mod, pki):
    """`sslsocket_class` chooses the class of what `wrap_socket` makes."""

    class Mine(mod.SSLSocket):
        pass

    context = client_context(mod, pki)
    context.sslsocket_class = Mine
    left, right = socket.socketpair()
    with left, right:
        with context.wrap_socket(left, server_hostname=HOST, do_handshake_on_connect=False) as sock:
            assert type(sock) is Mine


def test_socket_pair_of_any_family(mod, link, version, family):
    """Unix sockets work as TCP ones do."""
    made = link(mod, version, family=family)
    made.ours.sendall(b"x" * 100000)
    got = b""
    while len(got) < 100000:
        got += made.theirs.recv(65536)
    assert got == b"x" * 100000


def test_early_plain_text_is_refused(mod, pki):
    """Plain text of a peer that is gone again does not pass for TLS data (CVE-2023-40217)."""
    left, right = raw_pair()
    right.sendall(b"injected")
    right.close()
    assert readable(left, DEADLINE)
    context = server_context(mod, pki)
    told = outcome(
        lambda: context.wrap_socket(left, server_side=True, do_handshake_on_connect=False).recv(100)
    )
    assert told.error
    left.close()


def test_ipv6(mod, pki, version):
    """IPv6 connections are verified by address."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 in this Python")
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 loopback here")

    def serve():
        plain, _ = listener.accept()
        plain.settimeout(DEADLINE)
        with server_context(ssl, pki, version).wrap_socket(plain, server_side=True) as sock:
            sock.sendall(b"six")
            sock.recv(1)

    with listener, Peer(serve):
        with socket.create_connection(listener.getsockname()[:2], DEADLINE) as plain:
            with client_context(mod, pki, version).wrap_socket(
                plain, server_hostname="::1"
            ) as sock:
                assert sock.recv(10) == b"six"

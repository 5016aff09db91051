"""OP_ENABLE_KTLS: where the kernel has TLS it does the work, elsewhere nothing changes.

Most machines' kernels lack it (`modprobe tls`), and then the tests here prove the second half;
`.ci/ktls-vm` runs them under a kernel that has it. Tests of other files that hold either way run
here once more, with the option.
"""

from __future__ import annotations

import fcntl
import io
import os
import random
import socket
import ssl
import threading

import links
import pytest
import scripts
import test_io
import test_threads
from links import DEADLINE, HOST, Peer, client_context, raw_pair, server_context
from outcomes import outcome
from test_io import LARGE, receive, stuff

import sslbind

TCP_ULP = 31  # linux/tcp.h


def why_not() -> str:
    """Return why no connection here can be the kernel's, or "" if it can."""
    left, right = raw_pair()
    with left, right:
        try:
            left.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
        except OSError as exc:
            return f"this kernel has no TLS: {exc}"
    try:
        unused = sslbind.MemoryBIO(), sslbind.MemoryBIO()
        context = sslbind.SSLContext(sslbind.PROTOCOL_TLS_SERVER)
        context.wrap_bio(*unused, server_side=True)._sslobj.sendfile(0, 0, 1)
    except NotImplementedError as exc:
        return str(exc)
    except sslbind.SSLError:
        pass
    return ""


LACK = why_not()
in_kernel = pytest.mark.skipif(bool(LACK), reason=LACK or "-")
in_process = pytest.mark.skipif(not LACK, reason="this kernel has TLS")


def turn_on(monkeypatch=None) -> None:
    """Give every context of sslbind that the helpers make the option."""
    plain = links.new_context

    def new_context(mod, protocol):
        context = plain(mod, protocol)
        if mod is sslbind:
            context.options |= sslbind.OP_ENABLE_KTLS
        return context

    if monkeypatch is None:
        links.new_context = new_context
    else:
        monkeypatch.setattr(links, "new_context", new_context)


@pytest.fixture(autouse=True)
def option(monkeypatch):
    """The option for all contexts of sslbind, in the scripts of other files too."""
    turn_on(monkeypatch)
    monkeypatch.setattr(
        test_threads,
        "run_script",
        lambda body, *args: scripts.run_script(
            "import test_ktls; test_ktls.turn_on()\n" + body, *args
        ),
    )


@pytest.fixture
def mod():
    """The module under test; the option means nothing to most versions of the oracle."""
    return sslbind


# What these say of sslbind is to be true with the option as well. Missing are tests of what is
# not so when the kernel decrypts: that one call returns several records, and that the socket is
# an ordinary one after `unwrap` and `detach`.
for _test in (
    test_io.test_small_pieces,
    test_io.test_every_split_of_two_records,
    test_io.test_select_alone_is_enough_for_large_reads,
    test_io.test_full_records,
    test_io.test_data_and_goodbye_together,
    test_io.test_data_and_abrupt_end_together,
    test_io.test_recv_never_returns_more,
    test_io.test_recv_into_never_writes_more,
    test_io.test_a_part_of_a_record_is_pending,
    test_io.test_recv_does_not_wait_for_more,
    test_io.test_a_full_pipe_loses_nothing,
    test_io.test_retry_with_a_moved_buffer,
    test_io.test_accepted_is_sent,
    test_io.test_unwrap_after_want_write,
    test_io.test_sendall_sizes,
    test_io.test_stress_blocking,
    test_io.test_stress_select,
    test_io.test_random_splits,
    test_io.test_makefile,
    test_io.test_sendfile,
    test_threads.test_blocked_recv_does_not_block_sends,
    test_threads.test_close_while_another_thread_receives,
    test_threads.test_shutdown_wakes_a_blocked_recv,
    test_threads.test_full_duplex,
    test_threads.test_many_senders,
    test_threads.test_many_receivers,
    test_threads.test_handler_runs_and_the_deadline_stands,
    test_threads.test_exception_in_a_handler_comes_out,
    test_threads.test_data_after_signals,
):
    globals()[_test.__name__] = _test
del _test


@pytest.fixture
def both(link, pki):
    """A maker of links between two ends of sslbind, both with the option."""

    def make(version, role="client", **options):
        ends = client_context(sslbind, pki, version), server_context(sslbind, pki, version)
        ends = ends if role == "client" else ends[::-1]
        return link(sslbind, contexts=ends, role=role, **options)

    return make


def kernel_does(sock) -> tuple[bool, bool]:
    """Tell whether the kernel encrypts what is sent, and decrypts what is received."""
    return sock._sslobj.uses_ktls_for_send(), sock._sslobj.uses_ktls_for_recv()


@pytest.fixture(scope="module")
def content() -> bytes:
    """Twenty megabytes that do not repeat."""
    return random.Random(20).randbytes(20_000_000)


@pytest.fixture
def stored(tmp_path):
    """A maker of files with a given content, open for reading."""
    opened = []

    def make(content: bytes):
        path = tmp_path / f"file{len(opened)}"
        path.write_bytes(content)
        opened.append(path.open("rb"))
        return opened[-1]

    yield make
    for file in opened:
        file.close()


# --- Who does the work -------------------------------------------------------------------------


@in_kernel
def test_the_kernel_works(both, version, role):
    """The kernel encrypts; it decrypts in TLS 1.2, and from OpenSSL 3.2 on in TLS 1.3."""
    decrypts = version == "TLSv1_2" or sslbind.OPENSSL_VERSION_INFO >= (3, 2)
    made = both(version, role)
    assert kernel_does(made.ours) == kernel_does(made.theirs) == (True, decrypts)


@in_process
def test_the_process_works(both, version, role):
    """Without a kernel that can, the option is not noticed."""
    made = both(version, role)
    assert kernel_does(made.ours) == kernel_does(made.theirs) == (False, False)


def test_unix_sockets(both, version):
    """Kernels have TLS for TCP only."""
    assert kernel_does(both(version, family="unix").ours) == (False, False)


@in_kernel
@pytest.mark.parametrize(
    "ciphers", ("ECDHE+AESCCM8", "ECDHE+CHACHA20", "ECDHE-ECDSA-AES256-SHA384")
)
def test_other_ciphers(pki, link, ciphers):
    """Where the kernel, or OpenSSL for it, lacks a cipher, the process works."""
    ends = [make(sslbind, pki, "TLSv1_2") for make in (client_context, server_context)]
    for context in ends:
        context.set_ciphers(ciphers + ":@SECLEVEL=0")
    made = link(sslbind, contexts=ends)
    expected = "CHACHA" in ciphers
    assert kernel_does(made.ours) == (expected, expected)
    made.theirs.sendall(b"x" * 50000)
    assert receive(made.ours, 50000) == b"x" * 50000


def test_only_with_the_option(pki, link, version):
    """Without the option it is never the kernel."""
    ends = [make(sslbind, pki, version) for make in (client_context, server_context)]
    for context in ends:
        context.options &= ~sslbind.OP_ENABLE_KTLS
    made = link(sslbind, contexts=ends)
    assert kernel_does(made.ours) == (False, False)


@pytest.mark.parametrize("method", ("connect", "connect_ex"))
def test_wrap_then_connect(pki, version, method):
    """A socket that is connected after it was wrapped is the kernel's, too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        accepting = server_context(sslbind, pki, version).wrap_socket(listener, server_side=True)
        context = client_context(sslbind, pki, version)
        with accepting, context.wrap_socket(socket.socket(), server_hostname=HOST) as sock:
            sock.settimeout(DEADLINE)
            with Peer(accepting.accept) as peer:
                assert getattr(sock, method)(accepting.getsockname()) in (None, 0)
                other, _ = peer.finish()
            with other:
                assert kernel_does(sock)[0] == kernel_does(other)[0] == (not LACK)
                other.settimeout(DEADLINE)
                other.sendall(b"word")
                assert receive(sock, 4) == b"word"


@pytest.mark.parametrize("timeout", (None, DEADLINE, 0.0))
def test_the_descriptor_stays_as_it_was(both, version, timeout):
    """Whether the descriptor blocks is the Python socket's to say, before and after."""
    made = both(version)
    made.ours.settimeout(timeout)
    before = fcntl.fcntl(made.ours, fcntl.F_GETFL)
    assert bool(before & os.O_NONBLOCK) == (timeout is not None)
    made.ours.sendall(b"question")
    made.theirs.sendall(receive(made.theirs, 8))
    assert links.readable(made.ours, DEADLINE)
    assert made.ours.recv(100) == b"question"
    assert fcntl.fcntl(made.ours, fcntl.F_GETFL) == before


@pytest.mark.parametrize("resumption", range(2))
def test_sessions_are_resumed(pki, link, version, resumption):
    """A resumed connection is the kernel's like the first."""
    ends = [make(sslbind, pki, version) for make in (client_context, server_context)]
    first = link(sslbind, contexts=ends)
    second = link(sslbind, contexts=ends, session=first.ours.session)
    assert second.ours.session_reused
    assert kernel_does(second.ours) == kernel_does(first.ours)
    with Peer(second.theirs.sendall, b"x" * 100000):
        assert receive(second.ours, 100000) == b"x" * 100000


# --- Sending files -----------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", (None, DEADLINE), ids=("blocking", "timeout"))
def test_twenty_megabytes(both, stored, content, version, role, timeout):
    """A large file arrives whole, and its position is at the end."""
    made = both(version, role)
    made.ours.settimeout(timeout)
    file = stored(content)
    with Peer(receive, made.theirs, len(content)) as reader:
        assert made.ours.sendfile(file) == len(content)
        assert reader.finish() == content
    assert file.tell() == len(content)


def test_between_other_data(both, stored, content, version):
    """What is sent before a file, the file, and what is sent after it keep their order."""
    made = both(version)
    part = content[:300000]
    with Peer(receive, made.theirs, 2 * len(part) + 200010) as reader:
        made.ours.sendall(b"a" * 100000)
        made.ours.sendfile(stored(part))
        made.ours.sendall(b"b" * 100000)
        made.ours.sendfile(stored(part))
        made.ours.sendall(b"c" * 10)
        assert reader.finish() == b"a" * 100000 + part + b"b" * 100000 + part + b"c" * 10


def test_a_file_that_is_no_file(both, version):
    """What has no descriptor is copied."""
    made = both(version)
    with Peer(receive, made.theirs, 30000) as reader:
        assert made.ours.sendfile(io.BytesIO(b"x" * 30000)) == 30000
        assert reader.finish() == b"x" * 30000


def test_a_file_without_a_size(both, version):
    """Files that the kernel makes up while they are read have no size, and are copied."""
    if not os.path.exists("/proc/self/cmdline"):
        pytest.skip("a file system of this kind is Linux's own")
    made = both(version)
    with open("/proc/self/cmdline", "rb") as file:
        expected = file.read()
        file.seek(0)
        with Peer(receive, made.theirs, len(expected)) as reader:
            assert made.ours.sendfile(file) == len(expected)
            assert reader.finish() == expected


def test_files_are_checked(both, stored, tmp_path):
    """Text files, wrong counts and non-blocking sockets are refused."""
    made = both("TLSv1_3")
    path = tmp_path / "text"
    path.write_text("text")
    with path.open() as text, pytest.raises(ValueError):
        made.ours.sendfile(text)
    with pytest.raises(ValueError):
        made.ours.sendfile(stored(b"x"), count=0)
    with pytest.raises(TypeError):
        made.ours.sendfile(stored(b"x"), count=1.5)
    made.ours.setblocking(False)
    with pytest.raises(ValueError):
        made.ours.sendfile(stored(b"x"))


def test_nobody_reads(both, stored, content):
    """Sending a file ends with the socket's timeout."""
    made = both("TLSv1_3")
    made.ours.settimeout(0.1)
    with pytest.raises(socket.timeout):
        made.ours.sendfile(stored(content))


def test_the_back_without_the_kernel(pki, stored, link):
    """`_SSLSocket.sendfile` is the kernel's or nothing, and says so as CPython 3.15 does."""
    file = stored(b"content")
    ends = [make(sslbind, pki) for make in (client_context, server_context)]
    for context in ends:
        context.options &= ~sslbind.OP_ENABLE_KTLS
    memory = ends[1].wrap_bio(sslbind.MemoryBIO(), sslbind.MemoryBIO(), server_side=True)
    for back in (link(sslbind, contexts=ends).ours._sslobj, memory._sslobj):
        with pytest.raises(sslbind.SSLError, match=r"^Some I/O error occurred in sendf") as e:
            back.sendfile(file.fileno(), 0, 7)
        assert (e.value.errno, e.value.reason, e.value.library) == (0, None, None)
        assert (back.uses_ktls_for_send(), back.uses_ktls_for_recv()) == (False, False)


@pytest.mark.parametrize(
    "args, error",
    (
        (("0", 0, 1), TypeError),
        ((0, 0.5, 1), TypeError),
        ((0, 0, None), TypeError),
        ((0, 0, 1, "flags"), TypeError),
        ((0, 0), TypeError),
        ((0, 0, -1), ValueError),
        ((1 << 40, 0, 1), OverflowError),
        ((0, 1 << 70, 1), OverflowError),
        ((0, 0, 1 << 70), OverflowError),
    ),
)
def test_arguments_of_the_back(both, args, error):
    """Wrong arguments are refused by their own errors."""
    with pytest.raises(error):
        both("TLSv1_3").ours._sslobj.sendfile(*args)


@in_kernel
def test_the_back(both, stored, version):
    """The back sends a part, what there is of it, or nothing at the end of the file."""
    made = both(version)
    back, file = made.ours._sslobj, stored(b"0123456789")
    for offset, size, expected in ((0, 4, b"0123"), (8, 1 << 40, b"89"), (3, 7, b"3456789")):
        assert back.sendfile(file.fileno(), offset, size) == len(expected)
        # All of it is there, though nothing follows that would push it.
        assert receive(made.theirs, len(expected)) == expected
    for offset, size in ((10, 5), (99, 1), (0, 0)):
        assert back.sendfile(file.fileno(), offset, size, 0) == 0
    assert file.tell() == 0


@in_kernel
def test_the_kernels_own_errors(both, stored, version, tmp_path):
    """What sendfile(2) objects to is told by its number; the connection is as good as before."""
    made = both(version)
    back = made.ours._sslobj
    directory = os.open(tmp_path, os.O_RDONLY)
    closed = stored(b"x").fileno() + 1000
    try:
        for args in ((closed, 0, 1), (directory, 0, 1), (stored(b"x").fileno(), -1, 1)):
            with pytest.raises(OSError) as caught:
                back.sendfile(*args)
            assert not isinstance(caught.value, sslbind.SSLError)
            assert caught.value.errno
    finally:
        os.close(directory)
    made.ours.sendall(b"still here")
    assert receive(made.theirs, 10) == b"still here"


@in_kernel
def test_the_back_does_not_block(both, stored, content, version):
    """On a non-blocking socket it sends what the kernel takes, and then wants to write."""
    made = both(version)
    made.ours.setblocking(False)
    file, sent = stored(content), 0
    with pytest.raises(sslbind.SSLWantWriteError):
        while True:
            count = made.ours._sslobj.sendfile(file.fileno(), sent, len(content) - sent)
            assert count > 0
            sent += count
    assert receive(made.theirs, sent) == content[:sent]


@in_kernel
def test_a_file_after_want_write(both, stored, content, version):
    """A file goes after all that `send` has accepted."""
    made = both(version)
    made.ours.setblocking(False)
    accepted = stuff(made.ours)
    made.ours.settimeout(DEADLINE)
    rest = b"\xa5" * 20000  # `stuff` has to repeat its last call, as SSL_write(3) demands
    with Peer(receive, made.theirs, accepted + len(rest) + 50000) as reader:
        made.ours.sendall(rest)
        assert made.ours.sendfile(stored(content[:50000])) == 50000
        assert reader.finish() == b"\xa5" * (accepted + len(rest)) + content[:50000]


@in_kernel
def test_files_of_several_threads(both, stored, version):
    """Threads that send files and data at once lose nothing."""
    made = both(version)
    size = 2_000_000
    files = [stored(letter * size) for letter in (b"f", b"g")]
    with Peer(receive, made.theirs, 3 * size) as reader:
        with Peer(made.ours.sendfile, files[0]), Peer(made.ours.sendfile, files[1]):
            for _ in range(20):
                made.ours.sendall(b"d" * (size // 20))
        got = reader.finish()
    assert [got.count(letter) for letter in (b"f", b"g", b"d")] == [size] * 3


@in_kernel
def test_a_file_grows(both, tmp_path, version):
    """What is added to a file while it is sent is sent too, as by a loop that reads to the end."""
    made = both(version)
    path = tmp_path / "growing"
    path.write_bytes(b"1" * 8_000_000)
    with path.open("rb") as file, Peer(made.ours.sendfile, file) as sender:
        assert receive(made.theirs, 10) == b"1" * 10
        with path.open("ab") as more:
            more.write(b"2" * 1000)
        assert receive(made.theirs, 7_999_990 + 1000).endswith(b"12" + b"2" * 999)
        assert sender.finish() == 8_001_000


def test_a_peer_that_is_gone(both, version):
    """Sending to nobody fails in the end."""
    made = both(version)
    made.theirs.close()
    with pytest.raises(OSError):
        for _ in range(1000):
            made.ours.sendall(b"x" * 20000)


@in_kernel
def test_closing_stops_a_file(both, stored, content, version):
    """`close` in one thread ends `sendfile` in another."""
    made = both(version)
    made.ours.settimeout(None)
    file, begun = stored(content), threading.Event()

    def send():
        begun.set()
        with pytest.raises((OSError, ValueError)):
            made.ours.sendfile(file)

    with Peer(send):
        assert begun.wait(DEADLINE)
        assert receive(made.theirs, 10) == content[:10]
        made.ours.close()


# --- Records that are no data ------------------------------------------------------------------


def test_goodbye(both, version, role):
    """close_notify comes and goes, in both directions, after data."""
    made = both(version, role)
    made.ours.sendall(b"last")

    def other():
        assert receive(made.theirs, 4) == b"last"
        assert made.theirs.recv(100) == b""
        made.theirs.unwrap()

    with Peer(other):
        made.ours.unwrap()


def test_no_goodbye(both, version, role):
    """A connection that just ends is told apart from one that is closed."""
    made = both(version, role, suppress_ragged_eofs=False)
    made.theirs.sendall(b"last")
    made.theirs.shutdown(socket.SHUT_RDWR)
    assert receive(made.ours, 4) == b"last"
    with pytest.raises(sslbind.SSLEOFError):
        made.ours.recv(100)


def test_client_that_closes_at_once(pki, link, version):
    """What a client has sent arrives, though it never reads the server's session tickets."""
    ends = [make(sslbind, pki, version) for make in (client_context, server_context)]
    for _ in range(5):
        left, right = raw_pair()
        with ends[1].wrap_socket(right, server_side=True, do_handshake_on_connect=False) as theirs:
            ours = ends[0].wrap_socket(left, do_handshake_on_connect=False, server_hostname=HOST)
            links.shake(ours, theirs)
            ours.sendall(b"all I have to say")
            ours.close()
            assert receive(theirs, 17) == b"all I have to say"
            assert theirs.recv(100) == b""


def test_alert(pki, link):
    """An alert that comes after the handshake is raised: TLS 1.3 refuses a client so."""
    ours, theirs = client_context(sslbind, pki, "TLSv1_3"), server_context(ssl, pki, "TLSv1_3")
    theirs.verify_mode = ssl.CERT_REQUIRED
    left, right = raw_pair()
    with ours.wrap_socket(left, do_handshake_on_connect=False, server_hostname=HOST) as client:
        with theirs.wrap_socket(right, server_side=True, do_handshake_on_connect=False) as server:
            with Peer(client.do_handshake), pytest.raises(ssl.SSLError):
                server.do_handshake()
            with pytest.raises(sslbind.SSLError) as caught:
                client.recv(100)
            assert caught.value.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"


def test_certificate_on_demand(pki, link):
    """A client answers a server that asks for its certificate later (RFC 8446 4.6.2)."""
    ends = [make(sslbind, pki, "TLSv1_3") for make in (client_context, server_context)]
    for context in ends:
        context.post_handshake_auth = True
    ends[0].load_cert_chain(pki.client.both)
    ends[1].verify_mode = sslbind.CERT_REQUIRED
    ends[1].load_verify_locations(pki.ca)
    made = link(sslbind, contexts=ends)
    made.theirs.verify_client_post_handshake()
    made.theirs.sendall(b"ask")
    assert receive(made.ours, 3) == b"ask"
    made.ours.sendall(b"told")
    assert receive(made.theirs, 4) == b"told"
    assert made.theirs.getpeercert(True) == pki.client.der


def test_flipped_bit(wire, version):
    """A record that was changed on its way is refused."""
    made = wire(sslbind, version, "tcp")
    record = bytearray(made.say(b"some text"))
    record[-1] ^= 1
    made.feed(bytes(record))
    with pytest.raises(sslbind.SSLError) as caught:
        made.ours.recv(LARGE)
    reasons = {"DECRYPTION_FAILED_OR_BAD_RECORD_MAC"}
    if sslbind.OPENSSL_VERSION_INFO >= (3, 2):
        reasons.add("RECORD_LAYER_FAILURE")
    assert caught.value.reason in reasons


def test_a_waiting_thread_does_not_spin(wire, version):
    """The beginning of a record does not keep a thread busy that waits for all of it."""
    made = wire(sslbind, version, "tcp")
    made.feed(made.say(b"some text")[:7])
    made.ours.settimeout(1)
    used = os.times()
    with pytest.raises(socket.timeout):
        made.ours.recv(LARGE)
    now = os.times()
    assert (now.user + now.system) - (used.user + used.system) < 0.5


def test_sendfile_after_the_end():
    """On a connection that was cut off, sendfile() of the back says that, as read and write do."""
    left, right = raw_pair()
    context = links.new_context(sslbind, "PROTOCOL_TLS_SERVER")
    options = {"do_handshake_on_connect": False, "suppress_ragged_eofs": False}
    with left, context.wrap_socket(right, server_side=True, **options) as sock:
        before = outcome(sock._sslobj.sendfile, 0, 0, 1)
        left.close()
        with pytest.raises(sslbind.SSLEOFError):
            sock._sslobj.do_handshake()
        assert before.error in ("SSLError", "NotImplementedError")
        assert outcome(sock._sslobj.sendfile, 0, 0, 1).error == "SSLEOFError"

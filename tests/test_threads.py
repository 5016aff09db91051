"""One connection may be used by several threads, one context by many; signals are heard.

The regressions named here are CPython's: a lock held during a blocking read (cpython#137583), and
no lock at all (cpython#143756, cpython#151508).
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
import threading

import pytest
from links import (
    DEADLINE,
    Peer,
    client_context,
    memory_pair,
    raw_pair,
    readable,
    server_context,
    shake_memory,
)
from outcomes import outcome
from scripts import run_script

import sslbind


class Blocked:
    """A thread that is inside `recv` of a connection for as long as nothing comes in."""

    def __init__(self, sock) -> None:
        self._started = threading.Event()
        self.peer = Peer(self._receive, sock)
        self.peer.start()
        assert self._started.wait(DEADLINE)
        # From here to the system call is a matter of instructions; give the thread its turns.
        for _ in range(50):
            threading.Event().wait(0.0001)

    def _receive(self, sock):
        self._started.set()
        return outcome(sock.recv, 100)

    def finish(self):
        """Return what `recv` gave."""
        return self.peer.finish()


# --- One connection, several threads -----------------------------------------------------------


@pytest.mark.parametrize("timeout", (None, DEADLINE), ids=("blocking", "timeout"))
def test_blocked_recv_does_not_block_sends(mod, link, version, family, timeout):
    """While one thread waits for data another one sends (cpython#137583)."""
    if mod is ssl and sys.version_info[:3] == (3, 13, 6):
        pytest.skip("cpython#137583: this very version hangs")
    made = link(mod, version, family=family)
    made.ours.settimeout(timeout)
    blocked = Blocked(made.ours)
    for _ in range(20):
        made.ours.sendall(b"x" * 1000)
    got = b""
    while len(got) < 20000:
        got += made.theirs.recv(20000)
    made.theirs.sendall(b"answer")
    assert blocked.finish().value == b"answer"


@pytest.mark.parametrize(
    "name", ("getpeercert", "cipher", "version", "pending", "selected_alpn_protocol")
)
def test_blocked_recv_does_not_block_questions(mod, link, version, name):
    """While one thread waits for data another one asks about the connection."""
    made = link(mod, version)
    blocked = Blocked(made.ours)
    for _ in range(100):
        getattr(made.ours, name)()
    made.theirs.sendall(b"answer")
    assert blocked.finish().value == b"answer"


def test_unwrap_while_another_thread_receives(link, version):
    """`unwrap` in one thread ends TLS for a `recv` in another, which takes no plain text after it.

    Either thread may be the one that meets the peer's close_notify.
    """
    made = link(sslbind, version)
    blocked = Blocked(made.ours)

    def other():
        assert made.theirs.recv(100) == b""
        plain = made.theirs.unwrap()
        plain.sendall(b"plain")
        return plain

    with Peer(other) as peer:
        plain = made.ours.unwrap()
        assert plain.recv(100) == b"plain"
        with peer.finish():
            pass
    told = blocked.finish()
    assert told.value == b"" or told.error


@pytest.mark.parametrize("timeout", (None, DEADLINE), ids=("blocking", "timeout"))
def test_close_while_another_thread_receives(link, version, family, timeout):
    """After `close` in one thread a `recv` in another ends, at the latest with the connection."""
    made = link(sslbind, version, family=family)
    made.ours.settimeout(timeout)
    blocked = Blocked(made.ours)
    made.ours.close()
    made.theirs.close()
    told = blocked.finish()
    assert told.value == b"" or told.error


def take_number(family: str, number: int):
    """Open pairs of sockets until one of them has the given descriptor; return it, the other one,
    and all the pairs."""
    pairs = []
    for _ in range(20):
        pairs.append(raw_pair(family))
        for end, other in (pairs[-1], pairs[-1][::-1]):
            if end.fileno() == number:
                return end, other, pairs
    raise AssertionError("the number is still taken")


@pytest.mark.parametrize("words", (b"", b"for the heir"), ids=("quiet", "talking"))
def test_close_and_a_new_socket_of_that_number(link, version, family, words):
    """A `recv` whose socket has been closed takes no bytes of whoever gets its number, and ends.

    poll(2) looks the number up again each time it wakes, so that it would wait for the heir.
    """
    made = link(sslbind, version, family=family)
    made.ours.settimeout(None)
    number = made.ours.fileno()
    blocked = Blocked(made.ours)
    made.ours.close()
    heir, other, pairs = take_number(family, number)
    try:
        other.sendall(words)
        assert not words or readable(heir, DEADLINE)
        made.theirs.close()
        told = blocked.finish()
        assert told.value == b"" or told.error
        other.close()
        assert heir.recv(100) == words
    finally:
        for pair in pairs:
            for end in pair:
                end.close()


@pytest.mark.parametrize("how", (socket.SHUT_RD, socket.SHUT_RDWR))
def test_shutdown_wakes_a_blocked_recv(mod, link, version, family, how):
    """`shutdown` is how one thread makes another one's `recv` return."""
    made = link(mod, version, family=family)
    blocked = Blocked(made.ours)
    made.ours.shutdown(how)
    told = blocked.finish()
    assert told.value == b"" or told.error


def echo(sock, count: int) -> None:
    """Send back `count` bytes as they come, in one thread."""
    while count:
        chunk = sock.recv(65536)
        assert chunk
        sock.sendall(chunk)
        count -= len(chunk)


@pytest.mark.parametrize("timeout", (None, DEADLINE), ids=("blocking", "timeout"))
def test_full_duplex(link, version, role, timeout):
    """One thread sends, one receives, two ask questions, all the time (cpython#143756)."""
    total = 3_000_000
    made = link(sslbind, version, role)
    made.ours.settimeout(timeout)
    over = threading.Event()
    block = bytes(range(250)) * 40

    def send():
        for _ in range(total // len(block)):
            made.ours.sendall(block)

    def ask():
        while not over.is_set():
            made.ours.getpeercert(True)
            made.ours.cipher()
            made.ours.pending()
            assert made.ours.version() == version.replace("_", ".")

    with Peer(echo, made.theirs, total), Peer(send), Peer(ask), Peer(ask):
        try:
            got = 0
            while got < total:
                chunk = made.ours.recv(30000)
                assert chunk == (block * 5)[got % len(block) :][: len(chunk)]
                got += len(chunk)
        finally:
            over.set()


def test_many_senders(link, version):
    """The blocks of several threads that send at once do not mix within a record."""
    made = link(sslbind, version)
    count, size, senders = 100, 1000, 8

    def send(letter):
        for _ in range(count):
            made.ours.sendall(bytes([letter]) * size)

    peers = [Peer(send, 65 + n) for n in range(senders)]
    for peer in peers:
        peer.start()
    got = bytearray()
    while len(got) < count * size * senders:
        got += made.theirs.recv(65536)
    for peer in peers:
        peer.finish()
    for begin in range(0, len(got), size):
        assert len(set(got[begin : begin + size])) == 1


def test_write_in_a_callback_of_a_write(pki, link, version):
    """It is refused, and does not let another thread's write into the middle of that one."""
    context, refused, size = client_context(sslbind, pki, version), threading.Event(), 3_000_000
    context._msg_callback = lambda *_: None
    contexts = context, server_context(ssl, pki, version)
    made = link(sslbind, version, family="unix", contexts=contexts)

    def write_too(*_):
        if threading.current_thread() is first:
            assert "not allowed in a callback" in outcome(made.ours.write, b"c").text
            refused.set()

    context._msg_callback = write_too
    first, second = (Peer(made.ours.write, letter * size) for letter in (b"a", b"b"))
    with first:
        assert refused.wait(DEADLINE)
        with second:
            for _ in range(50):  # as in Blocked
                threading.Event().wait(0.001)
            got = bytearray()
            while len(got) < 2 * size:
                got += made.theirs.recv(65536)
    assert got == b"a" * size + b"b" * size


def test_many_receivers(link, version):
    """Several threads that receive at once get every byte once."""
    made = link(sslbind, version)
    total = 400_000

    def receive():
        got = 0
        while True:
            chunk = made.ours.recv(5000)
            if not chunk:
                return got
            got += len(chunk)

    peers = [Peer(receive) for _ in range(4)]
    for peer in peers:
        peer.start()
    made.theirs.sendall(b"x" * total)
    made.theirs.close()
    assert sum(peer.finish() for peer in peers) == total


def test_object_shared_by_threads(pair, version):
    """A memory object that threads share by mistake raises or works, and does not crash."""
    left, right = pair(sslbind, version)

    def hammer():
        for _ in range(300):
            outcome(left.obj.write, b"x" * 100)
            outcome(left.outgoing.read)
            outcome(left.incoming.write, b"\x17\x03\x03")
            outcome(left.obj.read, 10)
            outcome(left.obj.pending)

    with Peer(hammer), Peer(hammer), Peer(hammer):
        hammer()
    assert right.obj.version()


# --- One context, many threads -----------------------------------------------------------------


def handshakes(client, server, count: int, mod) -> None:
    """Shake hands in memory, `count` times."""
    for _ in range(count):
        left, right = memory_pair(client, server, client_mod=mod, server_mod=mod)
        shake_memory(left, right)
        left.obj.write(b"x")
        left.flush()
        assert right.obj.read(1) == b"x"


def test_sixty_four_threads_on_one_context(mod, pki, version):
    """Many threads shake hands at once with the same two contexts."""
    client, server = client_context(mod, pki, version), server_context(mod, pki, version)
    peers = [Peer(handshakes, client, server, 8, mod) for _ in range(64)]
    for peer in peers:
        peer.start()
    for peer in peers:
        peer.finish()
    assert server.session_stats()["accept_good"] == 64 * 8


def test_context_changes_under_way(pki, version):
    """A context may be changed while other threads shake hands with it."""
    client = client_context(sslbind, pki, version)
    server = server_context(sslbind, pki, version)
    over = threading.Event()

    def change():
        while not over.is_set():
            server.load_cert_chain(pki.server.both)
            client.load_verify_locations(pki.other_ca)
            client.set_alpn_protocols(["a", "b"])
            server.set_alpn_protocols(["b"])
            client.get_ca_certs()
            client.cert_store_stats()
            server.set_ciphers("ECDHE+AESGCM")
            server.sni_callback = lambda *_: None
            client.verify_flags |= sslbind.VERIFY_X509_TRUSTED_FIRST
            server.session_stats()

    peers = [Peer(handshakes, client, server, 40, sslbind) for _ in range(4)]
    with Peer(change):
        for peer in peers:
            peer.start()
        try:
            for peer in peers:
                peer.finish()
        finally:
            over.set()


def test_contexts_made_by_threads(pki):
    """Threads that make contexts from the same files at once do not disturb each other."""

    def make():
        for _ in range(20):
            context = sslbind.create_default_context(cafile=pki.ca)
            assert len(context.get_ca_certs()) == 1
            context.load_verify_locations(pki.other_ca)
            assert len(context.get_ca_certs()) == 2

    peers = [Peer(make) for _ in range(8)]
    for peer in peers:
        peer.start()
    for peer in peers:
        peer.finish()


def test_accepting_threads(mod, pki, version):
    """Several threads accept on one wrapped listener."""
    count = 12
    listener = server_context(mod, pki, version).wrap_socket(
        socket.create_server(("127.0.0.1", 0)), server_side=True
    )
    # With a timeout PyPy's threads wait for the same caller, and all but one for ever.
    listener.settimeout(None)

    def serve():
        sock, _ = listener.accept()
        with sock:
            sock.settimeout(DEADLINE)
            sock.sendall(sock.recv(100))
            sock.recv(1)

    def call(number):
        context = client_context(mod, pki, version)
        with socket.create_connection(listener.getsockname(), DEADLINE) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as sock:
                sock.sendall(b"%d" % number)
                return sock.recv(100)

    with listener:
        servers = [Peer(serve) for _ in range(count)]
        clients = [Peer(call, number) for number in range(count)]
        for peer in servers + clients:
            peer.start()
        assert [peer.finish() for peer in clients] == [b"%d" % n for n in range(count)]
        for peer in servers:
            peer.finish()


@pytest.mark.parametrize("bio", ("sslbind", "ssl"))
def test_callbacks_while_other_threads_wait(pki, bio):
    """Threads share an object, with callbacks that are slow or raise: none waits for ever."""
    run_script(
        """
        import importlib, itertools, sys
        import sslbind
        from links import Peer, client_context, memory_pair, server_context, shake_memory
        from outcomes import outcome

        class Files:
            ca, server = sys.argv[1], type("Server", (), {"both": sys.argv[2]})

        turns = itertools.count()

        def slow(*event):
            for _ in range(100):
                pass
            if next(turns) > 100 and next(turns) % 7 == 0:
                raise ValueError("from a callback")

        client, server = client_context(sslbind, Files), server_context(sslbind, Files)
        client._msg_callback = slow
        left, right = memory_pair(client, server, client_mod=importlib.import_module(sys.argv[3]))
        shake_memory(left, right)
        sys.setswitchinterval(1e-6)

        def use(size):
            for _ in range(300):
                outcome(left.obj.write, bytes(size))
                outcome(left.obj.read, size)
                outcome(left.obj.version)

        peers = [Peer(use, size) for size in (10, 100, 5000, 20000)]
        for peer in peers:
            peer.start()
        for peer in peers:
            peer.finish()
        assert next(turns) > 2000
        """,
        pki.ca,
        pki.server.both,
        bio,
    )


# --- Processes ---------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork(pki, version):
    """After a fork, with a thread in `recv`, both processes use connections and make new ones."""
    run_script(
        """
        import os, sys, threading
        import sslbind
        from links import Link, Peer, client_context, server_context
        from test_threads import Blocked, handshakes

        class Files:
            ca, both = sys.argv[1], sys.argv[2]
        Files.server = Files
        version = sys.argv[3]
        client = client_context(sslbind, Files, version)
        server = server_context(sslbind, Files, version)
        made = Link(sslbind, Files, version)
        # A thread that is in here, but not just inside of OpenSSL: its locks do not survive a fork.
        blocked = Blocked(made.ours)
        child = os.fork()
        if not child:
            status = 1
            try:
                made.ours.sendall(b"from the child")
                handshakes(client, server, 5, sslbind)
                handshakes(client_context(sslbind, Files), server, 5, sslbind)
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        made.theirs.sendall(b"to the parent")
        assert blocked.finish().value == b"to the parent"
        assert made.theirs.recv(100) == b"from the child"
        handshakes(client, server, 5, sslbind)
        """,
        pki.ca,
        pki.server.both,
        version,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_amidst_an_operation(pki, version):
    """A child refuses to go on with what a thread of its parent's was doing; the parent does."""
    run_script(
        """
        import os, sys, threading
        import sslbind
        from links import Peer, client_context, memory_pair, server_context, shake_memory

        class Files:
            ca, both = sys.argv[1], sys.argv[2]
        Files.server = Files
        begun, forked = threading.Event(), threading.Event()

        def on_message(*args):
            begun.set()
            assert forked.wait(30)

        client = client_context(sslbind, Files)
        client._msg_callback = on_message
        server = server_context(sslbind, Files, sys.argv[3])
        left, right = memory_pair(client, server, client_mod=sslbind, server_mod=sslbind)
        obj = left.obj

        def shake():
            try:
                obj.do_handshake()
            except sslbind.SSLWantReadError:
                pass

        with Peer(shake) as peer:
            assert begun.wait(30)
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    for use in (obj.do_handshake, lambda: obj.write(b"x"), obj.read, obj.unwrap):
                        try:
                            use()
                        except sslbind.SSLError as exc:
                            assert "when the process forked" in str(exc), exc
                        else:
                            raise AssertionError(use)
                    assert obj.version() is obj.cipher() is None
                    obj._sslobj._close()
                    status = 0
                finally:
                    os._exit(status)
            forked.set()
            assert os.waitpid(child, 0)[1] == 0
        shake_memory(left, right)
        """,
        pki.ca,
        pki.server.both,
        version,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("what", ("goes on", "closes", "another asks"))
def test_fork_in_a_callback(pki, version, what):
    """What the callback belongs to goes on in both processes, or the child closes it there.

    Another thread of the child's waits until the callback is over.
    """
    run_script(
        """
        import os, sys, threading
        import sslbind
        from links import client_context, memory_pair, server_context, shake_memory

        class Files:
            ca, both = sys.argv[1], sys.argv[2]
        Files.server = Files
        server = server_context(sslbind, Files, sys.argv[3])
        what = sys.argv[4]

        def shake(number):
            # Fork in this message of the handshake; return False if there are fewer.
            messages, child, answers, asker = 0, None, [], threading.Thread()

            def on_message(*args):
                nonlocal messages, child, asker
                messages += 1
                if messages == number:
                    child = os.fork()
                    if child == 0 and what == "closes":
                        left.obj._sslobj._close()
                    if child == 0 and what == "another asks":
                        asker = threading.Thread(target=lambda: answers.append(left.obj.pending()))
                        asker.start()
                        asker.join(0.05)
                        assert asker.is_alive()

            client = client_context(sslbind, Files)
            client._msg_callback = on_message
            left, right = memory_pair(client, server, client_mod=sslbind, server_mod=sslbind)
            status = 1
            try:
                shake_memory(left, right)
                left.obj.write(b"question")
                left.flush()
                assert right.obj.read(100) == b"question"
                if asker.ident is not None:
                    asker.join()
                    assert answers == [0]
                status = 0
            except OSError:  # EBADF, or SSLError: what a closed one gives
                if child != 0 or what != "closes":
                    raise
                status = 0
            finally:
                if child == 0:
                    os._exit(status)
            if child is None:
                return False
            assert os.waitpid(child, 0)[1] == 0
            return True

        number = 1
        while shake(number):
            number += 1
        assert number > 5
        """,
        pki.ca,
        pki.server.both,
        version,
        what,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_close_beside_a_forked_child(pki, version):
    """Closing in one process takes nothing from the other, which shares the socket."""
    run_script(
        """
        import os, socket, sys
        import sslbind
        from links import HOST, Peer, client_context, server_context

        class Files:
            ca, both = sys.argv[1], sys.argv[2]
        Files.server = Files
        left, right = socket.socketpair()
        server = server_context(sslbind, Files, sys.argv[3])
        with Peer(server.wrap_socket, right, True) as peer:
            ours = client_context(sslbind, Files).wrap_socket(left, server_hostname=HOST)
            theirs = peer.finish()
        theirs.sendall(b"for the child")
        read, write = os.pipe()
        child = os.fork()
        if not child:
            status = 1
            try:
                os.read(read, 1)
                ours.settimeout(10)
                status = int(ours.recv(100) != b"for the child")
            finally:
                os._exit(status)
        ours.close()
        os.write(write, b"x")
        assert os.waitpid(child, 0)[1] == 0
        """,
        pki.ca,
        pki.server.both,
        version,
    )


def test_random_bytes_differ_after_fork():
    """Parent and child do not draw the same random bytes."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    output = run_script(
        """
        import os, sslbind
        sslbind.RAND_bytes(16)
        read, write = os.pipe()
        if not os.fork():
            os.write(write, sslbind.RAND_bytes(16))
            os._exit(0)
        mine, theirs = sslbind.RAND_bytes(16), os.read(read, 16)
        print(mine != theirs, len(theirs))
        """
    )
    assert output.split() == ["True", "16"]


def test_multiprocessing(pki, tmp_path):
    """Worker processes, spawned or forked, serve and fetch over sslbind."""
    script = tmp_path / "workers.py"
    script.write_text(
        """
import multiprocessing, sys
import sslbind
from links import client_context, server_context
from test_threads import handshakes

class Files:
    ca, both = sys.argv[1], sys.argv[2]
Files.server = Files

def work(ca, both):
    Files.ca, Files.both = ca, both
    handshakes(client_context(sslbind, Files), server_context(sslbind, Files), 3, sslbind)
    return "fine"

if __name__ == "__main__":
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(pool.starmap(work, [sys.argv[1:3]] * 2))
"""
    )
    output = run_script(
        """
        import subprocess, sys
        print(subprocess.run([sys.executable, *sys.argv[1:]], check=True,
              stdout=subprocess.PIPE, text=True).stdout)
        """,
        str(script),
        pki.ca,
        pki.server.both,
    )
    assert output.count("fine") >= 2


# --- Signals -----------------------------------------------------------------------------------

# The scripts run in the main thread of a process of their own, where handlers run.
SIGNALS = """
import signal, socket, ssl, sys, time
import sslbind
from links import HOST, Link, client_context, raw_pair, server_context

class Files:
    ca, both = sys.argv[1], sys.argv[2]
Files.server = Files
version, what = sys.argv[3], sys.argv[4]
heard = []

def operate():
    if what == "handshake":
        left, other = raw_pair()
        sock = client_context(sslbind, Files, version).wrap_socket(
            left, server_hostname=HOST, do_handshake_on_connect=False)
        return sock, other, sock.do_handshake
    made = Link(sslbind, Files, version)
    if what == "sendall":
        return made.ours, made.theirs, lambda: made.ours.sendall(b"x" * 50_000_000)
    if what == "unwrap":
        return made.ours, made.theirs, made.ours.unwrap
    return made.ours, made.theirs, lambda: getattr(made.ours, what)(100)

sock, other, call = operate()
"""

OPERATIONS = pytest.mark.parametrize("what", ("recv", "read", "handshake", "sendall", "unwrap"))


@OPERATIONS
def test_handler_runs_and_the_deadline_stands(pki, version, what):
    """A signal's handler runs during a blocking call, which then uses up the time that is left."""
    run_script(
        SIGNALS
        + """
signal.signal(signal.SIGALRM, lambda *_: heard.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
sock.settimeout(0.5)
begin = time.monotonic()
try:
    call()
except socket.timeout:
    pass
else:
    raise SystemExit("no timeout")
took = time.monotonic() - begin
signal.setitimer(signal.ITIMER_REAL, 0)
assert 0.45 <= took < 5, took
assert len(heard) >= 3, heard
""",
        pki.ca,
        pki.server.both,
        version,
        what,
    )


@pytest.mark.parametrize("timeout", ("None", "20"))
@OPERATIONS
def test_exception_in_a_handler_comes_out(pki, version, what, timeout):
    """What a handler raises ends the blocking call, as KeyboardInterrupt must."""
    run_script(
        SIGNALS
        + f"""
class Stop(Exception):
    pass

def stop(*_):
    raise Stop

signal.signal(signal.SIGALRM, stop)
sock.settimeout({timeout})
# Again and again: an exception that comes in a weak reference's callback is ignored by Python.
signal.setitimer(signal.ITIMER_REAL, 0.1, 1)
begin = time.monotonic()
try:
    call()
except Stop:
    signal.setitimer(signal.ITIMER_REAL, 0)
else:
    raise SystemExit("the call returned")
assert time.monotonic() - begin < 5
if what in ("recv", "read"):
    other.sendall(b"and on it goes")
    assert call() == b"and on it goes"
""",
        pki.ca,
        pki.server.both,
        version,
        what,
    )


def test_data_after_signals(pki, version):
    """Data that comes in between signals is delivered."""
    run_script(
        SIGNALS
        + """
import threading
enough = threading.Event()

def count(*_):
    heard.append(1)
    if len(heard) == 5:
        enough.set()

def answer():
    enough.wait(20)
    other.sendall(b"at last")

signal.signal(signal.SIGALRM, count)
threading.Thread(target=answer).start()
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
sock.settimeout(None)
assert call() == b"at last"
signal.setitimer(signal.ITIMER_REAL, 0)
""",
        pki.ca,
        pki.server.both,
        version,
        "recv",
    )


def test_a_handler_that_may_not_write(pki, version):
    """A write that a signal's handler tries is refused, and lets no other thread in between."""
    run_script(
        SIGNALS
        + """
import threading
data = b"x" * 6_000_000
received = []

def receive(size):
    while size > 0:
        received.append(other.recv(min(size, 65536)))
        size -= len(received[-1])

def write_in_between():
    try:
        sock.send(b"y")
    except ssl.SSLError as exc:
        heard.append(type(exc))

def write(*_):
    try:
        sock.send(b"y")
    except ssl.SSLError as exc:
        heard.append(str(exc))
    sock.settimeout(0)
    other.settimeout(0.5)
    try:
        receive(len(data))  # all that is under way, so that only the order is in the way of a write
    except socket.timeout:
        pass
    thread = threading.Thread(target=write_in_between)
    thread.start()
    thread.join()
    other.settimeout(20)
    rest = len(data) - sum(map(len, received))
    threading.Thread(target=receive, args=(rest,)).start()

signal.signal(signal.SIGALRM, write)
sock.settimeout(20)
signal.setitimer(signal.ITIMER_REAL, 0.2)
sock.sendall(data)
assert len(heard) == 2 and "a signal handler cannot write" in heard[0], heard
assert heard[1] is ssl.SSLWantWriteError, heard
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join()
assert b"".join(received) == data
""",
        pki.ca,
        pki.server.both,
        version,
        "sendall",
    )

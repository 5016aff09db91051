"""What C must not trust: odd objects, threads, and finalisers that use what is being collected.

The classes of native.c and those of _portable.py have to answer alike.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from links import Peer, memory_pair, shake_memory, shaken_pair
from links import client_context as new_client
from links import server_context as new_server
from outcomes import PYPY
from scripts import run_script

import sslbind
from sslbind import _conn
from sslbind._conn import _SSLSocket

host_ssl = pytest.importorskip("ssl", reason="needs foreign memory buffers")

LIMIT = 30.0  # seconds


@pytest.mark.parametrize("name", ("pending", "version", "cipher", "getpeercert", "_close"))
def test_half_made(name):
    """A connection that was never made raises; it does not crash."""
    half = object.__new__(_SSLSocket)
    with pytest.raises((ValueError, AttributeError)):
        getattr(half, name)()


def test_half_made_context():
    """A context is made by OpenSSL, or cannot be used."""
    with pytest.raises((TypeError, AttributeError)):
        _ = object.__new__(sslbind.SSLContext).options


def test_what_is_no_context():
    """C takes no object for a context that merely looks like one."""
    whole = sslbind.SSLContext(sslbind.PROTOCOL_TLS_CLIENT)
    likeness = SimpleNamespace(_protocol=whole.protocol)
    with pytest.raises((TypeError, AttributeError)):
        sslbind.SSLContext._wrap_bio(likeness, sslbind.MemoryBIO(), sslbind.MemoryBIO(), False)


class Proxy:
    """Says that it is a MemoryBIO, and passes everything on to one."""

    __class__ = property(lambda self: sslbind.MemoryBIO)

    def __init__(self):
        self._bio = sslbind.MemoryBIO()

    def __getattr__(self, name):
        return getattr(self._bio, name)


def test_proxy():
    """An object whose `__class__` lies is used by its methods, not by its memory."""
    incoming, outgoing = Proxy(), Proxy()
    context = sslbind.SSLContext(sslbind.PROTOCOL_TLS_CLIENT)
    tls = context.wrap_bio(incoming, outgoing, server_hostname="a.example")
    with pytest.raises(sslbind.SSLWantReadError):
        tls.do_handshake()
    assert outgoing.read()[:1] == b"\x16"


STAND_IN = """
import _ssl, io, sys

class StandIn:
    eof, pending = False, 0

    def __init__(self, *args):
        if not args and sys.argv[1] == "refuses":
            raise TypeError("an argument is needed")
        self.written = io.BytesIO()
        self.read, self.write = io.BytesIO().read, self.written.write

    def write_eof(self):
        raise AssertionError

_ssl.MemoryBIO = StandIn
import sslbind

context = sslbind.SSLContext(sslbind.PROTOCOL_TLS_CLIENT)
incoming, outgoing = StandIn(1), StandIn(1)
try:
    context.wrap_bio(incoming, outgoing, server_hostname="a.example").do_handshake()
except sslbind.SSLWantReadError:
    print(outgoing.written.getvalue()[0])
"""


@pytest.mark.parametrize("how", ("accepts", "refuses"))
def test_stand_in(how):
    """What somebody has put in the place of `_ssl.MemoryBIO` is used by its methods, too."""
    assert run_script(STAND_IN, how) == "22\n"


class Named(type):
    """A metaclass whose classes have a number for a name."""

    __name__ = property(lambda cls: 42)


class Refusing(type):
    """A metaclass whose classes do not tell their names."""

    @property
    def __name__(cls):
        raise KeyError("no name")


def test_odd_names():
    """The name in a TypeError may be any object, or none."""
    bio = sslbind.MemoryBIO()
    with pytest.raises(TypeError, match="bytes-like"):
        bio.write(Named("Odd", (), {})())
    with pytest.raises(KeyError):
        bio.write(Refusing("Odd", (), {})())


def released():
    """Return a view that is of no use any more."""
    view = memoryview(bytearray(4))
    view.release()
    return view


def test_released_view(mod, pki):
    """A released view is a ValueError to write, a TypeError to read into, as for stdlib."""
    left, _ = shaken_pair(mod, pki)
    with pytest.raises(ValueError, match="released"):
        mod.MemoryBIO().write(released())
    with pytest.raises(ValueError, match="released"):
        left.obj.write(released())
    with pytest.raises(TypeError, match="read-write"):
        left.obj.read(4, released())


class Unready(sslbind.MemoryBIO):
    """Does not call `super().__init__`."""

    def __init__(self, label, *, more=None):
        self.label = label


def test_subclass_without_init():
    """A subclass need not call `__init__`; calling it again loses nothing."""
    bio = Unready("x", more=1)
    bio.write(b"kept")
    sslbind.MemoryBIO.__init__(bio)
    assert bio.read() == b"kept"


def over_stdlib_buffers(pki, bio=host_ssl.MemoryBIO):
    """Return the two ends of a connection over stdlib's buffers, after the handshake."""
    contexts = new_client(sslbind, pki), new_server(sslbind, pki)
    kind = SimpleNamespace(MemoryBIO=bio)
    left, right = memory_pair(*contexts, client_mod=kind, server_mod=kind)
    shake_memory(left, right)
    return left, right


def take(end, size: int) -> bytes:
    """Return so many bytes, all that have come to an end."""
    got = bytearray()
    while len(got) < size:
        got += end.obj.read(65536)
    with pytest.raises(sslbind.SSLWantReadError):
        end.obj.read(1)
    return bytes(got)


def write_alone(end) -> None:
    """Write until other threads that wrote are forgotten: see is_shared() of native.c."""
    alone = time.monotonic() + 0.2
    while time.monotonic() < alone:
        end.obj.write(bytes(1 << 20))
        end.outgoing.read()


@pytest.fixture
def hurry():
    """Threads ask for the GIL every 10 us."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize(("size", "times"), [(300_000, 8), (1_500_000, 3)])
def test_writing_threads(pki, size, times):
    """Threads that write at once over stdlib's buffers wait for one another."""
    left, right = over_stdlib_buffers(pki)
    failures = []

    def write(letter):
        try:
            for _ in range(times):
                assert left.obj.write(letter * size) == size
        except BaseException as exc:
            failures.append(exc)

    letters = (b"a", b"b", b"c")
    threads = [threading.Thread(target=write, args=(c,), daemon=True) for c in letters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert not failures
    left.flush()
    got = take(right, size * times * len(letters))
    pieces = [got[i : i + size] for i in range(0, len(got), size)]
    assert sorted(pieces) == sorted(c * size for c in letters for _ in range(times))


@pytest.mark.usefixtures("hurry")
def test_others_run_during_a_large_write(pki):
    """They see the buffer fill, and what one of them writes comes behind, whole."""
    size, behind, end = 1 << 23, [], time.monotonic() + LIMIT
    while not behind and time.monotonic() < end:  # until another has had a turn amidst one
        left, right = over_stdlib_buffers(pki)
        done = threading.Event()

        def look(end=left, done=done):
            while not behind and not done.is_set():
                if 0 < end.outgoing.pending < size:
                    behind.append(end.obj.write(b"behind"))

        with Peer(look):
            assert left.obj.write(bytes(size)) == size
            done.set()
        left.flush()
        assert take(right, size + sum(behind)) == bytes(size) + b"behind" * len(behind)
    assert behind == [6]


@pytest.mark.usefixtures("hurry")
def test_fork_during_a_large_write(pki):
    """A child's writes are its own, and not the rest of that of a thread of its parent's."""
    left, _ = over_stdlib_buffers(pki)
    size, statuses, end = 1 << 23, [], time.monotonic() + LIMIT

    def fork():
        while not statuses and time.monotonic() < end:
            if 0 < left.outgoing.pending < size:
                child = os.fork()
                if child == 0:
                    status = 1
                    try:
                        written = [left.obj.write(bytes(n)) for n in (5, size)]
                        status = int(written != [5, size])
                    except sslbind.SSLError as exc:  # it came amidst OpenSSL's own write
                        ours = "when the process forked" in str(exc)
                        status = int(not ours or sslbind._ffi.native is not None)
                    finally:
                        os._exit(status)
                statuses.append(os.waitpid(child, 0)[1])

    write_alone(left)  # else the fork may always come there
    with Peer(fork):
        while not statuses and time.monotonic() < end:  # until it has had its turn amidst one
            left.obj.write(bytes(size))
            left.outgoing.read()
    assert statuses == [0]


SIZES = (1, 4096, 4097, 16384, 16385, 65537, 300_000, 1 << 20, (1 << 20) + 1, 3_000_000)


@pytest.mark.parametrize("shared", (False, True))
def test_writes_of_any_size(pki, shared):
    """What goes into stdlib's buffers is whole and in order, whether or not others write, too."""
    left, right = over_stdlib_buffers(pki)
    other = over_stdlib_buffers(pki)[0]
    said = [random.Random(size).randbytes(size) for size in (*SIZES, *reversed(SIZES))]
    for data in said:
        if shared:  # a thread that has just made a large write
            with Peer(other.obj.write, bytes(70_000)):
                pass
        assert left.obj.write(data) == len(data)
        assert left.outgoing.pending > len(data)
        left.flush()
    assert take(right, sum(map(len, said))) == b"".join(said)


def is_shared(pki) -> bool:
    """Does C write into what the interpreter's MemoryBIO is made of, and not by its methods?"""
    left, _ = over_stdlib_buffers(pki)
    left.outgoing.write_eof()
    try:
        return left.obj.write(b"word") == 4
    except host_ssl.SSLError:
        return False


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="which libraries are loaded?")
def test_buffers_are_shared(pki):
    """Where both modules use one OpenSSL, and nothing forbids it."""
    if PYPY:
        return
    binary = Path(sslbind._ffi._sslbind.__file__).read_bytes()
    maps = Path("/proc/self/maps").read_text().splitlines()
    loaded = {line.split()[-1] for line in maps if "/libcrypto" in line}
    expected = len(loaded) == 1 and b"libcrypto.so" in binary and "pumped" not in sys.modules
    assert is_shared(pki) == (expected and sslbind._ffi.native is not None)


@pytest.mark.usefixtures("hurry")
def test_what_waits_can_be_seen_during_a_large_write(pki):
    """Nobody finds the buffer without what was in it."""
    write_alone(over_stdlib_buffers(pki)[0])
    size, seen, end = 1 << 23, [], time.monotonic() + LIMIT
    while not seen and time.monotonic() < end:  # until somebody has had a turn amidst one
        left, right = over_stdlib_buffers(pki)
        left.obj.write(b"first")
        first, missing, done = left.outgoing.pending, [], threading.Event()

        def look(end=left, first=first, missing=missing, done=done):
            while not done.is_set():
                waits = end.outgoing.pending
                if waits < first:
                    missing.append(waits)
                elif first < waits < size:
                    seen.append(waits)

        with Peer(look):
            left.obj.write(bytes(size))
            done.set()
        left.flush()
        assert missing == []
        assert take(right, 5 + size) == b"first" + bytes(size)
    assert seen


@pytest.mark.usefixtures("hurry")
def test_what_waits_is_there_after_a_fork(pki):
    """A child finds what was in the buffer when its parent's other thread began a large write."""
    write_alone(over_stdlib_buffers(pki)[0])
    left, _ = over_stdlib_buffers(pki)
    left.obj.write(b"first")
    first, statuses, end = left.outgoing.pending, [], time.monotonic() + LIMIT

    def fork():
        while left.outgoing.pending == first and time.monotonic() < end:
            pass
        child = os.fork()
        if child == 0:
            os._exit(len(left.outgoing.read()) < first)
        statuses.append(os.waitpid(child, 0)[1])

    with Peer(fork):
        left.obj.write(bytes(1 << 24))
    assert statuses == [0]


@pytest.mark.usefixtures("hurry")
def test_readers_of_an_input_that_has_ended(pki):
    """What one of several threads has not read is there for the others, and no end before it."""
    for _ in range(300):
        left, right = over_stdlib_buffers(pki)
        got, start = [], threading.Barrier(3)
        for _ in range(6):
            right.obj.write(bytes(2600))
        right.flush()
        left.incoming.write_eof()
        left.obj.do_handshake()  # does nothing, but notes the end

        def read(tls=left.obj, got=got, start=start):
            start.wait(LIMIT)
            for _ in range(2):
                got.append(len(tls.read(2600)))

        peers = [Peer(read) for _ in range(3)]
        for peer in peers:
            peer.start()
        for peer in peers:
            peer.join(LIMIT)
            peer.finish()
        assert got == [2600] * 6


@pytest.mark.parametrize("held", (0, 5000, 200_000))
def test_what_waits_stays_in_front(pki, held):
    """Records come behind those that nobody has fetched yet, whoever's memory they are in."""
    left, right = over_stdlib_buffers(pki)
    said = b""
    for size in (held, 10, 300_000, 4096, 4097, 20_000, held, 1):
        data = random.Random(size).randbytes(size)
        before = left.outgoing.pending
        assert left.obj.write(data) == size
        assert left.outgoing.pending >= before + size
        said += data
    left.flush()
    right.obj.write(b"answer")
    right.flush()
    assert left.obj.read(100) == b"answer"
    assert take(right, len(said)) == said


def test_what_is_not_read_stays(pki):
    """Reading a part leaves the rest to be read, also behind what comes later."""
    left, right = over_stdlib_buffers(pki)
    said, got = random.Random(5).randbytes(400_000), b""
    left.obj.write(said)
    encrypted = left.outgoing.read()
    for start in range(0, len(encrypted), 90_000):
        right.incoming.write(encrypted[start : start + 90_000])
        got += right.obj.read(1000)
        right.obj.write(b"between")
        got += right.obj.read(30_000)
    assert got + take(right, len(said) - len(got)) == said
    assert right.incoming.pending == 0


class Own:
    """A buffer of another class than the interpreter's."""

    def __init__(self) -> None:
        self._bio = host_ssl.MemoryBIO()

    def __getattr__(self, name):
        return getattr(self._bio, name)


@pytest.mark.parametrize("size", (10, 100_000))
@pytest.mark.parametrize("bio", (host_ssl.MemoryBIO, Own))
def test_buffer_that_takes_no_more(pki, bio, size):
    """What a buffer raises comes out of the write, and the connection is of no more use."""
    if bio is host_ssl.MemoryBIO and is_shared(pki):
        pytest.skip("C writes into what it is made of, as the interpreter's ssl does")
    left, _ = over_stdlib_buffers(pki, bio)
    left.outgoing.write_eof()
    with pytest.raises(host_ssl.SSLError, match="write_eof"):
        left.obj.write(bytes(size))
    with pytest.raises(host_ssl.SSLError):
        left.obj.write(bytes(size))


# Where the interpreter has an OpenSSL of its own.
PUMPED = """
from sslbind import _conn
_conn._environment = _conn.native.environment(*_conn._parts, False)
"""

OVERTAKING = """
import ssl, sslbind, sys, threading, time
from links import memory_pair, shake_memory

sys.setswitchinterval(1000)  # the writer keeps the GIL until it is in its write
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(sys.argv[1])
server.load_verify_locations(sys.argv[2])
server.post_handshake_auth, server.verify_mode = True, ssl.CERT_OPTIONAL
client = sslbind.SSLContext(sslbind.PROTOCOL_TLS_CLIENT)
client.load_verify_locations(sys.argv[2])
client.post_handshake_auth = True
size = 8_000_000
for said in (b"x" * 50, b"x" * 5000) * 3:
    left, right = memory_pair(client, server, client_mod=ssl, server_mod=ssl)
    shake_memory(left, right)
    right.obj.write(bytes(size))
    right.obj.verify_client_post_handshake()
    right.obj.write(b"!")  # and the request for a certificate, which the reader answers
    right.flush()
    begun = threading.Event()

    def read():
        left_over, buffer = size + 1, bytearray(2 * size)
        begun.set()
        while left_over:
            left_over -= left.obj.read(2 * size, buffer)

    reader = threading.Thread(target=read)
    reader.start()
    begun.wait()
    late = time.monotonic() + 0.05
    while time.monotonic() < late:
        pass
    left.obj.write(said)
    reader.join()
    left.flush()
    print(right.obj.read(9000) == said)
"""


in_both_ways = pytest.mark.parametrize(
    "before",
    (
        "",
        pytest.param(PUMPED, marks=pytest.mark.skipif(_conn.native is None, reason="without C")),
    ),
    ids=("", "pumped"),
)


@in_both_ways
def test_no_overtaking(pki, before):
    """A write that is held up before it has the lock comes behind what a reader has to answer."""
    assert run_script(before + OVERTAKING, pki.server.both, pki.ca) == "True\n" * 6


COLLECTED_MEANWHILE = """
import gc, ssl, sslbind, sys
from links import memory_pair, shake_memory

server = sslbind.SSLContext(sslbind.PROTOCOL_TLS_SERVER)
server.load_cert_chain(sys.argv[1])
client = sslbind.SSLContext(sslbind.PROTOCOL_TLS_CLIENT)
client.load_verify_locations(sys.argv[2])
left, right = memory_pair(client, server, client_mod=ssl, server_mod=ssl)
shake_memory(left, right)
written = refused = 0

class Garbage:
    def __init__(self):
        self.cycle = self

    def __del__(self):
        global written, refused
        try:
            written += left.obj.write(b"!")
        except (ValueError, ssl.SSLError):  # within a turn, or between two
            refused += 1

size, times = 200_000, 40
gc.set_threshold(1)
for n in range(times):
    Garbage()
    assert left.obj.write(bytes([n + 100]) * size) == size
gc.set_threshold(700)
gc.collect()
left.flush()
got = b""
while len(got) < size * times + written:
    got += right.obj.read(1 << 20)
whole = all(len(run) % size == 0 for run in got.split(b"!"))
said = b"".join(bytes([n + 100]) * size for n in range(times))
print(written + refused == times, whole, got.replace(b"!", b"") == said)
"""


@in_both_ways
@pytest.mark.skipif(not hasattr(gc, "set_threshold"), reason="no way to make it happen")
def test_collected_meanwhile(pki, before):
    """A finaliser that runs within a write may use the connection, or is told why not."""
    out = run_script(before + COLLECTED_MEANWHILE, pki.server.both, pki.ca)
    assert out == "True True True\n"


FAILED_WRITE = """
import socket, sslbind, sys, threading
sys.setswitchinterval(1e-5)
server = sslbind.SSLContext(sslbind.PROTOCOL_TLS_SERVER)
server.load_cert_chain(sys.argv[1])
client = sslbind.SSLContext(sslbind.PROTOCOL_TLS_CLIENT)
client.check_hostname, client.verify_mode = False, sslbind.CERT_NONE

def callback(*args):
    for _ in range(50):
        pass

client._msg_callback = callback
near, far = socket.socketpair()
near.settimeout(30)
far.settimeout(30)
peers = []
thread = threading.Thread(target=lambda: peers.append(server.wrap_socket(far, server_side=True)))
thread.start()
tls = client.wrap_socket(near)
thread.join()
tls.settimeout(0)
try:
    while True:
        tls.write(bytes(16384))
except sslbind.SSLWantWriteError:
    pass
ended = threading.Event()

def feed():
    for _ in range(3000):
        peers[0].send(bytes(100))
    ended.set()

def write():
    while not ended.is_set():
        try:
            tls.write(bytes(16384))
        except sslbind.SSLWantWriteError:
            pass

threads = [threading.Thread(target=work, daemon=True) for work in (feed, write)]
for thread in threads:
    thread.start()
while not ended.is_set():
    try:
        tls.read(100)
    except sslbind.SSLWantReadError:
        pass
for thread in threads:
    thread.join()
print("done")
"""


def test_failed_write_beside_callbacks(pki):
    """A write that fails takes the connection's lock while a callback waits for the GIL.

    In a process of its own: two threads that wait for each other would never end.
    """
    assert run_script(FAILED_WRITE, pki.server.both, limit=60.0) == "done\n"


COLLECTED = """
import gc, ssl, sslbind, sys
from links import memory_pair, shake_memory

class Holder:  # in a cycle with what it holds, which its finaliser uses
    def __init__(self, use, *things):
        self.use, self.things, self.cycle = use, things, self

    def __del__(self):
        results.append(self.use(*self.things))

def use_context(context):
    tls = context.wrap_bio(sslbind.MemoryBIO(), sslbind.MemoryBIO())
    try:
        tls.do_handshake()
    except sslbind.SSLWantReadError:
        return context.cert_store_stats()["x509"]

def use_connection(connection, session, chain):
    encoded = chain[0].public_bytes()
    return connection.write(b"end"), len(session.id), ssl.PEM_cert_to_DER_cert(encoded) == der

def new_client():
    client = sslbind.SSLContext(sslbind.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(sys.argv[2])
    return client

results = []
server = sslbind.SSLContext(sslbind.PROTOCOL_TLS_SERVER)
server.load_cert_chain(sys.argv[1])
for mod in (sslbind, ssl):
    left, right = memory_pair(new_client(), server, client_mod=mod, server_mod=mod)
    shake_memory(left, right)
    right.obj.write(b"x")
    right.flush()
    left.obj.read(1)
    der = left.obj.getpeercert(True)
    connection = left.obj._sslobj
    Holder(use_connection, connection, left.obj.session, connection.get_verified_chain())
    Holder(use_context, new_client())
    del left, right, connection
    for _ in range(4):  # PyPy
        gc.collect()
print(sorted(results, key=str))
"""


def test_collected(pki, monkeypatch):
    """A finaliser of a collected cycle can use the TLS objects in it.

    What the C library has freed is overwritten there, for an early end to be seen.
    """
    monkeypatch.setenv("MALLOC_PERTURB_", "165")
    out = run_script(COLLECTED, pki.server.both, pki.ca)
    assert out == "[(3, 32, True), (3, 32, True), 1, 1]\n"


RAISING = """
import sslbind, sys
from links import memory_pair

def callback(*args):
    raise KeyError("from the callback")

server = sslbind.SSLContext(sslbind.PROTOCOL_TLS_SERVER)
server.load_cert_chain(sys.argv[1])
server.sni_callback = callback
client = sslbind.SSLContext(sslbind.PROTOCOL_TLS_CLIENT)
client.check_hostname, client.verify_mode = False, sslbind.CERT_NONE
left, right = memory_pair(client, server, client_mod=sslbind, server_mod=sslbind)
for end, other in ((left, right), (right, left), (left, right)):
    try:
        end.obj.do_handshake()
    except sslbind.SSLWantReadError:
        pass
    except sslbind.SSLError as exc:
        print(exc.reason)
    end.flush()
"""


def test_callback_without_hook(pki):
    """Without a hook of the program's what a callback raised is printed, and its alert sent."""
    body = "import sys; sys.stderr = sys.stdout\n" + RAISING
    out = run_script(body, pki.server.both)
    assert "KeyError: 'from the callback'" in out
    assert "TypeError" not in out
    assert "ALERT_HANDSHAKE_FAILURE" in out


SUBINTERPRETER = """
import sys
import _xxsubinterpreters as interpreters

arguments = f"import sys; sys.path[:] = {sys.path!r}; sys.argv[1:] = {sys.argv[1:]!r}"
interpreters.run_string(interpreters.create(), arguments + '''
import sslbind
from links import memory_pair, shake_memory

def called(*args):
    raise AssertionError("cannot be called here")

server = sslbind.SSLContext(sslbind.PROTOCOL_TLS_SERVER)
server.load_cert_chain(sys.argv[1])
client = sslbind.SSLContext(sslbind.PROTOCOL_TLS_CLIENT)
client.load_verify_locations(sys.argv[2])
client._msg_callback = called
left, right = memory_pair(client, server, client_mod=sslbind, server_mod=sslbind)
shake_memory(left, right)
left.obj.write(b"abc")
left.flush()
print(right.obj.read(9))
server.sni_callback = called
left, right = memory_pair(client, server, client_mod=sslbind, server_mod=sslbind)
try:
    shake_memory(left, right)
except sslbind.SSLError as exc:
    print(exc.reason)
sys.stdout.flush()
''')
"""


@pytest.mark.skipif(
    sslbind._ffi.native is None or sys.version_info >= (3, 12),
    reason="cffi cannot be imported in a subinterpreter",
)
def test_subinterpreter(pki):
    """There cffi calls nobody back: nothing hangs, and what a callback is to allow is refused."""
    out = run_script(SUBINTERPRETER, pki.server.both, pki.ca)
    assert out == "b'abc'\nCALLBACK_FAILED\n"

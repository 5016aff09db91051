"""Signal handlers in the middle of an operation, and sizes and names of unusual types."""

from __future__ import annotations

import decimal
import ssl

import pytest
from links import Peer, client_context, memory_pair, raw_pair, server_context, shake_memory
from outcomes import ORACLE, outcome
from pki import HOST

import sslbind
from sslbind import _errors, _ffi
from sslbind._ffi import ffi, lib


@pytest.fixture
def ends(pki):
    """Two sockets of sslbind after their handshake."""
    left, right = raw_pair("unix")
    client, server = client_context(sslbind, pki), server_context(sslbind, pki)
    with Peer(lambda: server.wrap_socket(right, server_side=True)) as peer:
        ours = client.wrap_socket(left, server_hostname=HOST)
    theirs = peer.finish()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_interruption_is_a_number(ends):
    """It says how long to go on, and owns no memory, which a handler that raises would leak."""
    ours, theirs = ends
    conn, buf = ours._sslobj._c_conn, ffi.new("char[16]")
    result = lib.sb_conn_read(conn, buf, 16, -1.0)
    assert result <= _ffi.AGAIN
    assert lib.sb_conn_read(conn, buf, 16, result) <= _ffi.AGAIN
    theirs.sendall(b"late")
    while result <= _ffi.AGAIN:
        result = lib.sb_conn_read(conn, buf, 16, result)
    assert (result, ffi.buffer(buf, result)[:]) == (4, b"late")


def test_interruptions_keep_the_deadline(ends):
    """The time that is left gets less from one to the next, until the operation times out."""
    conn, buf = ends[0]._sslobj._c_conn, ffi.new("char[16]")
    left, result = [], lib.sb_conn_read(conn, buf, 16, 0.2)
    while result <= _ffi.AGAIN:
        left.append(_ffi.AGAIN - result)
        result = lib.sb_conn_read(conn, buf, 16, result)
    status, _ = _ffi.unpack(result)
    assert status == _ffi.TIMEOUT
    assert left
    assert left == sorted(left, reverse=True)
    assert left[0] < 2 * 10**8  # nanoseconds


class _Reentrant:
    """A memory buffer of the stdlib in whose read() or write() something else happens once."""

    def __init__(self) -> None:
        self.bio = ssl.MemoryBIO()
        self.event = None

    def __getattr__(self, name):
        return getattr(self.bio, name)

    def _happen(self) -> None:
        event, self.event = self.event, None
        if event is not None:
            event()

    def read(self, *size) -> bytes:
        data = self.bio.read(*size)
        self._happen()
        return data

    def write(self, data) -> int:
        self._happen()
        return self.bio.write(data)


@pytest.fixture
def pumped(pki):
    """A client over another module's buffers, and a server of the stdlib."""

    class Buffers:
        MemoryBIO = _Reentrant

    left, right = memory_pair(
        client_context(sslbind, pki), server_context(ssl, pki), HOST, client_mod=Buffers
    )
    shake_memory(left, right)
    return left, right


def _in_a_thread(call):
    with Peer(call) as peer:
        pass
    return peer.finish()


def test_handler_writes_while_bytes_go_out(pumped):
    """A signal handler's write neither waits for the write below it nor overtakes that."""
    left, right = pumped
    left.outgoing.event = lambda: left.obj.write(b"second ")
    assert _in_a_thread(lambda: left.obj.write(b"first ")) == 6
    left.flush()
    assert right.obj.read(100) + right.obj.read(100) == b"first second "


def test_handler_reads_while_bytes_come_in(pumped):
    """A signal handler's read, of bytes that the read below has just taken, does not hang."""
    left, right = pumped
    right.obj.write(b"word")
    right.flush()
    told = []
    left.incoming.event = lambda: told.append(outcome(left.obj.read, 10).error)
    assert _in_a_thread(lambda: left.obj.read(10)) == b"word"
    assert told == ["SSLWantReadError"]


class _Index:
    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value

    def __repr__(self) -> str:
        return f"index{self.value}"


_SIZES = (_Index(3), _Index(0), _Index(-1), True, 1.5, 1e9, decimal.Decimal(3), None, "3", -(2**70))


@pytest.mark.skipif(not ORACLE, reason="the oracle's parser takes other types there")
@pytest.mark.parametrize("size", [*_SIZES, 2**31, 2**70], ids=repr)
def test_size_as_the_stdlib(pki, size):
    """What is no integer is refused, however large; what can be one is taken as that."""
    told = []
    for mod in (sslbind, ssl):
        client, server = client_context(mod, pki), server_context(mod, pki)
        left, right = memory_pair(client, server, client_mod=mod, server_mod=mod)
        shake_memory(left, right)
        right.obj.write(b"words")
        right.flush()
        told.append(outcome(left.obj.read, size))
    if size == -(2**70):  # out of range, and negative: either is told
        assert {answer.error for answer in told} <= {"OverflowError", "ValueError"}
    else:
        assert told[0] == told[1]


class _Odd(str):
    """A text that is like others of the same hash, says it, and has no hash of its own."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None


class _Impostor(str):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("bücher.example")

    def encode(self, *args) -> bytes:
        return b"other.example"


def test_host_names_of_subclasses(mod):
    """A subclass of str is encoded as it says, and leaves nothing behind for a plain str."""
    context = mod.SSLContext(mod.PROTOCOL_TLS_CLIENT)
    assert context._encode_hostname(_Odd("example.org")) == "example.org"
    assert context._encode_hostname(_Impostor("bücher.example")) == "other.example"
    assert context._encode_hostname("bücher.example") == "xn--bcher-kva.example"


def test_exception_that_another_thread_took(ends):
    """A callback's exception that is gone when its operation looks does not spoil the result."""
    sslobj = ends[0]._sslobj
    assert sslobj._go_on(5, "read", lib.sb_conn_read) == 5
    with pytest.raises(sslbind.SSLWantReadError):
        sslobj._go_on(_ffi.WANT_READ, "read", lib.sb_conn_read)
    assert isinstance(_errors.make(_ffi.WANT_WRITE, None), sslbind.SSLWantWriteError)

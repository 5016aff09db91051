"""Bytes arrive whole, in order, and in time for programs that wait with `select`.

Readiness is the hard part: an engine that reads ahead swallows records, or a close_notify, that
`select` then never reports, and one that leaves half a record in the kernel makes a `select` loop
spin. Every test here holds for the stdlib too.
"""

from __future__ import annotations

import array
import contextlib
import errno
import hashlib
import random
import select
import socket
import ssl
import struct
import sys
import time
from unittest.mock import Mock

import pytest
from links import DEADLINE, Peer, Wire, readable, server_context, shaken_pair

import sslbind

LARGE = 262144  # bytes; what asyncio asks for in each read
SIZES = pytest.mark.parametrize("size", (1, 7, 16384, LARGE))


class Reader:
    """A program that waits with `select` and reads `size` bytes at most: what it got, and when."""

    def __init__(self, sock, size: int, use_pending: bool = True) -> None:
        self.sock, self.size, self.use_pending = sock, size, use_pending
        self.data = bytearray()
        self.ended = False
        self.idle_wakes = 0

    def ready(self) -> bool:
        """Tell whether such a program would try to read now."""
        return readable(self.sock) or (self.use_pending and self.sock.pending() > 0)

    def drain(self) -> Reader:
        """Read as long as there is reason to; never spin."""
        self.idle_wakes = 0
        while not self.ended and self.ready():
            try:
                chunk = self.sock.recv(self.size)
            except ssl.SSLWantReadError:
                self.idle_wakes += 1
                # One wake for a record's beginning is fair. More with nothing new is a spin.
                assert self.idle_wakes <= 2, "select reports data that recv does not take"
                continue
            assert len(chunk) <= self.size
            self.data += chunk
            self.ended = chunk == b""
        return self


def plaintext_by(offset: int, lengths: list[int], messages: list[bytes]) -> bytes:
    """Return what the records that are complete after `offset` bytes of the stream carry."""
    whole, end = b"", 0
    for length, message in zip(lengths, messages):
        end += length
        if end <= offset:
            whole += message
    return whole


def records_of(made: Wire, messages: list[bytes]) -> list[bytes]:
    """Return the peer's record for each message; b"" stands for close_notify."""
    return [made.say(message) for message in messages]


def repr_short(messages: list[bytes]) -> str:
    """Return a name for a list of messages."""
    return "+".join(str(len(message)) for message in messages)


# --- Every split of a short stream -------------------------------------------------------------


@SIZES
def test_every_split_of_two_records(mod, wire, version, family, size):
    """Two records cut at any byte: what is complete is delivered, and nothing spins or hangs."""
    made = wire(mod, version, family)
    messages = [b"first", b"second!"]
    split = 0
    while True:
        records = records_of(made, messages)
        stream = b"".join(records)
        if split > len(stream):
            break
        reader = Reader(made.ours, size)
        made.feed(stream[:split])
        expected = plaintext_by(split, [len(record) for record in records], messages)
        assert bytes(reader.drain().data) == expected, split
        made.feed(stream[split:])
        assert bytes(reader.drain().data) == b"".join(messages), split
        assert not readable(made.ours), split
        assert made.ours.pending() == 0, split
        split += 1


@pytest.mark.parametrize("size", (1, LARGE))
def test_every_split_with_goodbye(mod, pki, version, family, size):
    """Two records and a close_notify cut at any byte: the end is seen, and not too soon."""
    messages = [b"ab", b"cde", b""]
    split = 0
    while True:
        with Wire(mod, pki, version, family) as made:
            records = records_of(made, messages)
            stream = b"".join(records)
            if split > len(stream):
                break
            lengths = [len(record) for record in records]
            reader = Reader(made.ours, size)
            made.feed(stream[:split])
            reader.drain()
            assert bytes(reader.data) == plaintext_by(split, lengths, messages), split
            assert reader.ended == (split == len(stream)), split
            made.feed(stream[split:])
            reader.drain()
            assert bytes(reader.data) == b"abcde", split
            assert reader.ended, split
        split += 1


@pytest.mark.parametrize("goodbye", (False, True))
@pytest.mark.parametrize("size", (4096, 16384, LARGE))
def test_splits_behind_a_large_record(mod, pki, version, family, size, goodbye):
    """What follows a large record, cut at any byte of its header: seen as soon as it is whole."""
    messages = [b"x" * 9000, b"" if goodbye else b"next"]
    for beyond in range(-3, 9):
        with Wire(mod, pki, version, family) as made:
            first, second = records_of(made, messages)
            reader = Reader(made.ours, size)
            made.feed((first + second)[: len(first) + beyond])
            reader.drain()
            assert bytes(reader.data) == (messages[0] if beyond >= 0 else b""), beyond
            made.feed((first + second)[len(first) + beyond :])
            reader.drain()
            assert bytes(reader.data) == b"".join(messages), beyond
            assert reader.ended == goodbye, beyond
            assert not readable(made.ours) or goodbye


@pytest.mark.parametrize("length", (40, 9000))
@pytest.mark.parametrize("size", (4096, 16384, LARGE))
def test_part_of_a_record_behind_a_large_one(mod, pki, version, family, size, length):
    """The first is delivered at once, and the second as soon as `select` tells of its rest."""
    messages = [b"x" * 9000, b"y" * length, b"z"]
    for beyond in (5, 6, 25, -300, -16, -1, 0):
        with Wire(mod, pki, version, family) as made:
            first, second, third = records_of(made, messages)
            cut = len(first) + (beyond if beyond > 0 else max(5, len(second) + beyond))
            stream = first + second + third
            reader = Reader(made.ours, size)
            made.feed(stream[:cut])
            reader.drain()
            expected = messages[0] + (messages[1] if beyond == 0 else b"")
            assert bytes(reader.data) == expected, beyond
            assert not readable(made.ours), beyond
            made.feed(stream[cut:])
            reader.drain()
            assert bytes(reader.data) == b"".join(messages), beyond


@pytest.mark.parametrize("reset", (False, True))
@pytest.mark.parametrize("size", (4096, LARGE))
def test_end_amidst_a_record_behind_a_large_one(mod, wire, version, size, reset):
    """What was whole is delivered, and `select` tells of the end; reading on raises."""
    made = wire(mod, version, "tcp")
    made.ours.suppress_ragged_eofs = False
    first, second = records_of(made, [b"x" * 9000, b"y" * 9000])
    reader = Reader(made.ours, size)
    made.feed(first + second[:4000])
    assert bytes(reader.drain().data) == b"x" * 9000
    if reset:
        made.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        made.raw.close()
    else:
        made.raw.shutdown(socket.SHUT_WR)
    assert readable(made.ours, DEADLINE)
    after_reset = OSError if mod is ssl else ConnectionResetError  # cpython#115627
    with pytest.raises(after_reset if reset else ssl.SSLEOFError):
        made.ours.recv(size)


@pytest.mark.parametrize("cut", (0, 3, 5, 4000))
def test_end_behind_what_is_delivered(mod, wire, version, cut):
    """An end that came amidst the next record is for the next read: a write is not in its way."""
    made = wire(mod, version, "tcp")
    first, second = records_of(made, [b"x" * 9000, b"y" * 9000])
    made.feed(first + second[:cut])
    made.raw.shutdown(socket.SHUT_WR)
    assert len(made.ours.recv(LARGE)) == 9000
    assert made.ours.send(b"answer") == 6
    made.carry()
    assert made.theirs.read(6) == b"answer"
    with pytest.raises(ssl.SSLEOFError):
        made.ours.unwrap()


@pytest.mark.parametrize("step", (1, 2, 3, 5, 21, 22, 23, 24, 29, 40))
def test_small_pieces(mod, wire, version, family, step):
    """A stream of records and a close_notify that trickles in, a few bytes at a time."""
    made = wire(mod, version, family)
    messages = [bytes([65 + n]) * (n + 1) for n in range(8)] + [b""]
    records = records_of(made, messages)
    stream, lengths = b"".join(records), [len(record) for record in records]
    reader = Reader(made.ours, LARGE)
    for begin in range(0, len(stream), step):
        made.feed(stream[begin : begin + step])
        reader.drain()
        expected = plaintext_by(begin + step, lengths, messages)
        assert bytes(reader.data) == expected
    assert reader.ended


@pytest.mark.parametrize("size", (16384, LARGE))
def test_select_alone_is_enough_for_large_reads(mod, wire, version, family, size):
    """A program that reads at least 16384 bytes at once never needs `pending()`."""
    made = wire(mod, version, family)
    reader = Reader(made.ours, size, use_pending=False)
    total = b""
    for count in (1, 2, 3, 20, 100):
        messages = [bytes([n]) * (n * 37 % 500 + 1) for n in range(count)]
        made.feed(made.say(*messages))
        total += b"".join(messages)
        assert bytes(reader.drain().data) == total
    made.feed(made.say(b"the end", b""))
    reader.drain()
    assert bytes(reader.data) == total + b"the end"
    assert reader.ended


def test_full_records(mod, wire, version):
    """Records of the full 16384 bytes come out whole for every size around theirs."""
    made = wire(mod, version, "tcp")
    big = bytes(range(256)) * 64
    for size in (1000, 16383, 16384, 16385, 32767, 32768, 40000, LARGE):
        reader = Reader(made.ours, size)
        made.feed(made.say(big, big, b"tail"))
        assert bytes(reader.drain().data) == big + big + b"tail", size
        assert not readable(made.ours)


@SIZES
def test_data_and_goodbye_together(mod, wire, version, family, size):
    """After data that came with a close_notify, `select` still reports the end."""
    made = wire(mod, version, family)
    made.feed(made.say(b"last words", b""))
    got = b""
    while len(got) < 10:
        assert readable(made.ours) or made.ours.pending()
        got += made.ours.recv(size)
    assert got == b"last words"
    assert readable(made.ours)
    assert made.ours.recv(size) == b""
    assert made.ours.recv(size) == b""


@SIZES
def test_data_and_abrupt_end_together(mod, wire, version, family, size):
    """After data that came with the end of TCP, `select` still reports the end."""
    made = wire(mod, version, family)
    made.feed(made.say(b"last words"))
    made.raw.shutdown(socket.SHUT_WR)
    got = b""
    while len(got) < 10:
        assert readable(made.ours) or made.ours.pending()
        got += made.ours.recv(size)
    assert readable(made.ours, DEADLINE)
    assert made.ours.recv(size) == b""


def test_abrupt_end_is_told_again(link, version):
    """However often one reads on, and also to whoever then writes (OpenSSL 4.0 says it once).

    Over TCP: elsewhere OpenSSL's own alert can fail, and with it, otherwise, what comes later.
    """
    made = link(sslbind, version)
    made.theirs.close()
    assert [made.ours.recv(LARGE) for _ in range(3)] == [b""] * 3
    made.ours.suppress_ragged_eofs = False
    for operation, argument in ((made.ours.read, 1), (made.ours.write, b"x")):
        with pytest.raises(ssl.SSLEOFError):
            operation(argument)


@pytest.mark.parametrize(
    "messages",
    ([b""], [b"data", b""], [b"a", b"b", b"c", b""], [b"x" * 9000, b""], [b"x" * 9000, b"y", b""]),
    ids=repr_short,
)
@pytest.mark.parametrize("size", (4, LARGE))
def test_plain_text_after_goodbye_stays(mod, wire, version, family, messages, size):
    """Bytes that follow the peer's close_notify belong to the plain socket that unwrap returns."""
    made = wire(mod, version, family)
    made.feed(made.say(*messages) + b"plain again")
    reader = Reader(made.ours, size)
    while not reader.ended:
        assert reader.ready()
        chunk = made.ours.recv(size)
        reader.data += chunk
        reader.ended = not chunk
    assert bytes(reader.data) == b"".join(messages)
    assert readable(made.ours)
    made.ours.settimeout(DEADLINE)
    with made.ours.unwrap() as plain:
        assert plain.recv(100) == b"plain again"
        made.carry()
        plain.sendall(b"and back")
        assert made.raw.recv(100) == b"and back"


@pytest.mark.parametrize("text", (b"GET / HTTP/1.1", b"220 smtp ready"))
def test_plain_text_instead_of_tls_stays(mod, pki, version, text):
    """A program that offers both finds all but a header's length of it, as with the stdlib."""
    incoming = mod.MemoryBIO()
    context = server_context(mod, pki, version)
    server = context.wrap_bio(incoming, mod.MemoryBIO(), server_side=True)
    incoming.write(text + bytes(20000))
    with pytest.raises(ssl.SSLError):
        server.do_handshake()
    assert incoming.read() == text[5:] + bytes(20000)


def test_unwrap_straight_to_plain_text(mod, wire, version, family):
    """`unwrap` without a read before it leaves what follows close_notify alone, too."""
    made = wire(mod, version, family)
    made.feed(made.say(b"") + b"plain again")
    made.ours.settimeout(DEADLINE)
    with made.ours.unwrap() as plain:
        assert plain.recv(100) == b"plain again"


@pytest.mark.parametrize("cut", (0, 1, 4, 5, 6, 20))
def test_unwrap_waits_for_a_goodbye_in_pieces(mod, wire, version, family, cut):
    """`unwrap` on a non-blocking socket wants to read until close_notify is complete."""
    made = wire(mod, version, family)
    goodbye = made.say(b"")
    made.feed(goodbye[:cut])
    for _ in range(2):
        with pytest.raises(ssl.SSLWantReadError):
            made.ours.unwrap()
    made.feed(goodbye[cut:] + b"plain")
    with made.ours.unwrap() as plain:
        assert plain.recv(100) == b"plain"


def test_detached_descriptor_carries_on(mod, wire, version):
    """What has not been delivered is still in the kernel for whoever gets the descriptor."""
    made = wire(mod, version, "tcp")
    first, second = made.say(b"first"), made.say(b"second")
    made.feed(first + second)
    assert made.ours.recv(5) == b"first"
    with socket.socket(fileno=made.ours.detach()) as plain:
        plain.settimeout(DEADLINE)
        got = b""
        while len(got) < len(second):
            got += plain.recv(100)
        assert got == second


def test_edge_triggered_poll(mod, wire, version):
    """A record's second half wakes a program that waits edge-triggered, once it has seen EAGAIN."""
    if not hasattr(select, "EPOLLET"):
        pytest.skip("edge-triggered epoll is Linux's own")
    made = wire(mod, version, "tcp")
    record = made.say(b"whole")
    poll = select.epoll()
    poll.register(made.ours.fileno(), select.EPOLLIN | select.EPOLLET)
    made.feed(record[:10])
    assert poll.poll(DEADLINE)
    with pytest.raises(ssl.SSLWantReadError):
        made.ours.recv(LARGE)
    made.feed(record[10:])
    assert poll.poll(DEADLINE)
    assert made.ours.recv(LARGE) == b"whole"
    poll.close()


# --- What one call returns ---------------------------------------------------------------------


@pytest.mark.parametrize("size", (1, 2, 100, 1000, 16384, LARGE))
def test_recv_never_returns_more(mod, wire, version, family, size):
    """`recv(n)` returns between 1 and n bytes while there are some."""
    made = wire(mod, version, family)
    message = random.Random(1).randbytes(1500)
    made.feed(made.say(message, message))
    got = b""
    while len(got) < 3000:
        chunk = made.ours.recv(size)
        assert 0 < len(chunk) <= size
        got += chunk
    assert got == message * 2


def test_recv_into_never_writes_more(mod, wire, version, family):
    """`recv_into` touches nothing beyond `nbytes`, or beyond the buffer."""
    made = wire(mod, version, family)
    made.feed(made.say(b"x" * 100))
    buffer = bytearray(b"." * 50)
    assert made.ours.recv_into(buffer, 7) == 7
    assert buffer == b"x" * 7 + b"." * 43
    assert made.ours.recv_into(memoryview(buffer)[10:20]) == 10
    assert buffer == b"x" * 7 + b"..." + b"x" * 10 + b"." * 30
    assert made.ours.recv_into(buffer, 0) == 50
    assert made.ours.recv_into(buffer) == 33
    assert made.ours.pending() == 0


def test_several_records_in_one_call(wire, version, family):
    """A large read takes all the whole records that are there, in one call."""
    made = wire(sslbind, version, family)
    messages = [bytes([n]) * 1000 for n in range(10)]
    made.feed(made.say(*messages))
    got = made.ours.recv(LARGE)
    if sslbind.SSLSocket is ssl.SSLSocket:
        pytest.skip("the stdlib stands in for sslbind, and reads one record a call")
    assert len(got) > 1000
    assert b"".join(messages).startswith(got)
    assert bytes(got + Reader(made.ours, LARGE).drain().data) == b"".join(messages)


def test_a_part_of_a_record_is_pending(mod, wire, version, family):
    """`pending` tells the bytes of a record that has been read in part; then `select` is silent."""
    made = wire(mod, version, family)
    made.feed(made.say(b"0123456789"))
    assert made.ours.pending() == 0
    assert made.ours.recv(3) == b"012"
    assert made.ours.pending() == 7
    assert not readable(made.ours)
    assert made.ours.recv(LARGE) == b"3456789"
    assert made.ours.pending() == 0


def test_recv_does_not_wait_for_more(mod, link, version, family):
    """A blocking `recv(n)` returns as soon as one record is there, though n is larger."""
    made = link(mod, version, family=family)
    made.theirs.sendall(b"only this")
    assert made.ours.recv(LARGE) == b"only this"


def test_a_whole_record_before_half_of_one(mod, wire, version, family):
    """A blocking `recv` returns the whole record and does not wait for the half one's rest."""
    made = wire(mod, version, family)
    record, second = made.say(b"whole"), made.say(b"half")
    made.feed(record + second[:9])
    made.ours.settimeout(DEADLINE)
    assert made.ours.recv(LARGE) == b"whole"
    made.feed(second[9:])
    assert made.ours.recv(LARGE) == b"half"


# --- Writing -----------------------------------------------------------------------------------


def stuff(sock) -> int:
    """Write on a non-blocking socket until it wants to write; return the accepted bytes."""
    accepted, block = 0, b"\xa5" * 20000
    while True:
        try:
            accepted += sock.send(block)
        except ssl.SSLWantWriteError:
            return accepted


def receive(sock, count: int) -> bytes:
    """Read exactly `count` bytes from a blocking socket."""
    got = bytearray()
    while len(got) < count:
        chunk = sock.recv(min(LARGE, count - len(got)))
        assert chunk, f"the end after {len(got)} of {count} bytes"
        got += chunk
    return bytes(got)


def test_a_full_pipe_loses_nothing(mod, link, version, family):
    """What `send` has accepted arrives, once, in order, also around want-write."""
    made = link(mod, version, family=family)
    made.ours.setblocking(False)
    accepted = stuff(made.ours)
    reader = Peer(receive, made.theirs, accepted)
    with reader:
        # The last record may still be with us; any further operation sends it first.
        made.ours.settimeout(DEADLINE)
        tail = b"\xa5" * 20000
        made.ours.sendall(tail)
        got = reader.finish()
        got += receive(made.theirs, len(tail))
    assert got == b"\xa5" * (accepted + len(tail))


def test_retry_with_a_moved_buffer(mod, link, version):
    """After want-write the same bytes may be sent from another object."""
    made = link(mod, version)
    made.ours.setblocking(False)
    block = random.Random(2).randbytes(50000)
    sent = 0
    with pytest.raises(ssl.SSLWantWriteError):
        while True:
            sent += made.ours.send(bytes(bytearray(block)))
            block = block[-1:] + block[:-1]
    with Peer(receive, made.theirs, sent + 10) as reader:
        made.ours.settimeout(DEADLINE)
        made.ours.sendall(memoryview(bytearray(block)))
        reader.finish()


def test_accepted_is_sent(mod, link, version, family):
    """The bytes that `send` has counted arrive though the program never calls us again.

    A program that waits for the answer with `select` has no reason to call once more.
    """
    made = link(mod, version, family=family)
    made.ours.setblocking(False)
    accepted = stuff(made.ours)
    assert receive(made.theirs, accepted) == b"\xa5" * accepted


def test_unwrap_after_want_write(link, version):
    """After want-write `unwrap` still parts cleanly; the stdlib fails with BAD_WRITE_RETRY."""
    if sslbind.SSLSocket is ssl.SSLSocket:
        pytest.skip("the stdlib stands in for sslbind, and cannot do this")
    made = link(sslbind, version)
    made.ours.setblocking(False)
    accepted = stuff(made.ours)

    def other():
        got = receive(made.theirs, accepted)
        while made.theirs.recv(LARGE):  # the rest of the record that was not accepted
            pass
        made.theirs.unwrap()
        return got

    with Peer(other) as reader:
        made.ours.settimeout(DEADLINE)
        made.ours.unwrap().close()
        assert reader.finish() == b"\xa5" * accepted


@pytest.mark.parametrize("size", (0, 1, 16383, 16384, 16385, 65536, 1000003))
def test_sendall_sizes(mod, link, version, family, size):
    """`sendall` sends everything, whatever its size, from any kind of buffer."""
    made = link(mod, version, family=family)
    data = random.Random(size).randbytes(size)
    for kind in (bytes, bytearray, memoryview):
        with Peer(receive, made.theirs, size) as reader:
            assert made.ours.sendall(kind(data)) is None
            assert reader.finish() == data


def test_send_of_wide_items(mod, link, version):
    """Sizes are bytes, not items: an array's elements are sent whole."""
    made = link(mod, version)
    wide = array.array("I", range(5000))
    made.ours.sendall(wide)
    assert receive(made.theirs, 20000) == wide.tobytes()
    assert made.ours.send(wide) == 20000
    assert receive(made.theirs, 20000) == wide.tobytes()


def test_recv_into_wide_items(mod, link, version):
    """`recv_into` fills an array's memory from its beginning, byte by byte."""
    made = link(mod, version)
    wide = array.array("I", [0] * 4)
    made.theirs.sendall(bytes(range(16)))
    count = made.ours.recv_into(wide)
    assert wide.tobytes()[:count] == bytes(range(count))


# --- Random conversations ----------------------------------------------------------------------


class Digester:
    """Counts and digests the bytes of one direction."""

    def __init__(self) -> None:
        self.count, self._hash = 0, hashlib.sha256()

    def add(self, data) -> None:
        self.count += len(data)
        self._hash.update(data)

    def same(self, other: Digester) -> bool:
        return (self.count, self._hash.digest()) == (other.count, other._hash.digest())


def chunks(seed: int, total: int):
    """Yield random bytes, `total` in all, in pieces of many sizes."""
    dice = random.Random(seed)
    while total:
        size = min(total, dice.choice((1, 5, 100, 4000, 16384, 16385, 50000)))
        yield dice.randbytes(size)
        total -= size


def speak(sock, seed, total, sent) -> None:
    """Send random pieces, blocking."""
    for chunk in chunks(seed, total):
        sock.sendall(chunk)
        sent.add(chunk)


def listen(sock, seed, total, got) -> None:
    """Receive everything, blocking, by random sizes and methods."""
    dice = random.Random(seed)
    while got.count < total:
        size = dice.choice((1, 17, 1000, 16384, 70000, LARGE))
        how = dice.choice(("recv", "read", "recv_into", "read_into"))
        if how in ("recv", "read"):
            chunk = getattr(sock, how)(size)
        else:
            buffer = bytearray(size)
            count = sock.recv_into(buffer) if how == "recv_into" else sock.read(size, buffer)
            chunk = buffer[:count]
        assert chunk
        assert len(chunk) <= size
        got.add(chunk)


TOTAL = 600000  # bytes in each direction


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("timeout", (None, DEADLINE), ids=("blocking", "timeout"))
def test_stress_blocking(mod, link, version, role, timeout, seed):
    """Random data both ways, one direction after the other, on blocking sockets."""
    made = link(mod, version, role)
    made.ours.settimeout(timeout)
    for begin, (sender, receiver) in enumerate(
        ((made.ours, made.theirs), (made.theirs, made.ours))
    ):
        sent, got = Digester(), Digester()
        key = seed * 10 + begin
        with Peer(speak, sender, key, TOTAL, sent):
            listen(receiver, key, TOTAL, got)
        assert got.same(sent)


class Talker:
    """One end of a conversation without blocking: writes and reads as far as it gets."""

    def __init__(self, end, seed: int) -> None:
        self.end, self._dice = end, random.Random(seed)
        self._words = chunks(seed, TOTAL)
        self._left = b""
        self.sent, self.got = Digester(), Digester()
        self.wants_write = True

    def write(self) -> None:
        """Send the next piece, or what is left of the last one."""
        self._left = self._left or next(self._words, b"")
        if not self._left:
            self.wants_write = False
            return
        try:
            count = self.end.write(self._left)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        self.sent.add(self._left[:count])
        self._left = self._left[count:]

    def read(self) -> None:
        """Read once."""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self.got.add(self.end.read(self._dice.choice((1, 300, 16384, LARGE))))

    @property
    def hungry(self) -> bool:
        return self.got.count < TOTAL


@pytest.mark.parametrize("seed", range(3))
def test_stress_select(mod, link, version, family, seed):
    """Random data both ways at once, in one thread, on non-blocking sockets and `select`."""
    made = link(mod, version, family=family)
    talkers = []
    for key, sock in enumerate((made.ours, made.theirs)):
        sock.setblocking(False)
        talkers.append(Talker(sock, seed * 2 + key))
    deadline = time.monotonic() + DEADLINE
    while any(talker.hungry for talker in talkers):
        assert time.monotonic() < deadline
        pending = [t.end for t in talkers if t.end.pending()]
        reads, writes, _ = select.select(
            [t.end for t in talkers if t.hungry],
            [t.end for t in talkers if t.wants_write],
            [],
            0 if pending else DEADLINE,
        )
        assert reads or writes or pending, "select waits for what will never come"
        for talker in talkers:
            if talker.end in writes:
                talker.write()
            if talker.end in reads or talker.end in pending:
                talker.read()
    for talker, other in (talkers, reversed(talkers)):
        assert talker.got.same(other.sent)


@pytest.mark.parametrize("seed", range(3))
def test_stress_memory(mod, pki, version, seed):
    """Random data both ways through memory BIOs that are carried over in random pieces."""
    ends = shaken_pair(mod, pki, version)
    talkers = [Talker(end.obj, seed * 2 + key) for key, end in enumerate(ends)]
    dice = random.Random(seed)
    for _ in range(100000):
        if not any(talker.hungry for talker in talkers):
            break
        for talker, end in zip(talkers, ends):
            talker.write()
            piece = end.outgoing.read(dice.choice((1, 6, 1000, 20000, 100000, -1)))
            end.other.incoming.write(piece)
            talker.read()
    for talker, other in (talkers, reversed(talkers)):
        assert talker.got.same(other.sent)


@pytest.mark.parametrize("seed", range(4))
def test_random_splits(mod, wire, version, family, seed):
    """Random records cut at random places, read with random sizes, by a `select` loop."""
    made = wire(mod, version, family)
    dice = random.Random(seed)
    expected, reader = b"", Reader(made.ours, 1)
    for _ in range(30):
        messages = [
            dice.randbytes(dice.choice((1, 2, 19, 20, 500))) for _ in range(dice.randrange(1, 6))
        ]
        records = records_of(made, messages)
        stream = b"".join(records)
        cuts = sorted(dice.randrange(len(stream) + 1) for _ in range(dice.randrange(4)))
        begin = 0
        for cut in [*cuts, len(stream)]:
            made.feed(stream[begin:cut])
            begin = cut
            reader.size = dice.choice((1, 2, 19, 300, 16384, LARGE))
            reader.drain()
            lengths = [len(record) for record in records]
            assert bytes(reader.data) == expected + plaintext_by(cut, lengths, messages)
        expected += b"".join(messages)


def test_makefile(mod, link, version, family):
    """Buffered files over a connection read lines and blocks, and write."""
    made = link(mod, version, family=family)
    with made.theirs.makefile("wb") as out, made.ours.makefile("rwb") as both:
        out.write(b"one\ntwo\n" + b"x" * 100000)
        with Peer(out.flush):
            assert both.readline() == b"one\n"
            assert both.readline() == b"two\n"
            assert both.read(100000) == b"x" * 100000
        both.write(b"reply")
        both.flush()
        assert receive(made.theirs, 5) == b"reply"


def test_makefile_for_reading(mod, link):
    """Files to read from, buffered, unbuffered and of text, share the socket."""
    made = link(mod)
    made.theirs.sendall(b"one\ntwo\nthree\nfour")
    with made.ours.makefile("rb", buffering=0) as raw:
        assert isinstance(raw, socket.SocketIO)
        target = bytearray(4)
        assert raw.readinto(b=target) == 4
        assert target == b"one\n"
        assert raw.read(4) == b"two\n"
    with made.ours.makefile("rb", 6) as file:
        assert file.readline() == b"three\n"
    made.theirs.setblocking(False)
    with pytest.raises(mod.SSLWantReadError):
        made.theirs.unwrap()  # which has sent close_notify
    with made.ours.makefile("r", encoding="ascii") as text:
        assert text.read() == "four"
        assert text.buffer.raw.readinto(bytearray(1)) == 0


def test_makefile_refuses(mod, link, monkeypatch):
    """What a file to read from says when it may not, or there is nothing yet."""
    made = link(mod)
    said = []

    def attempt(file):
        try:
            said.append(file.readinto(bytearray(1)))
        except (OSError, ValueError) as exc:
            said.append((type(exc).__name__, str(exc)))

    raw = made.ours.makefile("rb", buffering=0)
    made.ours.setblocking(False)
    attempt(raw)
    made.ours.settimeout(0.001)
    attempt(raw)
    attempt(raw)
    raw.close()
    attempt(raw)
    attempt(made.ours.makefile("wb", buffering=0))
    with monkeypatch.context() as patch:  # whatever a subclass makes of it
        for error in (errno.EAGAIN, errno.EBADF):
            patch.setattr(made.ours, "recv_into", Mock(side_effect=OSError(error, "no")))
            attempt(made.ours.makefile("rb", buffering=0))
    assert [one if one is None else one[0] for one in said] == [
        "SSLWantReadError",
        "TimeoutError" if sys.version_info >= (3, 10) else "timeout",
        "OSError",
        "ValueError",
        "UnsupportedOperation",
        None,
        "OSError",
    ]
    assert [one[1].strip(".") for one in said[2:5]] == [
        "cannot read from timed out object",
        "I/O operation on closed file",
        "File or stream is not readable",
    ]


def test_sendfile(mod, link, version, tmp_path):
    """`sendfile` sends a file, or the part that is asked for, and tells how much."""
    made = link(mod, version)
    path = tmp_path / "data"
    content = random.Random(3).randbytes(300000)
    path.write_bytes(content)
    for offset, count in ((0, None), (1000, None), (10, 70000), (299999, 5), (400000, None)):
        expected = content[offset:] if count is None else content[offset : offset + count]
        with path.open("rb") as file, Peer(receive, made.theirs, len(expected)) as reader:
            assert made.ours.sendfile(file, offset, count) == len(expected)
            assert reader.finish() == expected
            assert file.tell() == offset + len(expected)

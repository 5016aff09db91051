"""Random traffic over one TLS connection, in both directions at once, in every mode there is.

A `Source` is what one end sends, cut into random chunks; a `Sink` digests what it receives. An
*end* owns an unshaken TLS object and carries a whole connection through: handshake, both streams,
close_notify, and then a few plain bytes, for nothing behind close_notify belongs to TLS. An end
that `closes` says goodbye once it has everything; the other reads until it hears that.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import select
import socket
import ssl

from links import DEADLINE, HOST, Peer

import sslbind

LARGEST = 320 * 1024  # bytes; more than the engine encrypts, or keeps unsent, at a time
EDGES = (1, 5, 16383, 16384, 16385, 2 * 16384, 65535, 65536, 65537)  # of records and batches
BACKLOG = 128 * 1024  # bytes that an end in memory lets pile up in a buffer
FAREWELL = b"and so to plain bytes"

WANT_READ = (sslbind.SSLWantReadError, ssl.SSLWantReadError)
WANT_WRITE = (sslbind.SSLWantWriteError, ssl.SSLWantWriteError)


def some_size(rng: random.Random, most: int = LARGEST) -> int:
    """Return a number of bytes from 1 to `most`: any order of magnitude is as likely as another."""
    size = rng.choice(EDGES) if rng.random() < 0.2 else int(most ** rng.random())
    return min(size, most)


class Source:
    """The bytes of one direction, made from `seed`, and how they are cut and handed over."""

    def __init__(self, seed: str, size: int) -> None:
        self._rng = random.Random(seed)
        self._data = hashlib.shake_256(seed.encode()).digest(size)
        self._sent = 0
        self._size = 0  # of the chunk that is under way
        self.digest = hashlib.sha256(self._data).hexdigest()

    def __len__(self) -> int:
        return len(self._data)

    def is_at(self, place: int, data) -> bool:
        """Are these the bytes that stand at `place`?"""
        return self._data[place : place + len(data)] == bytes(data)

    def chunk(self):
        """Return the next bytes to send, or the same again if they have not been accepted."""
        if not self._size:
            self._size = min(some_size(self._rng), len(self._data) - self._sent)
        part = self._data[self._sent : self._sent + self._size]
        return self._rng.choice((bytes, bytearray, memoryview))(part)

    def accepted(self, count: int) -> None:
        """Go on behind the `count` bytes that were sent of the chunk."""
        assert 0 < count <= self._size
        self._sent += count
        self._size = 0

    @property
    def is_empty(self) -> bool:
        return self._sent == len(self._data)


class Sink:
    """What came of a direction: its length and digest."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._sum = hashlib.sha256()
        self.left = len(source)
        self.ended = False

    def take(self, data) -> None:
        """Take in received bytes; none are the end of the stream."""
        assert not self.ended
        # A wrong stream is reported where it goes wrong.
        place = len(self._source) - self.left
        assert self._source.is_at(place, data), f"other bytes at {place}"
        self.ended = len(data) == 0
        self._sum.update(data)
        self.left -= len(data)

    def check(self) -> None:
        """What came is what was sent, nothing less and nothing more."""
        assert (self.left, self._sum.hexdigest()) == (0, self._source.digest)


# --- Ways to read and to write -----------------------------------------------------------------


def by_recv(sock, size):
    return sock.recv(size)


def by_read(tls, size):
    return tls.read(size)


def by_recv_into(sock, size):
    buf = bytearray(size)
    return memoryview(buf)[: sock.recv_into(buf)]


def by_recv_into_some(sock, size):
    buf = bytearray(b"\xaa" * (size + 7))
    count = sock.recv_into(buf, size)
    assert count <= size
    assert buf[size:] == b"\xaa" * 7
    return memoryview(buf)[:count]


def by_read_into(tls, size):
    buf = bytearray(size + 7)
    return memoryview(buf)[: tls.read(size, buf)]


SOCKET_READS = (by_recv, by_read, by_recv_into, by_recv_into_some, by_read_into)
OBJECT_READS = (by_read, by_read_into)


def by_file_read(file, size):
    return file.read(size)


def by_file_read1(file, size):
    return file.read1(size)


def by_file_line(file, size):
    return file.readline(size)


def by_file_into(file, size):
    buf = bytearray(size)
    return memoryview(buf)[: file.readinto(buf)]


FILE_READS = (by_file_read, by_file_read1, by_file_line, by_file_into)


def by_send(sock, chunk):
    return sock.send(chunk)


def by_sendall(sock, chunk):
    assert sock.sendall(chunk) is None
    return len(chunk)


def by_write(tls, chunk):
    return tls.write(chunk)


# --- The ends ----------------------------------------------------------------------------------


class End:
    """One side of a connection; `carry` takes it from the handshake to the plain bytes.

    A failure ends the connection, so that no thread waits for what will not come.
    """

    network: object  # whose `shutdown` wakes all who wait for it

    def __init__(self, tls, seed: str, source: Source, sink: Sink, closes: bool) -> None:
        self.tls, self.source, self.sink, self.closes = tls, source, sink, closes
        self.rng = random.Random(seed)
        self.errors: list[BaseException] = []  # the first is the cause of the others

    def carry(self, part=None) -> None:
        """Do it all, or a `part` of it: a function."""
        try:
            (part or self.run)()
        except BaseException as exc:
            self.errors.append(exc)
            with contextlib.suppress(OSError):
                # The plain socket's: TLS must not hear of it first.
                socket.socket.shutdown(self.network, socket.SHUT_RDWR)
            raise

    def run(self) -> None:
        raise NotImplementedError

    @property
    def has_all(self) -> bool:
        """Is there nothing more to read before this end may say goodbye?"""
        return self.sink.ended or (self.closes and self.sink.left <= 0)

    def farewell(self, plain) -> None:
        """Exchange plain bytes over the socket that `unwrap` gave back."""
        plain.settimeout(DEADLINE)
        plain.sendall(FAREWELL)
        got = b""
        while len(got) < len(FAREWELL):
            part = plain.recv(len(FAREWELL) - len(got))
            assert part
            got += part
        assert got == FAREWELL


class Threaded(End):
    """A socket that blocks, with or without a timeout: one thread reads while another writes."""

    def __init__(self, *args, timeout: float | None) -> None:
        super().__init__(*args)
        self.network = self.tls
        self._timeout = timeout
        self._writes = random.Random(self.rng.random())

    def run(self) -> None:
        self.tls.settimeout(self._timeout)
        self.tls.do_handshake()
        writer = Peer(self.carry, self._write)
        writer.start()
        try:
            self.carry(self._read)
        finally:
            writer.finish()
        self.sink.check()
        self.farewell(self.tls.unwrap())

    def _write(self) -> None:
        while not self.source.is_empty:
            way = self._writes.choice((by_send, by_sendall, by_write, self._by_file))
            self.source.accepted(way(self.tls, self.source.chunk()))

    @staticmethod
    def _by_file(sock, chunk):
        with sock.makefile("wb") as file:
            assert file.write(chunk) == len(chunk)
        return len(chunk)

    def _read(self) -> None:
        by_file = self.sink.left * self.rng.random()
        while self.sink.left > by_file:
            way = self.rng.choice(SOCKET_READS)
            self.sink.take(way(self.tls, some_size(self.rng)))
        with self.tls.makefile("rb", some_size(self.rng)) as file:
            while not self.has_all:
                # A file waits until it has the whole size.
                size = some_size(self.rng, min(LARGEST, max(1, self.sink.left)))
                self.sink.take(self.rng.choice(FILE_READS)(file, size))


class Polled(End):
    """A non-blocking socket: each direction waits in poll(2) for what its exception asked for.

    It does not always read until there is an exception: it may wait whenever nothing is pending.
    """

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.network = self.tls

    def run(self) -> None:
        self.tls.setblocking(False)
        self._all_of({self.tls.do_handshake: 0})
        self._all_of({self._read: 0, self._write: 0})
        self.sink.check()
        plain = []
        self._all_of({lambda: plain.append(self.tls.unwrap()) or True: 0})
        self.farewell(plain[0])

    def _all_of(self, waits: dict) -> None:
        """Repeat the operations until each has said True (or None); `waits`: 0 or poll's events."""
        poll = select.poll()
        while waits:
            for operation in self.rng.sample(list(waits), len(waits)):
                if not waits[operation]:
                    self._once(operation, waits)
            if waits and all(waits.values()):
                poll.register(self.tls, sum(set(waits.values())))
                ready = poll.poll(DEADLINE * 1000)
                assert ready, "nothing happens"
                for operation in waits:
                    if ready[0][1] & (waits[operation] | select.POLLHUP | select.POLLERR):
                        waits[operation] = 0

    def _once(self, operation, waits: dict) -> None:
        try:
            if operation() is not False:
                del waits[operation]
            elif operation == self._read and not self.tls.pending() and self.rng.random() < 0.5:
                waits[operation] = select.POLLIN  # what is not pending is in the kernel
        except WANT_READ:
            waits[operation] = select.POLLIN
        except WANT_WRITE:
            waits[operation] = select.POLLOUT

    def _read(self) -> bool:
        if not self.has_all:
            self.sink.take(self.rng.choice(SOCKET_READS)(self.tls, some_size(self.rng)))
        return self.has_all

    def _write(self) -> bool:
        if not self.source.is_empty:
            way = self.rng.choice((by_send, by_write))
            self.source.accepted(way(self.tls, self.source.chunk()))
        return self.source.is_empty


class Pumped(End):
    """A TLS object in memory; random slices go between its two buffers and `raw`, a `Network`.

    `steps` does the work of `run` for a caller who has several ends to drive: it yields whether
    the last step has moved anything.
    """

    def __init__(self, tls, incoming, outgoing, raw, *args) -> None:
        super().__init__(tls, *args)
        self._incoming, self._outgoing = incoming, outgoing
        self.network = self._raw = raw
        self._waiting = b""  # taken from `outgoing`, but not by `raw` yet

    def run(self) -> None:
        for moved in self.steps():
            if not moved:
                events = select.POLLOUT if self._waiting else 0
                poll = select.poll()
                poll.register(self._raw, events | select.POLLIN)
                assert poll.poll(DEADLINE * 1000), "nothing happens"

    def steps(self):
        yield from self._all_of(self.tls.do_handshake)
        yield from self._all_of(self._read, self._write)
        self.sink.check()
        yield from self._all_of(self.tls.unwrap)
        while self._waiting or self._outgoing.pending:
            yield self._push()
        self._waiting = FAREWELL
        got = self._incoming.read()
        while self._waiting or len(got) < len(FAREWELL):
            moved = self._push()
            with contextlib.suppress(BlockingIOError):
                part = self._raw.recv(len(FAREWELL) - len(got)) if len(got) < len(FAREWELL) else b""
                moved = moved or bool(part)
                got += part
            yield moved
        assert got == FAREWELL

    def _all_of(self, *operations):
        """Repeat the operations until each has said True; what they want is in the buffers."""
        left = list(operations)
        while left:
            moved = False
            for operation in self.rng.sample(left, len(left)):
                try:
                    if operation() is not False:
                        left.remove(operation)
                    moved = True
                except WANT_READ:
                    pass
            if left:
                moved = self._push() or moved
                moved = self._pull() or moved
                yield moved

    def _read(self) -> bool:
        if not self.has_all:
            self.sink.take(self.rng.choice(OBJECT_READS)(self.tls, some_size(self.rng)))
        return self.has_all

    def _write(self) -> bool:
        if self._outgoing.pending > BACKLOG:
            raise sslbind.SSLWantReadError
        if not self.source.is_empty:
            self.source.accepted(self.tls.write(self.source.chunk()))
        return self.source.is_empty

    def _push(self) -> bool:
        if not self._waiting:
            self._waiting = self._outgoing.read(some_size(self.rng))
        if not self._waiting:
            return False
        try:
            count = self._raw.send(self._waiting)
        except BlockingIOError:
            return False
        self._waiting = self._waiting[count:]
        return True

    def _pull(self) -> bool:
        if self._incoming.pending > BACKLOG:
            return False
        try:
            data = self._raw.recv(some_size(self.rng))
        except BlockingIOError:
            return False
        assert data, "the network has ended"
        self._incoming.write(data)
        return True


class Network:
    """A connection without a kernel: `send` and `recv` as of a non-blocking socket."""

    other: Network

    def __init__(self, rng: random.Random) -> None:
        self._rng, self._arrived = rng, bytearray()

    @classmethod
    def pair(cls, rng: random.Random) -> tuple[Network, Network]:
        """Return the two sides of a new connection."""
        left, right = cls(rng), cls(rng)
        left.other, right.other = right, left
        return left, right

    def send(self, data: bytes) -> int:
        """Carry a random part of `data` over; return its length."""
        if len(self.other._arrived) > BACKLOG:
            raise BlockingIOError
        count = self._rng.randint(1, len(data))
        self.other._arrived += data[:count]
        return count

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes that the other side has sent."""
        if not self._arrived:
            raise BlockingIOError
        data = bytes(self._arrived[:size])
        del self._arrived[:size]
        return data


# --- Making and running ------------------------------------------------------------------------


def wrap(kind: str, context, raw, is_server: bool, bios, *args) -> End:
    """Return an end of `kind`, a mode: blocking, timeout, non-blocking or memory.

    Args: raw: a socket, or for `memory` a `Network` too.
          bios: the classes of the incoming and the outgoing buffer of `memory`.
          args: seed, source, sink and closes, as `End` has them.
    """
    name = None if is_server else HOST
    if kind == "memory":
        if isinstance(raw, socket.socket):
            raw.setblocking(False)
        incoming, outgoing = bios[0](), bios[1]()
        tls = context.wrap_bio(incoming, outgoing, is_server, name)
        return Pumped(tls, incoming, outgoing, raw, *args)
    tls = context.wrap_socket(
        raw, is_server, do_handshake_on_connect=False, suppress_ragged_eofs=False,
        server_hostname=name,
    )  # fmt: skip
    if kind == "non-blocking":
        return Polled(tls, *args)
    return Threaded(tls, *args, timeout=DEADLINE if kind == "timeout" else None)


def run_both(left: End, right: End) -> None:
    """Run two ends that a network joins, each in a thread; the first failure comes out."""
    errors = left.errors = right.errors
    peers = [Peer(left.carry), Peer(right.carry)]
    for peer in peers:
        peer.start()
    for peer in peers:
        peer.join(DEADLINE)
    if errors:
        raise errors[0]
    for peer in peers:
        peer.finish()


def run_in_turns(left: Pumped, right: Pumped, rng: random.Random) -> None:
    """Run two ends in memory in this thread, step by step, in random order."""
    running = [left.steps(), right.steps()]
    idle = 0
    while running:
        one = rng.choice(running)
        try:
            idle = 0 if next(one) else idle + 1
        except StopIteration:
            running.remove(one)
        assert idle < 1000, "nothing happens"

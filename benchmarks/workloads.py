"""The rows: what is measured, defined once for the command and for the pytest suite.

A row prepares a Job of one side. `run` is measured; `before`, if there is one, comes before each
run and is not. What a row costs is what its clock gains in `run`, divided by the job's units:
processor seconds of the calling thread mostly, so that neither other programs nor the far end
count; or bytes of memory; or seconds that pass, where waiting is the point.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import os
import resource
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Callable

from .scene import HOST
from .sides import PATIENCE, Side, Unsupported

KIB, MIB = 1024, 1024 * 1024
PIECE = 256 * KIB


def resident() -> float:
    """Return how many bytes of this process are in memory (at most so far, but on Linux)."""
    gc.collect()
    try:
        with open("/proc/self/statm", encoding="ascii") as fields:
            return float(int(fields.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return float(peak * (1 if sys.platform == "darwin" else KIB))


@dataclass
class Job:
    """An operation of one side, ready to be repeated."""

    run: Callable[[], object]
    before: Callable[[], None] | None = None
    units: float = 1
    #: What must stay alive meanwhile.
    keep: object = None
    #: Clears away what outlives its last reference.
    close: Callable[[], object] | None = None


@dataclass(frozen=True)
class Row:
    """A line of the table. Targets are ratios: the cost for stdlib's ssl / that for sslbind."""

    key: str  # bare.c knows it by this too
    name: str
    prepare: Callable[[Side], Job]
    target: float = 1.0
    pypy_target: float = 1.0
    unit: str = "us"  # what a unit of the job costs in; report.UNITS
    clock: Callable[[], float] = time.thread_time
    #: Runs in a batch, where the time they take is not to decide it.
    batch: int | None = None
    #: How many batches long a batch is, where another process has its part in the cost.
    stretch: int = 1
    #: Times as many processes, where what the kernel takes is a connection's luck.
    luck: int = 1
    #: sslbind may not need more than the C program.
    beat_c: bool = False
    #: Several threads are its point, and want processors of their own.
    threaded: bool = False


def measure(row: Row, job: Job, count: int) -> tuple[float, float]:
    """Run a job `count` times; return what its clock gained, and how many units that was."""
    clock, run, before = row.clock, job.run, job.before
    if before is None:
        begin = clock()
        for _ in range(count):
            run()
        return clock() - begin, count * job.units
    spent = 0.0
    for _ in range(count):
        before()
        begin = clock()
        run()
        spent += clock() - begin
    return spent, count * job.units


# ---------------------------------------------------------------- contexts and handshakes


def default_context(side: Side) -> Job:
    return Job(side.default_context)


def new_context(side: Side) -> Job:
    return Job(side.new_context)


def default_context_memory(side: Side) -> Job:
    kept: list[Any] = []
    return Job(lambda: kept.append(side.default_context()), keep=kept)


def handshake(side: Side) -> Job:
    client, server = side.client_context(), side.server_context()
    return Job(lambda: side.shake(client, server))


def new_handshake(side: Side) -> Job:
    return replace(handshake(side), before=side.chain_forgetter())


def resumed(side: Side) -> Job:
    client, server = side.client_context(), side.server_context()
    near, far = side.shake(client, server)
    far.write(b"x")
    near.read(1)
    session = side.session(near)
    if not side.is_resumed(side.shake(client, server, session)[0]):
        raise AssertionError("the session was not resumed")
    return Job(lambda: side.shake(client, server, session))


def idle_memory(side: Side) -> Job:
    """Connections over sockets, both ends, that have said a word and wait."""
    contexts = side.client_context(), side.server_context()
    kept: list[Any] = []
    return Job(lambda: kept.append(side.socket_pair(contexts=contexts)), units=2, keep=kept)


def peer_certificate(side: Side) -> Job:
    side.need_ssl_interface()
    near, far = side.memory_pair()
    if not near.getpeercert():
        raise AssertionError("the certificate was not verified")
    return Job(near.getpeercert, keep=far)


def new_peer_certificate(side: Side) -> Job:
    job = peer_certificate(side)
    getpeercert, forget = job.run, side.forgetter()

    def run() -> None:
        forget()
        getpeercert()

    return Job(run, keep=job)


def ca_certificates(side: Side) -> Job:
    side.need_ssl_interface()
    context = side.default_context()
    if not context.get_ca_certs():
        raise Unsupported("this system has no file of CA certificates")
    return Job(context.get_ca_certs)


def import_time(side: Side) -> Job:
    """Processor seconds of a fresh interpreter in `import`; see `imported`."""
    code = (
        "import time; begin = time.process_time(); "
        f"import {side.module}; print(time.process_time() - begin)"
    )

    # An installed package has its .pyc files; this one shall get them if it has none.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

    def run() -> None:
        answer = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env=env
        )
        imported[0] += float(answer.stdout)

    return Job(run)


#: The clock of `import_time`.
imported = [0.0]


# ---------------------------------------------------------------- memory


def in_threads(work: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> None:
    """Call `work` with each of `arguments` at once."""
    threads = [threading.Thread(target=work, args=each) for each in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def through_memory(size: int, ask: int) -> Callable[[Side], Job]:
    """Write at one end, read at the other, `ask` bytes at most a call."""

    def prepare(side: Side) -> Job:
        near, far = side.memory_pair()
        data = b"x" * size
        write, read = near.write, far.read

        def run() -> None:
            write(data)
            got = 0
            while got < size:
                got += len(read(ask))

        return Job(run, keep=far)

    return prepare


def writer_over_foreign_buffers(side: Side) -> tuple[Callable[[], object], Callable[[], None]]:
    """Return what writes a MiB over the interpreter's MemoryBIO, and what throws that away.

    asyncio, trio and others hand such buffers to sslbind, too.
    """
    side.need_ssl_interface()
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    near, _far = side.shake(side.client_context(), side.server_context(), buffers=(up, down))
    data = b"x" * MIB

    def throw_away() -> None:
        up.read()

    return lambda: near.write(data), throw_away


def large_write(side: Side) -> Job:
    return Job(*writer_over_foreign_buffers(side))


def two_large_writers(side: Side) -> Job:
    """Two threads write, each over a connection of its own."""
    pairs = [writer_over_foreign_buffers(side) for _ in range(2)]
    rounds = 8

    def work(write: Callable[[], object], throw_away: Callable[[], None]) -> None:
        for _ in range(rounds):
            write()
            throw_away()

    return Job(lambda: in_threads(work, pairs), units=2 * rounds)


# ---------------------------------------------------------------- sockets


def sending(far: Any) -> Callable[[], None]:
    """Return what sends 256 KiB, all of which then wait at the other end."""
    data = b"x" * PIECE

    def send_piece() -> None:
        far.sendall(data)

    return send_piece


def receive(ask: int) -> Callable[[Side], Job]:
    """Receive 256 KiB that have arrived."""

    def prepare(side: Side) -> Job:
        near, far = side.fed_pair()
        recv = near.recv

        def run() -> None:
            got = 0
            while got < PIECE:
                got += len(recv(ask))

        return Job(run, sending(far))

    return prepare


def receive_into(ask: int) -> Callable[[Side], Job]:
    def prepare(side: Side) -> Job:
        near, far = side.fed_pair()
        buffer = bytearray(ask)
        recv_into = near.recv_into

        def run() -> None:
            got = 0
            while got < PIECE:
                got += recv_into(buffer)

        return Job(run, sending(far))

    return prepare


def receive_from_file(side: Side) -> Job:
    side.need_ssl_interface()
    near, far = side.fed_pair()
    read = near.makefile("rb", buffering=8192).read

    def run() -> None:
        got = 0
        while got < PIECE:
            got += len(read(8192))

    return Job(run, sending(far))


def from_peer(ask: int) -> Callable[[Side], Job]:
    """Receive a MiB while the peer, another process, sends it."""

    def prepare(side: Side) -> Job:
        near = side.connect()
        recv = near.recv

        def run() -> None:
            got = 0
            while got < MIB:
                got += len(recv(ask))

        def ask_for_it() -> None:
            near.sendall(b"send 16384 %d 0\n" % MIB)

        return Job(run, ask_for_it)

    return prepare


def http_get(side: Side) -> Job:
    """Fetch a MiB from the peer, as http.client reads it in pieces of 64 KiB."""
    side.need_ssl_interface()
    connection = http.client.HTTPConnection(HOST, timeout=PATIENCE)
    connection.sock = side.connect()

    def run() -> None:
        connection.request("GET", f"/{MIB}")
        response = connection.getresponse()
        got = 0
        while got < MIB:
            got += len(response.read(64 * KIB))
        response.read()

    return Job(run)


def send(size: int, times: int = 1) -> Callable[[Side], Job]:
    """Send to a socket with room for it; the ciphertext is thrown away between two runs."""

    def prepare(side: Side) -> Job:
        near, far = side.fed_pair()
        far.setblocking(False)
        data = b"x" * size
        sendall = near.sendall

        def run() -> None:
            for _ in range(times):
                sendall(data)

        def throw_away() -> None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    socket.socket.recv(far, PIECE)  # below TLS

        return Job(run, throw_away, units=times)

    return prepare


def echo(size: int, timeout: float | None) -> Callable[[Side], Job]:
    """Send at one end and receive at the other, in one thread."""

    def prepare(side: Side) -> Job:
        near, far = side.socket_pair()
        if timeout is not None:
            side.need_ssl_interface()
        for end in near, far:
            end.settimeout(timeout)
        data = b"x" * size
        sendall, recv = near.sendall, far.recv

        def run() -> None:
            sendall(data)
            recv(size)

        return Job(run, keep=far)

    return prepare


def want_read(side: Side) -> Job:
    near, far = side.fed_pair()
    near.setblocking(False)
    recv, nothing = near.recv, side.WantRead

    def run() -> None:
        try:
            recv(100)
        except nothing:
            return
        raise AssertionError("there was something")

    return Job(run, keep=far)


# ---------------------------------------------------------------- asyncio


def _run(loop: Any, work: Callable[[], Any], units: float, keep: object = None) -> Job:
    def close() -> None:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    return Job(lambda: loop.run_until_complete(work()), units=units, keep=keep, close=close)


def _streams(side: Side) -> tuple[Any, Any, Any]:
    side.need_ssl_interface()
    loop = asyncio.new_event_loop()
    reader, writer = loop.run_until_complete(
        asyncio.open_connection(
            "127.0.0.1", side.scene.port, ssl=side.client_context(), server_hostname=HOST
        )
    )
    return loop, reader, writer


def asyncio_download(side: Side) -> Job:
    loop, reader, writer = _streams(side)
    size = 4 * MIB

    async def download() -> None:
        writer.write(b"send 16384 %d 0\n" % size)
        got = 0
        while got < size:
            got += len(await reader.read(64 * KIB))

    return _run(loop, download, size / MIB)


def asyncio_upload(side: Side) -> Job:
    loop, reader, writer = _streams(side)
    pieces = 16
    data = b"x" * PIECE

    async def upload() -> None:
        writer.write(b"sink %d\n" % (pieces * PIECE))
        for _ in range(pieces):
            writer.write(data)
            await writer.drain()
        await reader.readexactly(1)

    return _run(loop, upload, pieces * PIECE / MIB)


def asyncio_echo(side: Side) -> Job:
    """A question and its answer; client and server are in one loop."""
    side.need_ssl_interface()
    loop = asyncio.new_event_loop()
    times = 20

    async def answer(reader: Any, writer: Any) -> None:
        while True:
            writer.write(await reader.readexactly(64))

    async def begin() -> tuple[Any, Any, Any]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=side.server_context())
        port = server.sockets[0].getsockname()[1]
        streams = await asyncio.open_connection(
            "127.0.0.1", port, ssl=side.client_context(), server_hostname=HOST
        )
        return (server, *streams)

    server, reader, writer = loop.run_until_complete(begin())
    data = b"x" * 64

    async def ask() -> None:
        for _ in range(times):
            writer.write(data)
            await reader.readexactly(64)

    return _run(loop, ask, times, keep=server)


# ---------------------------------------------------------------- threads


def two_threads(side: Side) -> Job:
    """Two threads, each with a connection of its own, send and receive 4 MiB each."""
    pairs = [side.socket_pair() for _ in range(2)]
    size, rounds = 64 * KIB, 64
    data = b"x" * size

    def work(near: Any, far: Any) -> None:
        for _ in range(rounds):
            near.sendall(data)
            got = 0
            while got < size:
                got += len(far.recv(size))

    return Job(lambda: in_threads(work, pairs), units=2 * size * rounds / MIB, keep=pairs)


def beside_busy_thread(side: Side) -> Job:
    """Receive 24 MiB, offered at 120 MB/s, while a thread computes in pure Python."""
    near = side.connect()
    size = 24 * MIB
    recv = near.recv
    stop = threading.Event()

    def compute() -> None:
        number = 0
        while not stop.is_set():
            for _ in range(1000):
                number = (number * 31 + 7) % 1000003

    def run() -> None:
        stop.clear()
        busy = threading.Thread(target=compute)
        busy.start()
        near.sendall(b"send 16384 %d 120000000\n" % size)
        got = 0
        while got < size:
            got += len(recv(PIECE))
        stop.set()
        busy.join()

    return Job(run, units=size / MIB)


ROWS = (
    Row("default_context", "create_default_context(), 2nd and later", default_context, 100),
    Row("new_context", "SSLContext()", new_context),
    Row("handshake", "full handshake, both ends, memory", handshake),
    Row("handshake_new", "full handshake, chain not verified before", new_handshake),
    Row("resumed", "resumed handshake, both ends, memory", resumed),
    Row("getpeercert", "getpeercert()", peer_certificate),
    Row("getpeercert_new", "getpeercert(), certificate not met before", new_peer_certificate),
    Row("get_ca_certs", "get_ca_certs()", ca_certificates),
    Row(
        "import",
        "import, fresh interpreter",
        import_time,
        target=1 / 1.5,
        pypy_target=1 / 1.5,
        clock=lambda: imported[0],
        batch=5,
    ),
    Row(
        "default_context_memory",
        "memory kept per default context",
        default_context_memory,
        target=20,
        unit="KiB",
        clock=resident,
        batch=20,
    ),
    Row(
        "idle_memory",
        "memory per end of an idle connection",
        idle_memory,
        unit="KiB",
        clock=resident,
        batch=40,
    ),
    Row("object_64", "SSLObject 64 B, read(64)", through_memory(64, 64)),
    Row("object_64_more", "SSLObject 64 B, read(262144)", through_memory(64, PIECE), 6),
    Row("object_16k", "SSLObject 16 KiB, read(16384)", through_memory(16 * KIB, 16 * KIB)),
    Row("object_16k_more", "SSLObject 16 KiB, read(262144)", through_memory(16 * KIB, PIECE), 2.5),
    Row("object_256k", "SSLObject 256 KiB, read(262144)", through_memory(PIECE, PIECE), 2.5),
    Row("large_write", "write(1 MiB) over the interpreter's MemoryBIO", large_write),
    Row(
        "two_large_writers",
        "the same by 2 threads, 2 connections, per MiB: elapsed",
        two_large_writers,
        clock=time.monotonic,
        threaded=True,
    ),
    Row("recv_16k", "256 KiB by recv(16384)", receive(16 * KIB), 1.05, 1.4),
    Row("recv_256k", "256 KiB by recv(262144)", receive(PIECE), 3.5),
    Row("recv_into_8k", "256 KiB by recv_into(8192) of makefile()", receive_from_file, 1.1),
    Row("recv_into_256k", "256 KiB by recv_into(262144)", receive_into(PIECE), 1.05),
    Row(
        "peer_16k", "1 MiB from a process by recv(16384)", from_peer(16 * KIB), 1.05, 1.4, stretch=3
    ),
    Row("peer_256k", "1 MiB from a process by recv(262144)", from_peer(PIECE), 3.5, stretch=3),
    Row("http_get", "1 MiB from a process by http.client", http_get, 1.1, stretch=3),
    Row("send_64", "sendall(64)", send(64, 100)),
    Row("send_16k", "sendall(16384)", send(16 * KIB, 10)),
    Row("send_256k", "sendall(262144)", send(PIECE), 1.3, beat_c=True),
    Row("echo_64", "sendall + recv 64 B, blocking", echo(64, None)),
    Row("echo_64_timeout", "sendall + recv 64 B, timeout", echo(64, PATIENCE), 1.1),
    Row("want_read", "non-blocking recv: SSLWantReadError", want_read),
    Row("asyncio_download", "asyncio streams, download, per MiB", asyncio_download, 2, stretch=3),
    Row("asyncio_upload", "asyncio streams, upload, per MiB", asyncio_upload, stretch=3, luck=4),
    Row("asyncio_echo", "asyncio streams, 64 B echo", asyncio_echo, 1.2),
    Row(
        "two_threads",
        "2 threads, 2 connections, per MiB: CPU",
        two_threads,
        clock=time.process_time,
        threaded=True,
    ),
    Row(
        "two_threads_elapsed",
        "2 threads, 2 connections, per MiB: elapsed",
        two_threads,
        clock=time.monotonic,
        threaded=True,
    ),
    Row(
        "busy_thread",
        "paced receive beside a busy thread, per MiB: elapsed",
        beside_busy_thread,
        target=2,
        clock=time.monotonic,
        batch=1,
        threaded=True,
    ),
)
BY_KEY = {row.key: row for row in ROWS}

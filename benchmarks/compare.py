"""Compare sslbind with the interpreter's own ssl, operation by operation, and print the ratios.

    python benchmarks/compare.py [WORD...]       only rows whose name has one of the words

Both sides run in one process and by turns; the figure is the processor's time of the calling
thread, so that a busy machine disturbs little. Ratio: stdlib / sslbind, the median of nine
rounds; more than 1 means that sslbind needs less. Needs ``trustme``.
"""

from __future__ import annotations

import socket
import ssl
import statistics
import sys
import threading
import time
from typing import Any, Callable

import trustme

import sslbind

SIDES = (ssl, sslbind)
ROUNDS = 9
HOST = "localhost"
CA = trustme.CA()
CERT = CA.issue_cert(HOST)
Operation = Callable[[], object]


def contexts(mod: Any) -> tuple[Any, Any]:
    """Return a client's and a server's context."""
    client = mod.SSLContext(mod.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=CA.cert_pem.bytes().decode())
    server = mod.SSLContext(mod.PROTOCOL_TLS_SERVER)
    CERT.configure_cert(server)
    return client, server


def shake(client: Any, server: Any, mod: Any) -> tuple[Any, Any]:
    """Return two objects that have shaken hands in memory."""
    up, down = mod.MemoryBIO(), mod.MemoryBIO()
    near = client.wrap_bio(down, up, server_hostname=HOST)
    far = server.wrap_bio(up, down, server_side=True)
    left = [near, far]
    while left:
        try:
            left[0].do_handshake()
        except ssl.SSLWantReadError:
            left.reverse()
        else:
            left.pop(0)
    far.write(b"x")
    near.read(1)  # and with it TLS 1.3's tickets
    return near, far


def sockets(mod: Any) -> tuple[Any, Any]:
    """Return two connected sockets with large buffers."""
    client, server = contexts(mod)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        raw = socket.create_connection(listener.getsockname())
        peer = listener.accept()[0]
    for sock in (raw, peer):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    made: list[Any] = []
    thread = threading.Thread(target=lambda: made.append(server.wrap_socket(peer, True)))
    thread.start()
    near = client.wrap_socket(raw, server_hostname=HOST)
    thread.join()
    made[0].sendall(b"x")
    near.recv(1)
    return near, made[0]


def handshake(mod: Any) -> Operation:
    client, server = contexts(mod)
    return lambda: shake(client, server, mod)


def memory(size: int, ask: int) -> Callable[[Any], Operation]:
    def prepare(mod: Any) -> Operation:
        near, far = shake(*contexts(mod), mod)
        data = b"x" * size

        def run() -> None:
            near.write(data)
            got = 0
            while got < size:
                got += len(far.read(ask))

        return run

    return prepare


def echo(size: int, timeout: float | None) -> Callable[[Any], Operation]:
    def prepare(mod: Any) -> Operation:
        near, far = sockets(mod)
        near.settimeout(timeout)
        far.settimeout(timeout)
        data = b"x" * size

        def run() -> None:
            near.sendall(data)
            got = 0
            while got < size:
                got += len(far.recv(size))

        return run

    return prepare


def receive(ask: int, into: bool) -> Callable[[Any], Operation]:
    """Send 256 KiB and receive them, `ask` bytes at most a call."""

    def prepare(mod: Any) -> Operation:
        near, far = sockets(mod)
        data = b"x" * 262144
        buffer = bytearray(ask)

        def run() -> None:
            near.sendall(data)
            got = 0
            while got < len(data):
                got += far.recv_into(buffer) if into else len(far.recv(ask))

        return run

    return prepare


def want_read(mod: Any) -> Operation:
    near, _far = sockets(mod)
    near.setblocking(False)

    def run() -> None:
        try:
            near.recv(100)
        except ssl.SSLWantReadError:
            return
        raise AssertionError("there was something")

    run.keep = _far  # type: ignore[attr-defined]
    return run


def peer_cert(mod: Any) -> Operation:
    near, far = sockets(mod)

    def run() -> object:
        return near.getpeercert()

    run.keep = far  # type: ignore[attr-defined]
    return run


#: Name, how to prepare a side, how many operations make a round.
ROWS: tuple[tuple[str, Callable[[Any], Operation], int], ...] = (
    ("create_default_context()", lambda mod: mod.create_default_context, 3),
    ("SSLContext()", lambda mod: lambda: mod.SSLContext(mod.PROTOCOL_TLS_CLIENT), 100),
    ("full handshake, both ends", handshake, 20),
    ("getpeercert()", peer_cert, 1000),
    ("object 64 B, read(64)", memory(64, 64), 3000),
    ("object 64 B, read(262144)", memory(64, 262144), 2000),
    ("object 16 KiB, read(16384)", memory(16384, 16384), 1000),
    ("object 16 KiB, read(262144)", memory(16384, 262144), 1000),
    ("object 256 KiB, read(262144)", memory(262144, 262144), 100),
    ("sendall+recv 64 B, blocking", echo(64, None), 3000),
    ("sendall+recv 64 B, timeout", echo(64, 5.0), 3000),
    ("sendall+recv 16 KiB, timeout", echo(16384, 5.0), 1000),
    ("non-blocking recv, nothing there", want_read, 3000),
    ("sendall(256 KiB)+recv(16384)", receive(16384, False), 100),
    ("sendall(256 KiB)+recv(262144)", receive(262144, False), 100),
    ("sendall(256 KiB)+recv_into(8192)", receive(8192, True), 100),
    ("sendall(256 KiB)+recv_into(262144)", receive(262144, True), 100),
)


def spend(operation: Operation, count: int) -> float:
    """Return the thread's processor time for one operation, in microseconds."""
    begin = time.thread_time()
    for _ in range(count):
        operation()
    return (time.thread_time() - begin) / count * 1e6


def main() -> None:
    words = sys.argv[1:]
    print(f"{sys.implementation.name} {sys.version.split()[0]}, {sslbind.OPENSSL_VERSION}")
    print(f"{'':36}{'stdlib us':>12}{'sslbind us':>12}{'ratio':>8}")
    for name, prepare, count in ROWS:
        if words and not any(word in name for word in words):
            continue
        sides = [prepare(mod) for mod in SIDES]
        rounds = [[spend(side, count) for side in sides] for _ in range(ROUNDS)]
        best = [min(column) for column in zip(*rounds)]
        ratio = statistics.median(theirs / ours for theirs, ours in rounds)
        print(f"{name:36}{best[0]:12.2f}{best[1]:12.2f}{ratio:8.2f}", flush=True)


if __name__ == "__main__":
    main()

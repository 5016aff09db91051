"""Bulk transfer between two processes over `sslbind` or over the stdlib's `ssl`.

Both ends of a connection use the same module, named by its import name, so the same few
lines measure either. Run as a program, this file is the serving process:
`python -m sslbind.cli.throughput MODULE PEM MB` prints its port and serves until its
standard input ends.
"""

from __future__ import annotations

import contextlib
import importlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

MEGABYTE = 1_000_000
_CHUNK = 65536  # bytes a call, what shutil.copyfileobj uses on most systems
_DEADLINE = 120  # seconds for any single socket operation
_UPLOAD, _DOWNLOAD = b"U", b"D"


class Rates(NamedTuple):
    """Megabytes (10**6 bytes) a second in both directions."""

    to_server: float
    to_client: float


@contextlib.contextmanager
def peer(module: str, pem: str, size: int) -> Iterator[int]:
    """Start the serving process for `size` megabytes a transfer; yields its port on loopback."""
    command = [sys.executable, "-m", "sslbind.cli.throughput", module, pem, str(size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            port = process.stdout.readline()
            if not port:
                raise ConnectionError("the serving process ended before it listened")
            yield int(port)
        finally:
            process.stdin.close()


def measure(module: str, cafile: str, host: str, port: int, size: int) -> Rates:
    """Move `size` megabytes up, then down, over one fresh connection each."""
    tls = importlib.import_module(module)
    context = tls.create_default_context(cafile=cafile)
    rates = []
    for order in (_UPLOAD, _DOWNLOAD):
        with _dial(context, host, port) as conn:
            started = time.perf_counter()
            conn.sendall(order)
            if order == _UPLOAD:
                _send(conn, size * MEGABYTE)
                _receive(conn, 1)  # the peer's word that it has all of it
            else:
                _receive(conn, size * MEGABYTE)
            rates.append(size / (time.perf_counter() - started))
    return Rates(*rates)


def _dial(context: Any, host: str, port: int) -> Any:
    plain = socket.create_connection(("127.0.0.1", port), timeout=_DEADLINE)
    return context.wrap_socket(plain, server_hostname=host)


def _send(conn: Any, count: int) -> None:
    # bytes, as most programs send: PyPy's own ssl takes a memoryview some 40 times slower
    # (12 against 500 MB/s, PyPy 7.3.11), and the comparison would be of that alone.
    chunk = bytes(_CHUNK)
    while count >= _CHUNK:
        conn.sendall(chunk)
        count -= _CHUNK
    conn.sendall(chunk[:count])


def _receive(conn: Any, count: int) -> None:
    while count > 0:
        data = conn.recv(_CHUNK)
        if not data:
            raise ConnectionError("the peer closed the connection early")
        count -= len(data)


def _serve(module: str, pem: str, size: int) -> None:
    tls = importlib.import_module(module)
    context = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, context, size), daemon=True).start()
        print(listener.getsockname()[1], flush=True)
        sys.stdin.read()


def _accept(listener: socket.socket, context: Any, size: int) -> None:
    while True:
        plain, _ = listener.accept()
        plain.settimeout(_DEADLINE)
        with plain, context.wrap_socket(plain, server_side=True) as conn:
            if conn.recv(1) == _UPLOAD:
                _receive(conn, size * MEGABYTE)
                conn.sendall(b".")
            else:
                _send(conn, size * MEGABYTE)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))

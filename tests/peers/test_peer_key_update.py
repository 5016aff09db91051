"""Keys that `openssl s_client` changes while data flows both ways (RFC 8446 section 4.6.3)."""

from __future__ import annotations

import hashlib
import itertools
import queue
import random
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import sslbind

DEADLINE = 30  # seconds
UPDATES = 24


class Client:
    """An s_client whose pipes are the streams; its commands are lines of one letter.

    It looks for a command only where a chunk begins that it reads, so whoever gives one waits
    until all before it has left, and sends nothing that looks like one.
    """

    def __init__(self, openssl, port, ca, log) -> None:
        command = [openssl, "s_client", "-connect", f"127.0.0.1:{port}", "-quiet", "-no_ign_eof"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [*command, "-CAfile", ca, "-verify_return_error", "-msg", "-msgfile", str(log)],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )
        self._watchdog = threading.Timer(DEADLINE, self._process.kill)
        self._watchdog.start()
        self._pool = ThreadPoolExecutor(1)
        self.received = self._pool.submit(self._receive)

    def _receive(self):
        """Return the digest of all that the server sends."""
        digest = hashlib.sha256()
        for part in iter(lambda: self._process.stdout.read1(65536), b""):
            digest.update(part)
        return digest.hexdigest()

    def send(self, data: bytes) -> None:
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def update_keys(self, letter: bytes) -> None:
        """Send a KeyUpdate; with `K` it asks for the server's."""
        self.send(letter + b"\n")
        for line in iter(self._process.stderr.readline, b""):
            if line.strip() == b"KEYUPDATE":
                return
        raise AssertionError("s_client has ended")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc) -> None:
        self._watchdog.cancel()
        self._process.kill()
        self._process.communicate()
        self._pool.shutdown()


class Server:
    """The other side: one thread receives, another sends a burst for whatever has come.

    Without an end to the bursts s_client, which prefers the network, would not read its commands.
    """

    def __init__(self, size: int) -> None:
        self._left = size
        self.arrived: queue.Queue[int] = queue.Queue()
        self._bursts: queue.Queue[int] = queue.Queue()

    def talk(self, conn):
        """Return the digests of what came and of what went; close_notify ends it."""
        came = hashlib.sha256()
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(self._send, conn)
            try:
                while self._left:
                    data = conn.recv(min(self._left, 100_000))
                    assert data
                    came.update(data)
                    self._left -= len(data)
                    self.arrived.put(len(data))
                    self._bursts.put(50)
            finally:
                self._bursts.put(0)
            went = sent.result()
        conn.unwrap()
        return came.hexdigest(), went

    def _send(self, conn):
        digest, rng = hashlib.sha256(), random.Random(1)
        for count in iter(self._bursts.get, 0):
            for _ in range(count):
                part = rng.randbytes(rng.randrange(1, 2000))
                conn.sendall(part)
                digest.update(part)
        return digest.hexdigest()

    def wait_for(self, size: int) -> None:
        """Wait until `size` more bytes have come."""
        while size:
            size -= self.arrived.get(timeout=DEADLINE)


@pytest.mark.skipif(not sslbind.HAS_TLSv1_3, reason="this OpenSSL has no TLS 1.3")
def test_key_updates_under_load(program, serve_once, pki, tmp_path):
    """The client's keys change, and ours when it asks for that, and no byte is lost."""
    log, rng = tmp_path / "messages", random.Random(1)
    chunks = [rng.randbytes(rng.randrange(1, 60_000)).hex().encode() for _ in range(UPDATES + 1)]
    server = Server(sum(map(len, chunks)))
    port, served = serve_once(server.talk, version="TLSv1_3")
    with Client(program("openssl"), port, pki.ca, log) as client:
        for chunk, letter in zip(chunks, itertools.cycle((b"k", b"K"))):
            client.send(chunk)
            server.wait_for(len(chunk))
            if chunk is not chunks[-1]:
                client.update_keys(letter)
        came, went = served.result(DEADLINE)
        assert came == hashlib.sha256(b"".join(chunks)).hexdigest()
        assert client.received.result(DEADLINE) == went
    updates = [line[:3] for line in log.read_text().splitlines() if line.endswith("KeyUpdate")]
    assert updates.count(">>>") == UPDATES
    assert updates.count("<<<") == UPDATES // 2

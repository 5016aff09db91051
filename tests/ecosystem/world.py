"""What an ecosystem test has in its process: contexts, data, and proof of whose TLS was used.

A test takes `world` and runs in a process of its own (see conftest.py), where `ssl` is

    context   the stdlib's: the test hands contexts of sslbind to a library that knows nothing
    install   sslbind: it took the place of `ssl` before the library was imported
    stdlib    the stdlib's, and so are the contexts: what the test says is true of it as well

`World.client`, `World.stranger` and `World.server` make contexts of the implementation under
test, `World.peer_client` and `World.peer_server` of the stdlib, for the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import platform
import socket
import threading
from pathlib import Path
from types import ModuleType

import pytest

DEADLINE = 60  # seconds for any single operation on a socket
SIZE = 10 * 2**20  # bytes that each library has to move
DATA = hashlib.shake_256(b"sslbind").digest(SIZE)
DIGEST = hashlib.sha256(DATA).hexdigest()
PYPY = platform.python_implementation() == "PyPy"


def needs(name: str, pypy: str = "") -> ModuleType:
    """Import a library; without it skip the whole file.

    Args: pypy: why the library is not for PyPy, if it is not.
    """
    if PYPY and pypy:
        pytest.skip(f"{name} is not for PyPy: {pypy}", allow_module_level=True)
    return pytest.importorskip(name, reason=f"{name} is not installed", exc_type=ImportError)


def digest(data) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def causes(exc) -> list:
    """Return an exception, and those that it came from or wraps, in any way libraries do."""
    found, left = [], [exc]
    while left:
        one = left.pop()
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            left += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
            left += getattr(one, "exceptions", ())
    return found


@contextlib.contextmanager
def refused(*classes):
    """Expect a refused certificate: `ssl.SSLCertVerificationError`, or a wrapper around it.

    Args: classes: what the library raises, if it is not the exception itself.
    """
    import ssl

    with pytest.raises(classes or ssl.SSLCertVerificationError) as caught:
        yield
    reasons = [one for one in causes(caught.value) if isinstance(one, ssl.SSLError)]
    assert reasons, f"no ssl.SSLError behind {caught.value!r}"
    assert "CERTIFICATE_VERIFY_FAILED" in [getattr(one, "reason", None) for one in reasons]


class World:
    """Contexts of the implementation under test and of the stdlib, and what the test may know.

    Args: way: see above. folder: the directory with the tests' certificates.
          sslbind, stdlib: the two modules.
    """

    def __init__(self, way: str, folder: Path, sslbind: ModuleType, stdlib: ModuleType) -> None:
        self.way = way
        self.tls = stdlib if way == "stdlib" else sslbind
        self._stdlib = stdlib
        self._expected: list[tuple[str, object]] = []
        self._peers_turn = False
        self.folder = folder
        self.ca, self.other_ca = str(folder / "ca.pem"), str(folder / "other-ca.pem")
        self.server_cert, self.server_key = str(folder / "server.crt"), str(folder / "server.key")
        self.server_both, self.client_both = str(folder / "server.pem"), str(folder / "client.pem")
        if way == "install":
            self._forbid_the_stdlib()

    def client(self):
        """Return a client context that trusts the test servers; it has to be used."""
        return self._watch("connect_good", self.tls.create_default_context(cafile=self.ca))

    def stranger(self):
        """Return a client context that trusts an authority that signed nothing here."""
        return self.tls.create_default_context(cafile=self.other_ca)

    def server(self, guarded: bool = False):
        """Return a server context, which has to be used.

        Args: guarded: whether clients have to show a certificate.
        """
        return self._watch("accept_good", self._server_of(self.tls, guarded))

    def shunned(self):
        """Return a server context that nobody will trust."""
        return self._server_of(self.tls, guarded=False)

    def peer_client(self, certificate: bool = False):
        """Return a client context of the stdlib, if wanted with a certificate."""
        with self._peer():
            context = self._stdlib.create_default_context(cafile=self.ca)
        if certificate:
            context.load_cert_chain(self.client_both)
        return context

    def peer_server(self):
        """Return a server context of the stdlib."""
        with self._peer():
            return self._server_of(self._stdlib, guarded=False)

    def watch(self, name: str, counter: str) -> None:
        """Hold that each context which the module's function `name` makes will be used.

        Args: counter: what the use adds to: "connect_good" or "accept_good".
        """
        make = getattr(self.tls, name)
        setattr(self.tls, name, lambda *args: self._watch(counter, make(*args)))

    def check(self) -> None:
        """Raise AssertionError if `ssl` is not what it should be, or a context was not used."""
        expected = self.tls if self.way == "install" else self._stdlib
        assert importlib.import_module("ssl") is expected
        for counter, context in self._expected:
            whose = {cls.__module__.partition(".")[0] for cls in type(context).__mro__}
            assert self.tls.__name__ in whose
            assert context.session_stats()[counter] > 0, f"{counter} is 0: this TLS was not used"

    def _server_of(self, tls, guarded):
        context = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server_both)
        if guarded:
            context.verify_mode = tls.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context

    def _watch(self, counter, context):
        self._expected.append((counter, context))
        return context

    @contextlib.contextmanager
    def _peer(self):
        self._peers_turn = True
        try:
            yield
        finally:
            self._peers_turn = False

    def _forbid_the_stdlib(self):
        # A library that finds its way to the stdlib's contexts would pass every test.
        cls = self._stdlib.SSLContext
        make = cls.__new__

        def guarded(cls, *args, **kwargs):
            assert self._peers_turn, "a context of the stdlib was made"
            return make(cls, *args, **kwargs)

        cls.__new__ = guarded


@contextlib.contextmanager
def listening(handle, family=socket.AF_INET, address=("127.0.0.1", 0)):
    """Serve each connection by `handle(socket)` in a thread; yields the address.

    What `handle` raises because its peer went away is nothing to the test.
    """

    def talk(conn):
        with contextlib.suppress(OSError), conn:
            handle(conn)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                conn, _ = listener.accept()
                conn.settimeout(DEADLINE)
                threading.Thread(target=talk, args=(conn,), daemon=True).start()

    with socket.socket(family) as listener:
        listener.bind(address)
        listener.listen()
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()
        # Wakes the thread that accepts; closing alone would not.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def in_loop(start):
    """Run an asyncio server in a thread; yields its port.

    Args: start: a function whose coroutine returns the listening `asyncio.Server`.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result(DEADLINE)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE)


def free_port() -> int:
    """Return a port of the loopback that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def await_port(port: int, alive) -> bool:
    """Wait until something listens on `port`; False once `alive()` is false."""
    pause = threading.Event()
    while alive():
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE).close()
            return True
        pause.wait(0.02)
    return False

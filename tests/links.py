"""Connections for the tests: over memory, over a wire that a test cuts as it likes, over sockets.

Every socket gets a deadline, so that a bug fails a test and never hangs the suite.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading

from outcomes import ORACLE
from pki import HOST

DEADLINE = 20.0  # seconds; no test waits that long unless it is about to fail
VERSIONS = ("TLSv1_2", "TLSv1_3")
FAMILIES = ("tcp", "unix")


def pin(context, mod, version: str | None):
    """Restrict a context to one TLS version, named as in `TLSVersion`; None leaves it alone."""
    if version is not None:
        context.minimum_version = mod.TLSVersion[version]
        context.maximum_version = mod.TLSVersion[version]
    return context


def new_context(mod, protocol: str):
    """Return a context that reports a missing close_notify, which 3.9's by default does not.

    3.9's own ssl has no name for that error, and keeps its default.
    """
    context = mod.SSLContext(getattr(mod, protocol))
    if mod is not ssl or ORACLE:
        context.options &= ~0x80  # OP_IGNORE_UNEXPECTED_EOF, by number for old Pythons
    return context


def client_context(mod, pki, version: str | None = None):
    """Return a client's context of `mod` that trusts the tests' authority."""
    context = new_context(mod, "PROTOCOL_TLS_CLIENT")
    context.load_verify_locations(pki.ca)
    return pin(context, mod, version)


def server_context(mod, pki, version: str | None = None, leaf=None):
    """Return a server's context of `mod` with the tests' server certificate, or `leaf`."""
    context = new_context(mod, "PROTOCOL_TLS_SERVER")
    context.load_cert_chain((leaf or pki.server).both)
    return pin(context, mod, version)


def raw_pair(family: str = "tcp") -> tuple[socket.socket, socket.socket]:
    """Return two connected plain sockets, `tcp` (loopback) or `unix`, with the deadline set."""
    if family == "unix":
        pair = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            left = socket.create_connection(listener.getsockname())
            right, _ = listener.accept()
        # Small records must leave at once: tests look at what is there right after a send.
        left.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        right.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = (left, right)
    for end in pair:
        end.settimeout(DEADLINE)
    return pair


def readable(sock, timeout: float = 0) -> bool:
    """Tell whether `select` reports the socket as readable within `timeout` seconds."""
    return bool(select.select([sock], [], [], timeout)[0])


class Peer(threading.Thread):
    """The other end of a test: runs `script(*args)` in a thread; leaving the block joins it.

    An exception in the script comes out of the block. If the block itself raised, the script
    is left alone: it ends by its sockets' deadline.
    """

    def __init__(self, script, *args) -> None:
        super().__init__(daemon=True)
        self._script, self._args = script, args
        self.result: object = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self._script(*self._args)
        except BaseException as exc:
            self.error = exc

    def finish(self):
        """Wait for the script; return its result or raise its exception."""
        self.join(DEADLINE)
        assert not self.is_alive(), "the peer is stuck"
        if self.error is not None:
            raise self.error
        return self.result

    def __enter__(self) -> Peer:
        self.start()
        return self

    def __exit__(self, kind, exc, trace) -> None:
        if kind is None:
            self.finish()


def shake(left, right) -> None:
    """Complete the handshake of two socket ends, the right one in a thread."""
    with Peer(right.do_handshake):
        left.do_handshake()


class Link:
    """`ours` (of the module under test) and `theirs` (stdlib), as sockets after a handshake."""

    def __init__(
        self, mod, pki, version=None, role="client", family="tcp", contexts=None, **options
    ) -> None:
        if contexts is None:
            makers = (client_context, server_context)
            mine, other = makers if role == "client" else reversed(makers)
            contexts = mine(mod, pki, version), other(ssl, pki, version)
        left, right = raw_pair(family)
        name = {"server_hostname": HOST}
        is_server = role == "server"
        self.ours = contexts[0].wrap_socket(
            left,
            server_side=is_server,
            do_handshake_on_connect=False,
            **({} if is_server else name),
            **options,
        )
        self.theirs = contexts[1].wrap_socket(
            right,
            server_side=not is_server,
            do_handshake_on_connect=False,
            **(name if is_server else {}),
        )
        shake(self.ours, self.theirs)
        self.settle()

    def settle(self) -> None:
        """Let both ends take in what TLS 1.3 sends after the handshake (session tickets)."""
        for sender, receiver in ((self.ours, self.theirs), (self.theirs, self.ours)):
            sender.sendall(b"?")
            assert receiver.recv(1) == b"?"

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *exc) -> None:
        self.ours.close()
        self.theirs.close()


def memory_pair(client, server, name=HOST, client_mod=ssl, server_mod=ssl, session=None):
    """Return two objects joined by memory BIOs, not yet shaken: (client, server)."""
    to_server = server_mod.MemoryBIO()
    to_client = client_mod.MemoryBIO()
    outgoing, incoming = client_mod.MemoryBIO(), server_mod.MemoryBIO()
    left = End(client.wrap_bio(to_client, outgoing, False, name, session), to_client, outgoing)
    right = End(server.wrap_bio(to_server, incoming, True), to_server, incoming)
    left.other, right.other = right, left
    return left, right


class End:
    """One side of a memory connection: the object and its two BIOs."""

    other: End

    def __init__(self, obj, incoming, outgoing) -> None:
        self.obj, self.incoming, self.outgoing = obj, incoming, outgoing

    def flush(self) -> int:
        """Carry what this side has written to the other side; return the number of bytes."""
        data = self.outgoing.read()
        if data:
            self.other.incoming.write(data)
        return len(data)

    def hang_up(self) -> None:
        """Carry the rest over and say that no more comes."""
        self.flush()
        self.other.incoming.write_eof()


def shake_memory(left: End, right: End) -> None:
    """Complete the handshake of a memory pair; what a side raises comes out here."""
    waiting = [left, right]
    for _ in range(20):
        for end in list(waiting):
            try:
                end.obj.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
            finally:
                end.flush()
        if not waiting:
            return
    raise AssertionError("the handshake does not come to an end")


def shaken_pair(mod, pki, version=None, client=None, server=None):
    """Return a memory pair of `mod` after its handshake and ticket exchange."""
    client = client or client_context(mod, pki, version)
    server = server or server_context(mod, pki, version)
    left, right = memory_pair(client, server, client_mod=mod, server_mod=mod)
    shake_memory(left, right)
    for sender in (left, right):
        sender.obj.write(b"?")
        sender.flush()
        assert sender.other.obj.read(1) == b"?"
    return left, right


class Wire:
    """`ours`: a non-blocking socket of the module under test; the test plays its network.

    `theirs` is a stdlib object in memory: `say` gives the bytes it would send, and `feed`
    puts any bytes into the kernel before `ours`, cut where the test wants.
    """

    def __init__(self, mod, pki, version, family="tcp", role="client") -> None:
        left, self.raw = raw_pair(family)
        if role == "client":
            mine, other = client_context(mod, pki, version), server_context(ssl, pki, version)
        else:
            mine, other = server_context(mod, pki, version), client_context(ssl, pki, version)
        name = HOST if role == "client" else None
        self.ours = mine.wrap_socket(
            left,
            server_side=role == "server",
            do_handshake_on_connect=False,
            server_hostname=name,
        )
        self.ours.setblocking(False)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.theirs = other.wrap_bio(
            self._in, self._out, role == "client", HOST if role == "server" else None
        )
        self._handshake()

    def _handshake(self) -> None:
        shaken = {"ours": False, "theirs": False}
        for _ in range(20):
            for name in shaken:
                try:
                    getattr(self, name).do_handshake()
                    shaken[name] = True
                except ssl.SSLWantReadError:
                    pass
                self.carry()
            if all(shaken.values()):
                break
        assert all(shaken.values())
        # One byte each way, so that no session ticket lies about when the test begins.
        self.ours.send(b"?")
        self.carry(until=1)
        assert self.theirs.read(1) == b"?"
        self.feed(self.say(b"?"))
        assert self.take(1) == b"?"

    def carry(self, until: int = 0) -> None:
        """Move what both ends have sent so far."""
        data = self._out.read()
        if data:
            self.raw.sendall(data)
        while until or readable(self.raw):
            chunk = self.raw.recv(65536)
            if not chunk:
                break
            self._in.write(chunk)
            until = 0

    def say(self, *messages: bytes) -> bytes:
        """Return the records in which the peer sends the messages, one each; b"" says goodbye."""
        for message in messages:
            if message:
                self.theirs.write(message)
            else:
                # It waits for our close_notify; its own is written.
                with contextlib.suppress(ssl.SSLWantReadError):
                    self.theirs.unwrap()
        return self._out.read()

    def feed(self, data: bytes) -> None:
        """Put bytes before `ours` and wait until its kernel has them."""
        if data:
            self.raw.sendall(data)
            assert readable(self.ours, DEADLINE)

    def take(self, size: int) -> bytes:
        """Read exactly `size` bytes on the non-blocking socket, waiting by `select`."""
        got = b""
        while len(got) < size:
            try:
                got += self.ours.recv(size - len(got))
            except ssl.SSLWantReadError:
                assert readable(self.ours, DEADLINE)
        return got

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc) -> None:
        self.ours.close()
        self.raw.close()

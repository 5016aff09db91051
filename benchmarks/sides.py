"""The libraries that are compared, each behind the same few methods.

A pair's ends have the methods of SSLObject (`write`, `read`) over memory, and those of SSLSocket
over sockets. What a library does not have raises Unsupported.
"""

from __future__ import annotations

import contextlib
import importlib
import socket
import threading
from typing import Any, Callable

from .scene import HOST, Scene

#: Seconds that a socket of a benchmark waits: a row that hangs is an error, not a result.
PATIENCE = 30.0
#: Bytes; so that 256 KiB and more wait in the kernel while nobody receives.
SOCKET_BUFFER = 1 << 22


class Unsupported(Exception):
    """This side has no such operation."""


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets with large buffers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pair = socket.create_connection(listener.getsockname()), listener.accept()[0]
    for sock in pair:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(PATIENCE)
    return pair


class Side:
    """A module with the interface of ssl."""

    #: What `import` is measured on.
    module = ""

    def __init__(self, name: str, scene: Scene) -> None:
        self.name = name
        self.scene = scene
        self.module = self.module or name
        try:
            self.mod: Any = importlib.import_module(self.module)
        except ImportError as exc:
            raise Unsupported(str(exc)) from exc
        self.WantRead: Any = self._want_read()

    def _want_read(self) -> Any:
        return self.mod.SSLWantReadError

    def version(self) -> str:
        """Return which OpenSSL this side uses."""
        return str(self.mod.OPENSSL_VERSION)

    def need_ssl_interface(self) -> None:
        """Refuse rows that stand on ssl's own interface: this side has it."""

    def forgetter(self) -> Callable[[], None]:
        """Return what drops all that is remembered of certificates: sslbind keeps their dicts."""
        if self.name != "sslbind":
            return {}.clear
        forget: Callable[[], None] = importlib.import_module("sslbind._certs").known_infos.clear
        return forget

    def chain_forgetter(self) -> Callable[[], None]:
        """Return what drops all that is remembered of verifications: sslbind keeps digests."""
        if self.name != "sslbind":
            return lambda: None
        forget: Callable[[], None] = importlib.import_module("sslbind._ffi").lib.sb_forget_chains
        return forget

    # ------------------------------------------------------------ contexts

    def new_context(self) -> Any:
        """Return a new context without settings."""
        return self.mod.SSLContext(self.mod.PROTOCOL_TLS_CLIENT)

    def default_context(self) -> Any:
        """Return a context with the system's trust store."""
        return self.mod.create_default_context()

    def client_context(self) -> Any:
        """Return a context that trusts the scene's authority, and it only."""
        context = self.new_context()
        context.load_verify_locations(self.scene.ca)
        return context

    def server_context(self) -> Any:
        """Return a context with the scene's certificate."""
        context = self.mod.SSLContext(self.mod.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.scene.server)
        return context

    # ------------------------------------------------------------ connections in memory

    def shake(
        self, client: Any, server: Any, session: Any = None, buffers: Any = None
    ) -> tuple[Any, Any]:
        """Return two objects, (client, server), that have shaken hands in memory.

        `buffers` are what the client writes to and what it reads from, if not this side's own.
        """
        up, down = buffers or (self.mod.MemoryBIO(), self.mod.MemoryBIO())
        near = client.wrap_bio(down, up, server_hostname=HOST, session=session)
        far = server.wrap_bio(up, down, server_side=True)
        left = [near, far]
        while left:
            try:
                left[0].do_handshake()
            except self.WantRead:
                left.reverse()
            else:
                left.pop(0)
        return near, far

    def session(self, near: Any) -> Any:
        """Return the session of an object that has read its tickets."""
        return near.session

    def is_resumed(self, near: Any) -> bool:
        """Did the handshake resume a session?"""
        return bool(near.session_reused)

    def memory_pair(self) -> tuple[Any, Any]:
        """Return two objects that have shaken hands and exchanged TLS 1.3's tickets."""
        near, far = self.shake(self.client_context(), self.server_context())
        far.write(b"x")
        near.read(1)
        return near, far

    # ------------------------------------------------------------ connections over sockets

    def wrap_client(self, raw: socket.socket, context: Any) -> Any:
        """Return the client's end over a connected socket, after its handshake."""
        return context.wrap_socket(raw, server_hostname=HOST)

    def wrap_server(self, raw: socket.socket, context: Any) -> Any:
        """Return the server's end over a connected socket, after its handshake."""
        return context.wrap_socket(raw, server_side=True)

    def socket_pair(
        self, far_side: Side | None = None, contexts: tuple[Any, Any] | None = None
    ) -> tuple[Any, Any]:
        """Return two connected ends, (client, server); the server's may be another side's."""
        far_side = far_side or self
        client, server = contexts or (self.client_context(), far_side.server_context())
        raw, peer = tcp_pair()
        made: list[Any] = []
        thread = threading.Thread(target=lambda: made.append(far_side.wrap_server(peer, server)))
        thread.start()
        near = self.wrap_client(raw, client)
        thread.join()
        made[0].sendall(b"x")
        near.recv(1)  # and with it the tickets
        return near, made[0]

    def fed_pair(self) -> tuple[Any, Any]:
        """Return a pair whose far end, which nobody measures, is the stdlib's on every side."""
        return self.socket_pair(Side("ssl", self.scene))

    def connect(self) -> Any:
        """Return a socket that is connected with the peer."""
        raw = socket.create_connection(("127.0.0.1", self.scene.port), PATIENCE)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.wrap_client(raw, self.client_context())


class PyOpenSSL(Side):
    """pyOpenSSL, whose wheels bring an OpenSSL of their own."""

    module = "OpenSSL.SSL"

    def _want_read(self) -> Any:
        return self.mod.WantReadError

    def version(self) -> str:
        return str(self.mod.SSLeay_version(0).decode())

    def need_ssl_interface(self) -> None:
        raise Unsupported("another interface than ssl's")

    def new_context(self) -> Any:
        return self.mod.Context(self.mod.TLS_METHOD)

    def default_context(self) -> Any:
        context = self.new_context()
        context.set_default_verify_paths()
        context.set_verify(self.mod.VERIFY_PEER)
        return context

    def client_context(self) -> Any:
        context = self.new_context()
        context.load_verify_locations(self.scene.ca)
        context.set_verify(self.mod.VERIFY_PEER)
        return context

    def server_context(self) -> Any:
        context = self.new_context()
        context.use_certificate_chain_file(self.scene.server)
        context.use_privatekey_file(self.scene.server)
        return context

    def _connection(self, context: Any, raw: Any, server_side: bool) -> Any:
        connection = self.mod.Connection(context, raw)
        if server_side:
            connection.set_accept_state()
        else:
            connection.set_tlsext_host_name(HOST.encode())
            connection.set_connect_state()
        return connection

    def shake(self, client: Any, server: Any, session: Any = None) -> tuple[Any, Any]:
        near = _End(self._connection(client, None, False), self.WantRead)
        far = _End(self._connection(server, None, True), self.WantRead)
        near.other, far.other = far, near
        if session is not None:
            near.connection.set_session(session)
        left = [near, far]
        while left:
            end = left[0]
            try:
                end.connection.do_handshake()
            except self.WantRead:
                left.reverse()
            else:
                left.pop(0)
            end.carry()
        return near, far

    def session(self, near: Any) -> Any:
        return near.connection.get_session()

    def is_resumed(self, near: Any) -> bool:
        raise Unsupported("no way to know")

    def _over_socket(self, context: Any, raw: socket.socket, server_side: bool) -> Any:
        raw.setblocking(True)  # it leaves waiting to its caller
        connection = self._connection(context, raw, server_side)
        connection.do_handshake()
        return connection

    def wrap_client(self, raw: socket.socket, context: Any) -> Any:
        return self._over_socket(context, raw, False)

    def wrap_server(self, raw: socket.socket, context: Any) -> Any:
        return self._over_socket(context, raw, True)


class _End:
    """An end of pyOpenSSL's over memory: what it sends is carried to the other end at once."""

    other: _End

    def __init__(self, connection: Any, want_read: Any) -> None:
        self.connection = connection
        self.read = connection.recv
        self._want_read = want_read

    def write(self, data: bytes) -> None:
        self.connection.sendall(data)  # send() takes one record
        self.carry()

    def carry(self) -> None:
        with contextlib.suppress(self._want_read):
            while True:
                self.other.connection.bio_write(self.connection.bio_read(1 << 20))


SIDES = {"ssl": Side, "sslbind": Side, "pyopenssl": PyOpenSSL}


def make(name: str, scene: Scene) -> Side:
    """Return the side of that name. Raises: Unsupported: it is not installed."""
    return SIDES[name](name, scene)

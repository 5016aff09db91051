"""``_SSLSocket``: a TLS connection, with the contract of CPython's ``_ssl._SSLSocket``.

One class serves sockets and memory buffers. An operation is one call into C, which waits as
well; after EINTR it comes back, so that signal handlers run, and is called again with the time
that is left.
"""

from __future__ import annotations

import _socket
import operator
from _weakref import ref

from . import _errors, _ffi
from ._bio import MemoryBIO
from ._certs import Certificate, known_infos, load_info, take_list
from ._constants import MODERN_DEFAULTS, PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER
from ._ffi import AGAIN, PLAIN, REFCOUNTED, SIZE_MAX, ZERO_RETURN, ffi, lib, native
from ._pump import Pump
from ._session import SSLSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ._ctx import _SSLContext
if TYPE_CHECKING or native is None:
    from ._portable import Operations

    _environment = None
else:
    _cast, _POINTER = ffi.cast, ffi.typeof("sb_conn *")

    class Operations(native.Operations):
        """That of native.c, and the connection as cffi takes it."""

        __slots__ = ()

        @property
        def _c_conn(self) -> Any:
            return _cast(_POINTER, self._address)

    try:
        from _ssl import MemoryBIO as _HostBIO

        _host_bio = _HostBIO()
    except Exception:  # there is none, or somebody's stand-in: such are pumped
        _host_bio = None
    _parts = (
        native.Context,
        native.MemoryBIO,
        SSLSession,
        native.Keeper,
        _socket.socket.gettimeout,  # not the object's own method: see _portable.py
        _socket.socket.__new__(_socket.socket),  # one without a descriptor
        _errors.no_socket,
        _errors.want_read,
        _host_bio,
        SIZE_MAX,
    )
    #: True: use the memory that its MemoryBIOs are made of, if they are of our OpenSSL.
    _environment = native.environment(*_parts, True)


@_ffi.refuse_deletions
class _SSLSocket(Operations):
    """A TLS connection over a socket or over two memory buffers. See: ssl(7)."""

    __slots__ = ("__weakref__",)

    _context: _SSLContext

    def __new__(cls, *args: Any, **kwargs: Any) -> _SSLSocket:
        raise TypeError(f"cannot create '{cls.__module__}.{cls.__qualname__}' instances")

    # ------------------------------------------------------------ operations

    def _error(self, status: int, err: Any, doing: str) -> Any:
        if status == _ffi.TIMEOUT and doing == "shutdown":
            doing = "read" if err.want == _ffi.WANT_READ else "write"
        return _errors.make(status, err, hostname=self._server_hostname, doing=doing)

    def shutdown(self) -> Any:
        """Send close_notify and wait for the peer's; return the socket. SSL_shutdown(3)."""
        self._shut_down()
        if self._pump is not None:
            self._pump.give_back()
        return self._sock() if self._sock is not None else None

    def _go_on(self, result: int, doing: str, call: Any, *args: Any) -> int:
        """Return what an operation that has not done anything so far gives in the end.

        Args: result: of ``call(connection, *args, timeout)``; doing: its name in messages.
        """
        while result <= AGAIN:
            if self._pump is not None:
                self._pump.drain()
            result = call(self._c_conn, *args, result)
        return self._finish(result, doing)

    def _finish(self, result: int, doing: str) -> int:
        """Return what a result stands for that is not AGAIN, or raise it."""
        err: Any = None
        status = result
        if result <= -PLAIN:
            status, err = _ffi.unpack(result)
        parked, self._parked = self._parked, None
        if parked is not None:  # before anything else
            raise parked
        if status >= 0:
            return status
        if status == ZERO_RETURN and err.quiet and doing == "read":
            return 0
        raise self._error(status, err, doing)

    def pending(self) -> int:
        """Return how many decrypted bytes wait to be read. See: SSL_pending(3)."""
        return int(lib.sb_conn_pending(self._c_conn))

    def _close(self, end: bool = True) -> None:
        """Let no operation, of any thread, touch the descriptor any more.

        Where objects live until a collection, the TLS state is freed as well. With `end` the
        descriptor will be closed: threads that wait for it are woken.
        """
        lib.sb_conn_close(self._c_conn, end, not REFCOUNTED)

    def sendfile(self, fd: int, offset: int, size: int, flags: int = 0, /) -> int:
        """Let the kernel encrypt and send up to `size` bytes of a file, from `offset` on.

        Waits until the socket takes some, and returns how many it took: 0 at the file's end.
        Raises: SSLError: the kernel does not encrypt on this connection; OSError: it cannot
                send this file, or not on this connection; TimeoutError, SSLWantWriteError;
                NotImplementedError: this OpenSSL was built without kernel TLS.
        See: SSL_sendfile(3).
        """
        fd, offset, size, flags = map(operator.index, (fd, offset, size, flags))
        if size < 0:
            raise ValueError("Cannot convert negative int")
        sent: int = -1
        try:
            sent = lib.sb_conn_sendfile(self._c_conn, fd, offset, size, flags, self._timeout())
            if sent < 0 or self._parked is not None:
                call = lib.sb_conn_sendfile
                sent = self._go_on(sent, "write", call, fd, offset, size, flags)
            return sent
        finally:
            if sent < 0:  # as in _write_with_length()
                lib.sb_conn_stop_writing(self._c_conn)

    def uses_ktls_for_send(self) -> bool:
        """Does the kernel encrypt? BIO_get_ktls_send(3)."""
        return bool(lib.sb_conn_uses_ktls(self._c_conn, True))

    def uses_ktls_for_recv(self) -> bool:
        """Does the kernel decrypt? BIO_get_ktls_recv(3)."""
        return bool(lib.sb_conn_uses_ktls(self._c_conn, False))

    # ------------------------------------------------------------ what was agreed

    @property
    def server_side(self) -> bool:
        """Is this the server's end?"""
        return bool(lib.sb_conn_is_server(self._c_conn))

    @property
    def server_hostname(self) -> str | None:
        """The name that was asked for and, if so set, checked."""
        return self._server_hostname

    def version(self) -> str | None:
        """Return the protocol version, None before the handshake. SSL_get_version(3)."""
        return _ffi.text(lib.sb_conn_version(self._c_conn))

    def cipher(self) -> tuple[str, str, int] | None:
        """Return the cipher's name, the version that defines it, and its secret bits."""
        out = ffi.new("sb_cipher *")
        lib.sb_conn_cipher(self._c_conn, out)
        name = _ffi.text(out.name)
        return None if name is None else (name, _ffi.text(out.protocol) or "", out.bits)

    def shared_ciphers(self) -> list[tuple[str, str, int]] | None:
        """Return the ciphers that both ends offered; None on a client or before the handshake."""
        block = ffi.new("sb_block *")
        err = _errors.new_record()
        status = lib.sb_conn_shared_ciphers(self._c_conn, block, err)
        if status == _ffi.BAD_ARG:
            return None
        _errors.check(status, err)
        flat = _ffi.texts(block)
        return [(flat[i], flat[i + 1], int(flat[i + 2])) for i in range(0, len(flat), 3)]

    def compression(self) -> str | None:
        """Return the compression in use, None if there is none."""
        return _ffi.text(lib.sb_conn_compression(self._c_conn))

    def _protocol(self, call: Any) -> str | None:
        out = ffi.new("char[256]")
        count = call(self._c_conn, out)
        return ffi.buffer(out, count)[:].decode("utf-8") if count else None

    def selected_alpn_protocol(self) -> str | None:
        """Return the protocol chosen by ALPN (RFC 7301), None if none was."""
        return self._protocol(lib.sb_conn_alpn)

    def selected_npn_protocol(self) -> str | None:
        """Return the protocol chosen by NPN, None if none was."""
        return self._protocol(lib.sb_conn_npn)

    def _name(self, call: Any, *args: Any) -> str | None:
        out = ffi.new("const char **")
        err = _errors.new_record()
        _errors.check(call(self._c_conn, *args, out, err), err)
        return _ffi.text(out[0])

    def group(self) -> str | None:
        """Return the key exchange group; NotImplementedError before OpenSSL 3.2."""
        return self._name(lib.sb_conn_group)

    def client_sigalg(self) -> str | None:
        """Return the client's signature algorithm; NotImplementedError before OpenSSL 3.5."""
        return self._name(lib.sb_conn_sigalg, self.server_side)

    def server_sigalg(self) -> str | None:
        """Return the server's signature algorithm; NotImplementedError before OpenSSL 3.5."""
        return self._name(lib.sb_conn_sigalg, not self.server_side)

    def get_channel_binding(self, cb_type: str = "tls-unique") -> bytes | None:
        """Return channel binding data (RFC 5929 3), None before the handshake."""
        if not isinstance(cb_type, str):
            raise TypeError(
                f"get_channel_binding() argument 'cb_type' must be str, "
                f"not {type(cb_type).__name__}"
            )
        if cb_type != "tls-unique":
            raise ValueError(f"'{cb_type}' channel binding type not implemented")
        out = ffi.new("char[64]")
        count = lib.sb_conn_tls_unique(self._c_conn, out)
        return ffi.buffer(out, count)[:] if count else None

    # ------------------------------------------------------------ certificates

    def getpeercert(self, der: bool = False, /) -> Any:
        """Return the peer's certificate: DER bytes, or a dict that is empty if unverified.

        None if the peer sent none. Raises: ValueError: the handshake is not done.
        """
        while (found := self._peer_cert(None if der else known_infos)) is None:
            if self._lacks_peer_cert(der):
                return None
        encoded, info = found
        if der:
            return encoded
        if type(info) is dict:
            return info.copy()
        return load_info(encoded, info) if info else {}

    def _lacks_peer_cert(self, der: bool) -> bool:
        """Ask once more, for the error; False if all is well by now, as another thread may see to.

        Raises: as `getpeercert`.
        """
        cert, block, err = ffi.new("sb_cert **"), ffi.new("sb_block *"), _errors.new_record()
        verified = lib.sb_conn_peer_cert(self._c_conn, cert, block, err)
        if verified == _ffi.WANT_READ:
            raise ValueError("handshake not done yet")
        if verified == _ffi.BAD_ARG:
            return True
        _errors.check(verified, err)
        lib.sb_block_clear(block)
        certificate = Certificate._wrap(cert[0])
        if verified and not der:
            certificate.get_info()
        return False

    def get_verified_chain(self) -> list[Certificate] | None:
        """Return the chain from the peer's certificate to a trusted one, None if unverified."""
        return take_list(lib.sb_conn_chain, self._c_conn, True)

    def get_unverified_chain(self) -> list[Certificate] | None:
        """Return the chain as the peer sent it, None if it sent none."""
        return take_list(lib.sb_conn_chain, self._c_conn, False)

    def verify_client_post_handshake(self) -> None:
        """Ask a TLS 1.3 client for its certificate (RFC 8446 4.6.2) with the next I/O."""
        err = _errors.new_record()
        _errors.check(lib.sb_conn_request_client_cert(self._c_conn, err), err)

    # ------------------------------------------------------------ session, context, owner

    @property
    def session(self) -> SSLSession | None:
        """The session, to be offered again by a later connection."""
        err = _errors.new_record()
        pointer = lib.sb_conn_session(self._c_conn, err)
        _errors.check(err.status, err)
        return SSLSession._wrap(pointer, self._context) if pointer else None

    @session.setter
    def session(self, value: SSLSession) -> None:
        _check_session(value, self._context, self.server_side)
        if lib.sb_conn_handshake_done(self._c_conn):
            raise ValueError("Cannot set session after handshake.")
        self._offer(value)

    def _offer(self, session: SSLSession) -> None:
        err = _errors.new_record()
        _errors.check(lib.sb_conn_set_session(self._c_conn, session._c_session, err), err)

    @property
    def session_reused(self) -> bool:
        """Did the peer accept the session that was offered?"""
        return bool(lib.sb_conn_session_reused(self._c_conn))

    @property
    def context(self) -> _SSLContext:
        """The context; an SNI callback may set another. SSL_set_SSL_CTX(3)."""
        return self._context

    @context.setter
    def context(self, value: _SSLContext) -> None:
        from ._ctx import _SSLContext

        if not isinstance(value, _SSLContext):
            raise TypeError("The value must be a SSLContext")
        err = _errors.new_record()
        _errors.check(lib.sb_conn_set_ctx(self._c_conn, value._c_ctx, err), err)
        self._context = value

    @property
    def owner(self) -> Any:
        """The SSLSocket or SSLObject that this is the TLS part of; held weakly."""
        return self._owner() if self._owner is not None else None

    @owner.setter
    def owner(self, value: Any) -> None:
        self._owner = None if value is None else ref(value)

    __reduce_ex__ = _ffi.refuse_copies

    def _public(self) -> Any:
        """Return what callbacks get to see; None if that is gone."""
        weak = self._owner or self._sock
        return self if weak is None else weak()


_SSLSocket.__module__ = "_ssl"


def _check_session(session: SSLSession, ctx: _SSLContext, server_side: bool) -> None:
    if not isinstance(session, SSLSession):
        raise TypeError("Value is not a SSLSession.")
    if session._ctx is not ctx:
        raise ValueError("Session refers to a different SSLContext.")
    if server_side:
        raise ValueError("Cannot set session for server-side SSLSocket.")


def _hostname(value: str | bytes) -> bytes:
    if isinstance(value, str):
        raw = value.encode("ascii")
    elif isinstance(value, bytes):
        raw = value
    else:
        raise TypeError(f"server_hostname must be str or None, not {type(value).__name__}")
    if 0 in raw:
        raise TypeError("argument must be encoded string without null bytes, not str")
    if not raw or raw[0] == 0x2E:
        raise ValueError("server_hostname cannot be an empty string or start with a leading dot.")
    return raw


def _refuse_side(server_side: bool) -> NoReturn:
    own, other = ("server", "CLIENT") if server_side else ("client", "SERVER")
    raise _errors.refusal(f"Cannot create a {own} socket with a PROTOCOL_TLS_{other} context")


def make_connection(
    ctx: _SSLContext,
    server_side: bool,
    server_hostname: str | bytes | None,
    owner: Any,
    session: SSLSession | None,
    sock: Any,
    bios: tuple[Any, Any] | None,
) -> _SSLSocket:
    """Return a connection of `ctx` over a socket or, where that is None, two memory buffers.

    It is short because it runs where the last handshake has left nothing in the caches.
    """
    # Python 3.9 leaves this to OpenSSL, which refuses the handshake.
    wrong = PROTOCOL_TLS_CLIENT if server_side else PROTOCOL_TLS_SERVER
    if ctx._protocol == wrong and MODERN_DEFAULTS:
        _refuse_side(server_side)
    host = hostname = incoming = outgoing = pump = None
    fd = -1
    if server_hostname is not None:
        host = _hostname(server_hostname)
        hostname = host.decode()
    if bios is None:
        fd = _descriptor(sock)
    else:
        incoming, outgoing = bios
        # Not isinstance(), which believes a proxy's __class__: C must have what is one.
        if not issubclass(type(incoming), MemoryBIO) or not issubclass(type(outgoing), MemoryBIO):
            _check_bios(bios)
            pump = Pump(incoming, outgoing)
    if session is not None:
        _check_session(session, ctx, server_side)
    self: Any
    parts = ctx, server_side, host, hostname, session, fd, owner, sock, incoming, outgoing, pump
    while (self := _make(_environment, *parts)) is None:
        _explain(ctx, server_side, host, session, fd)
    if pump is not None:
        pump.c_conn = self._c_conn
    return self  # type: ignore[no-any-return]


_make = _SSLSocket._make


def _descriptor(sock: Any) -> int:
    if not isinstance(sock, _socket.socket):
        raise TypeError(f"a socket is required, not {type(sock).__name__!r}")
    fd = sock.fileno()
    if fd < 0:
        raise _errors.SSLError("Underlying socket has been closed.")
    return fd


def _check_bios(bios: tuple[Any, Any]) -> None:
    for bio in bios:
        if not hasattr(bio, "pending") or not hasattr(bio, "write_eof"):
            raise TypeError(f"a MemoryBIO is required, not {type(bio).__name__!r}")


def _explain(
    ctx: _SSLContext, server_side: bool, host: bytes | None, session: SSLSession | None, fd: int
) -> None:
    """Try once more what has failed, and raise its error, should it fail again.

    OpenSSL 4.0 refuses names that no certificate can have, without an error of its own. Nor need
    there be one where memory is short, but then another name would fail as well.
    """
    err = _errors.new_record()
    conn = lib.sb_conn_new(ctx._c_ctx, server_side, host or ffi.NULL, fd, err)
    if not conn:
        if host and not err.code:
            conn = lib.sb_conn_new(ctx._c_ctx, server_side, b"other.example", fd, err)
        if conn:
            lib.sb_conn_free(conn)
            raise _errors.refusal(f"OpenSSL refuses the host name {host!r}")
        raise _errors.make(_ffi.FAILED if err.code else _ffi.NO_MEMORY, err)
    try:
        if session is not None:
            _errors.check(lib.sb_conn_set_session(conn, session._c_session, err), err)
    finally:
        lib.sb_conn_free(conn)


def shorten(cls: type[Any], **signatures: str) -> None:
    """Put shortcuts.c's way before these methods of a class, where there is one."""
    if native is None:
        return
    for name, signature in signatures.items():
        method = vars(cls)[name]
        text = f"{name}{signature}\n--\n\n{method.__doc__}"
        parts = _SSLSocket, _errors.SSLEOFError, _environment
        setattr(cls, name, native.shortcut(cls, method.__qualname__, method, text, *parts))

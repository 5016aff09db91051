"""``_SSLSocket``: a TLS connection, with the contract of CPython's ``_ssl._SSLSocket``.

One class serves sockets and memory buffers. An operation is one call into C, which waits as
well; after EINTR it comes back, so that signal handlers run, and is called again with the time
that is left.
"""

from __future__ import annotations

import _socket
import _thread
import operator
import sys
from _weakref import ref
from collections import deque

from . import _errors, _ffi
from ._bio import MemoryBIO, as_view
from ._certs import Certificate, check, known_info, load_info, take_list
from ._constants import MODERN_DEFAULTS, PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER
from ._ffi import (
    AGAIN,
    PLAIN,
    REFCOUNTED,
    SMALL,
    WANT_READ,
    ZERO_RETURN,
    ffi,
    lib,
    small_pool,
    take_scratch,
)
from ._hooks import Hooks
from ._session import SSLSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ._ctx import _SSLContext

# asyncio always asks for 256 KiB. PyPy makes bytes of more than about 128 KiB in memory fresh from
# the kernel, whose page faults cost as much as the decryption: there a read delivers less.
_LARGE = (256 if REFCOUNTED else 64) * 1024
_large_pool: deque[Any] = deque()

# CPython's own takes a C int before Python 3.10.
_SIZE_MAX = sys.maxsize if MODERN_DEFAULTS else 0x7FFFFFFF

_c_read, _c_write = lib.sb_conn_read, lib.sb_conn_write
_CHARS, _from_buffer, _release = ffi.typeof("char[]"), ffi.from_buffer, ffi.release

# Not the object's own method: eventlet's answers for the green thread, not for the descriptor.
_gettimeout = _socket.socket.gettimeout


#: A rough size of an SSL, for PyPy's collector.
_SSL_SIZE = 20_000


class _SSLSocket:
    """A TLS connection over a socket or over two memory buffers. See: ssl(7)."""

    __slots__ = (
        "__weakref__",
        "_c_conn",
        "_context",
        "_hooks",
        "_owner",
        "_server_hostname",
        "_sock",
    )

    _c_conn: Any
    _context: _SSLContext
    _server_hostname: str | None
    _hooks: Hooks
    _sock: ref[_socket.socket] | None
    _owner: ref[Any] | None

    def __new__(cls, *args: Any, **kwargs: Any) -> _SSLSocket:
        raise TypeError(f"cannot create '{cls.__module__}.{cls.__qualname__}' instances")

    # ------------------------------------------------------------ the four operations

    def _timeout(self) -> float:
        """Return seconds for C: 0 never waits, a negative number waits without limit."""
        if self._sock is None:
            return 0.0
        sock = self._sock()
        if sock is None:
            raise _errors.no_socket()
        timeout = _gettimeout(sock)
        return -1.0 if timeout is None else timeout

    def _error(self, status: int, err: Any, doing: str) -> Any:
        if status == _ffi.TIMEOUT and doing == "shutdown":
            doing = "read" if err.want == _ffi.WANT_READ else "write"
        return _errors.make(status, err, hostname=self._server_hostname, doing=doing)

    def do_handshake(self) -> None:
        """Perform the handshake. See: SSL_do_handshake(3).

        Raises: SSLCertVerificationError, SSLError, OSError, TimeoutError, SSLWantReadError,
                SSLWantWriteError; what a callback raised.
        """
        self._perform(lib.sb_conn_handshake, "handshake")

    def shutdown(self) -> Any:
        """Send close_notify and wait for the peer's; return the socket. SSL_shutdown(3)."""
        self._perform(lib.sb_conn_shutdown, "shutdown")
        return self._sock() if self._sock is not None else None

    def _perform(self, call: Any, doing: str) -> None:
        result = call(self._c_conn, self._timeout())
        if result != 0 or self._hooks.pending is not None:
            self._go_on(result, doing, call)

    def read(self, size: int, buffer: Any = None, /) -> Any:
        """Return up to `size` bytes, or put them into `buffer` and return how many.

        As soon as a byte is there it returns, with as many whole records as have arrived and
        fit. See: SSL_read_ex(3).
        """
        if type(size) is not int:
            size = operator.index(size)
        if buffer is not None:
            return self._read_into(size, buffer)
        pool, cap = small_pool, SMALL
        if not 0 < size <= cap:
            if size <= 0:
                if size < 0:
                    raise ValueError("size should not be negative")
                return b""
            if size > _SIZE_MAX:
                raise OverflowError("signed integer is greater than maximum")
            pool, cap = _large_pool, _LARGE
            size = min(size, cap)
        try:
            scratch = pool.pop()
        except IndexError:
            scratch = _ffi.new_scratch(cap)
        target, view = scratch
        timeout = 0.0 if self._sock is None else self._timeout()
        count = _c_read(self._c_conn, target, size, timeout)
        if count <= 0 or self._hooks.pending is not None:
            if count == WANT_READ and self._hooks.pending is None:
                pool.append(scratch)
                raise _errors.want_read()  # at once: event loops meet this after all other reads
            count = self._go_on(count, "read", _c_read, target, size)
        data = view[:count]
        pool.append(scratch)
        return data

    def _read_into(self, size: int, buffer: Any) -> int:
        try:
            target = _from_buffer(_CHARS, buffer, True)
        except (TypeError, BufferError) as exc:
            raise TypeError(
                f"read() argument 2 must be read-write bytes-like object, "
                f"not {type(buffer).__name__}"
            ) from exc
        try:
            cap = len(target)
            if not 0 < size <= cap:
                size = cap
            if not size:
                return 0
            timeout = 0.0 if self._sock is None else self._timeout()
            count: int = _c_read(self._c_conn, target, size, timeout)
            if count <= 0 or self._hooks.pending is not None:
                count = self._go_on(count, "read", _c_read, target, size)
            return count
        finally:
            _release(target)  # or a traceback would keep the buffer from being resized

    def _go_on(self, result: int, doing: str, call: Any, *args: Any) -> int:
        """Return what an operation that has not done anything so far gives in the end.

        Args: result: of ``call(connection, *args, timeout)``; doing: its name in messages.
        """
        while result <= AGAIN:
            result = call(self._c_conn, *args, result)
        err: Any = None
        status = result
        if result <= -PLAIN:
            status, err = _ffi.unpack(result)
        pending = self._hooks.take()
        if pending is not None:  # before anything else
            raise pending
        if status >= 0:
            return status
        if status == ZERO_RETURN and err.quiet and doing == "read":
            return 0
        raise self._error(status, err, doing)

    def write(self, b: Any, /) -> int:
        """Send `b` and return its length; after SSLWantWriteError repeat with the same data.

        See: SSL_write_ex(3).
        """
        if type(b) is bytes:
            return self._write_with_length(b, len(b))
        with as_view(b) as view, ffi.from_buffer(view) as data:
            return self._write_with_length(data, view.nbytes)

    def _write_with_length(self, data: Any, size: int) -> int:
        """Send `size` bytes from bytes or from a ``char *``; PyPy's ``Lib/ssl.py`` calls it too."""
        count: int = -1
        try:
            timeout = 0.0 if self._sock is None else self._timeout()
            count = _c_write(self._c_conn, data, size, timeout)
            if count < 0 or self._hooks.pending is not None:
                count = self._go_on(count, "write", _c_write, data, size)
            return count
        finally:
            if count < 0:  # a signal handler may have raised: let other threads write
                lib.sb_conn_stop_writing(self._c_conn)

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
            if sent < 0 or self._hooks.pending is not None:
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
        block = ffi.new("sb_block *")
        verified = self._peer_cert(block, False)
        if verified is None:
            return None
        encoded = _ffi.item(block)
        if der:
            return encoded
        if not verified:
            return {}
        info = known_info(encoded)
        if info is None and self._peer_cert(block, True) is not None:
            info = load_info(block)
        return info

    def _peer_cert(self, block: Any, fields: bool) -> int | None:
        err = _errors.new_record()
        status: int = lib.sb_conn_peer_cert(self._c_conn, fields, block, err)
        if status < 0:
            if status == _ffi.WANT_READ:
                raise ValueError("handshake not done yet")
            if status == _ffi.BAD_ARG:
                return None
            check(status, block, err)
        return status

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
        pointer = lib.sb_conn_session(self._c_conn)
        return SSLSession._wrap(pointer, self._context) if pointer else None

    @session.setter
    def session(self, value: SSLSession) -> None:
        if not isinstance(value, SSLSession):
            raise TypeError("Value is not a SSLSession.")
        if value._ctx is not self._context:
            raise ValueError("Session refers to a different SSLContext.")
        if self.server_side:
            raise ValueError("Cannot set session for server-side SSLSocket.")
        if lib.sb_conn_handshake_done(self._c_conn):
            raise ValueError("Cannot set session after handshake.")
        err = _errors.new_record()
        _errors.check(lib.sb_conn_set_session(self._c_conn, value._c_session, err), err)

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
        """Return what callbacks get to see."""
        public = self.owner
        if public is None and self._sock is not None:
            public = self._sock()
        return public


_SSLSocket.__module__ = "_ssl"


class _Pump:
    """Moves bytes between buffers of another module's MemoryBIO class and our own.

    asyncio, trio and others make stdlib's MemoryBIO and hand it to our wrap_bio(). What an
    operation needs is not known before it, so all that is there is taken over before it, and
    what is left at the end of TLS is given back.
    """

    __slots__ = (
        "draining",
        "filling",
        "incoming",
        "length",
        "more",
        "order",
        "outgoing",
        "own_in",
        "own_out",
    )

    def __init__(self, incoming: Any, outgoing: Any) -> None:
        self.incoming = incoming
        self.outgoing = outgoing
        self.own_in = MemoryBIO()
        self.own_out = MemoryBIO()
        # A signal handler or a finaliser may use the connection while a frame below it moves
        # bytes: it must not wait for that frame, nor overtake it, which goes on when it returns.
        self.order = _thread.RLock()
        self.filling = self.draining = self.more = False
        self.length = ffi.new("size_t *")

    def fill(self) -> bool:
        """Take over what came in; return whether there was anything."""
        incoming, own = self.incoming, self.own_in
        with self.order:
            if self.filling:
                return False
            try:
                self.filling = True
                data = incoming.read()
                if data and lib.sb_bio_write(own._c_bio, data, len(data)) != _ffi.OK:
                    raise MemoryError
                ended = incoming.eof and not own._ended
                if ended:
                    own.write_eof()
            finally:
                self.filling = False
        return bool(data) or ended

    def drain(self) -> None:
        """Hand over what is to go out."""
        with self.order:
            self.more = True
            if self.draining:
                return
            try:
                self.draining = True
                while self.more:
                    self.more = False
                    self._hand_over()
            finally:
                self.draining = False

    def _hand_over(self) -> None:
        own = self.own_out._c_bio
        target, view = scratch = take_scratch()
        count = lib.sb_bio_read_all(own, target, SMALL)
        if 0 < count <= SMALL:
            self.outgoing.write(view[:count])
        elif count:
            memory = lib.sb_bio_take(own, self.length)
            try:
                self.outgoing.write(ffi.buffer(memory, self.length[0]))
            finally:
                lib.sb_free(memory)
        small_pool.append(scratch)

    def give_back(self) -> None:
        """Return what came behind the peer's close_notify, unless the end was marked already."""
        with self.order:
            if self.own_in.pending and not self.own_in._ended:
                self.incoming.write(self.own_in.read() + self.incoming.read())


class _PumpedConnection(_SSLSocket):
    """A connection over another module's memory buffers."""

    __slots__ = ("_pump",)

    _pump: _Pump

    def _perform(self, call: Any, doing: str) -> None:
        self._pump.fill()
        try:
            super()._perform(call, doing)
        finally:
            self._pump.drain()
        if doing == "shutdown":
            self._pump.give_back()

    def read(self, size: int, buffer: Any = None, /) -> Any:
        """Read, from what has come in by now."""
        pump = self._pump
        incoming = pump.incoming
        if incoming.pending or incoming.eof:
            pump.fill()
        try:
            return _read(self, size, buffer)
        finally:
            if _pending(pump.own_out._c_bio):  # as after a key update
                pump.drain()

    def _write_with_length(self, data: Any, size: int) -> int:
        try:
            return _write_with_length(self, data, size)
        except _errors.SSLWantReadError:
            if not self._pump.fill():
                raise
            return _write_with_length(self, data, size)
        finally:
            self._pump.drain()

    def pending(self) -> int:
        """Return how many bytes wait to be read, encrypted ones that were taken over included.

        uvloop reads on while this or the other module's buffer is not at 0.
        """
        return super().pending() + self._pump.own_in.pending


_read, _write_with_length, _pending = (
    _SSLSocket.read,
    _SSLSocket._write_with_length,
    lib.sb_bio_pending,
)


def _hostname(value: str | bytes) -> bytes:
    if isinstance(value, str):
        raw = value.encode("ascii")
    elif isinstance(value, bytes):
        raw = value
    else:
        raise TypeError(f"server_hostname must be str or None, not {type(value).__name__}")
    if b"\0" in raw:
        raise TypeError("argument must be encoded string without null bytes, not str")
    if raw[:1] in (b"", b"."):
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
    host = NULL if server_hostname is None else _hostname(server_hostname)
    fd, c_in, c_out = -1, NULL, NULL
    pump = None
    if bios is not None:
        incoming, outgoing = bios
        if not isinstance(incoming, MemoryBIO) or not isinstance(outgoing, MemoryBIO):
            pump = _pump_between(incoming, outgoing)
            incoming, outgoing = pump.own_in, pump.own_out
        c_in, c_out = incoming._c_bio, outgoing._c_bio
    else:
        fd = _descriptor(sock)
    self: _SSLSocket
    if pump is None:
        self = _new_object(_SSLSocket)
    else:
        self = _new_object(_PumpedConnection)
        self._pump = pump
    self._context = ctx
    self._sock = None if sock is None else _weak(sock)
    self._owner = None if owner is None else _weak(owner)
    self._server_hostname = server_hostname if server_hostname is None else host.decode()
    self._hooks = hooks = Hooks(self)
    args = ctx._c_ctx, server_side, host, fd, c_in, c_out, hooks.handle
    pointer = lib.sb_conn_new(*args, NULL) or _explain(args)
    self._c_conn = _gc(pointer, _conn_free, _SSL_SIZE)
    if session is not None:
        self.session = session
    return self


NULL = ffi.NULL
_new_object, _weak, _gc, _conn_free = object.__new__, ref, ffi.gc, lib.sb_conn_free


def _descriptor(sock: Any) -> int:
    if not isinstance(sock, _socket.socket):
        raise TypeError(f"a socket is required, not {type(sock).__name__!r}")
    fd = sock.fileno()
    if fd < 0:
        raise _errors.SSLError("Underlying socket has been closed.")
    return fd


def _pump_between(incoming: Any, outgoing: Any) -> _Pump:
    for bio in (incoming, outgoing):
        if not hasattr(bio, "pending") or not hasattr(bio, "write_eof"):
            raise TypeError(f"a MemoryBIO is required, not {type(bio).__name__!r}")
    return _Pump(incoming, outgoing)


def _explain(args: tuple[Any, ...]) -> Any:
    """Try once more what has failed, for its error; return the connection should it succeed."""
    err = _errors.new_record()
    pointer = lib.sb_conn_new(*args, err)
    if not pointer:
        raise _errors.make(_ffi.FAILED if err.code else _ffi.NO_MEMORY, err)
    return pointer

"""The hot methods in Python: for PyPy, and for CPython without a GIL.

Elsewhere the three classes are in C, method by method the same: ``src/_sslbind/cpython/native.c``.
What is not hot, `_ctx`, `_bio` and `_conn` add to either.
"""

from __future__ import annotations

import _socket
import _thread
import operator
import sys
from _weakref import ref
from collections import deque

from . import _errors, _ffi
from ._constants import PROTOCOL_TLS_CLIENT
from ._ffi import (
    REFCOUNTED,
    SIZE_MAX,
    SMALL,
    WANT_READ,
    as_view,
    ffi,
    lib,
    small_pool,
    take_scratch,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, NoReturn

    from ._pump import Pump

# asyncio always asks for 256 KiB. PyPy makes bytes of more than about 128 KiB in memory fresh from
# the kernel, whose page faults cost as much as the decryption: there a read delivers less, if it
# is not asyncio's, which does more for each than that, and if no other thread may have the GIL
# when it is done: that costs milliseconds, however much was read.
_LARGE = 256 * 1024
_LARGE_OF_OTHERS = _LARGE if REFCOUNTED else 64 * 1024
_large_pool: deque[Any] = deque()

_c_read, _c_write = lib.sb_conn_read, lib.sb_conn_write
_count = _thread._count  # of other threads
_CHARS, _from_buffer, _release = ffi.typeof("char[]"), ffi.from_buffer, ffi.release

NULL = ffi.NULL

if not REFCOUNTED:  # PyPy frees some megabytes at once, of bytes that are made anew at once
    lib.sb_free_a_block(8 << 20)

_keep_conn = _ffi.keeper(lib.sb_conn_free, 20_000)  # what an SSL costs, roughly

# Not the object's own method: eventlet's answers for the green thread, not for the descriptor.
_gettimeout = _socket.socket.gettimeout


_keep_ctx = _ffi.keeper(lib.sb_ctx_free, 10_000)  # what an SSL_CTX costs, roughly


class Context:
    """What `_ctx._SSLContext`, which derives from it, is made of."""

    _c_check_hostname: bool
    _c_ctx: Any
    _keeper: Any
    _protocol: int

    @classmethod
    def _open(cls, protocol: int, ciphers: bytes | None, version: int) -> Any:
        """Return a context by a list of ciphers and a least version; None if OpenSSL refused."""
        c_ctx = lib.sb_ctx_new(protocol, NULL if ciphers is None else ciphers, version, NULL)
        if not c_ctx:
            return None
        kept = _keep_ctx(c_ctx)
        self = object.__new__(cls)  # not before: else the `__del__` of a subclass would see half
        self._c_ctx, self._keeper = kept
        self._protocol = protocol
        self._c_check_hostname = protocol == PROTOCOL_TLS_CLIENT
        return self


class MemoryBIO:
    """What `_bio.MemoryBIO`, which derives from it, does all day."""

    __slots__ = ("_c_bio", "_ended", "_keeper")

    _refuse: Callable[[], NoReturn]
    _c_bio: Any
    _ended: bool
    _keeper: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make all of it here: a class that derives from this one need not call `__init__`."""
        self = super().__new__(cls)
        self._c_bio, self._keeper = _keep_bio(_new() or _no_memory())
        self._ended = False
        return self

    def __init__(self) -> None:
        pass

    @property
    def pending(self) -> int:
        """The number of bytes in the buffer. See: BIO_pending(3)."""
        return lib.sb_bio_pending(self._c_bio)  # type: ignore[no-any-return]

    @property
    def eof(self) -> bool:
        """Is the buffer empty, and was `write_eof` called? See: BIO_eof(3)."""
        return bool(lib.sb_bio_eof(self._c_bio))

    def read(self, size: int = -1, /) -> bytes:
        """Take and return up to `size` bytes, all if it is negative; b"" if there are none.

        Raises: TypeError: not an integer; OverflowError: it does not fit a C int.
        See: BIO_read(3).
        """
        if size == -1:
            return self._read_all()
        size = operator.index(size)
        if not -0x80000000 <= size <= 0x7FFFFFFF:
            raise OverflowError("signed integer is out of range for a C int")
        if size < 0:
            return self._read_all()
        size = min(size, lib.sb_bio_pending(self._c_bio))
        if not size:
            return b""
        buf = _ffi.new_unset("char[]", size)
        count = lib.sb_bio_read(self._c_bio, buf, size)
        return ffi.buffer(buf, count)[:]  # type: ignore[no-any-return]

    def _read_all(self) -> bytes:
        target, view = scratch = take_scratch()
        count = _read_all(self._c_bio, target, SMALL)
        if count <= SMALL:
            data: bytes = view[:count]
        else:
            length = ffi.new("size_t *")
            memory = ffi.gc(lib.sb_bio_take(self._c_bio, length), lib.sb_free)
            data = ffi.buffer(memory, length[0])[:]
            ffi.release(memory)
        small_pool.append(scratch)
        return data

    def write(self, b: Any, /) -> int:
        """Append `b`, bytes-like; return its length in bytes.

        Raises: SSLError: write_eof() came first. TypeError, BufferError: no contiguous bytes.
        """
        if isinstance(b, bytes):
            data, size = b, len(b)
        else:
            view = as_view(b)
            data, size = ffi.from_buffer(view), view.nbytes
        if self._ended:
            self._refuse()
        if lib.sb_bio_write(self._c_bio, data, size) != _ffi.OK:
            raise MemoryError
        return size

    def write_eof(self) -> None:
        """Mark the end: once the buffer is empty, readers see the end of the stream.

        See: BIO_set_mem_eof_return(3).
        """
        self._ended = True
        lib.sb_bio_write_eof(self._c_bio)


_new, _read_all = lib.sb_bio_new, lib.sb_bio_read_all
_keep_bio = _ffi.keeper(lib.sb_bio_free)


def _no_memory() -> NoReturn:
    raise MemoryError


def _share_buffers(c_conn: Any, incoming: Any, outgoing: Any) -> bool:
    """Let a connection use the BIOs of PyPy's own MemoryBIOs, if those are of the same OpenSSL.

    PyPy's own ssl looks at nothing else of the two objects either.
    """
    host = sys.modules.get("_cffi_ssl._stdssl")
    if host is None or not type(incoming) is type(outgoing) is getattr(host, "MemoryBIO", 0):
        return False
    mem = host.lib.BIO_s_mem()
    status: int = lib.sb_conn_share_buffers(c_conn, incoming.bio, outgoing.bio, mem)
    if status == _ffi.NO_MEMORY:
        raise MemoryError
    return status == _ffi.OK


class Operations:
    """What `_SSLSocket`, which derives from it, does all day; its `_finish` does the rest."""

    __slots__ = (
        "_c_conn",
        "_context",
        "_for_large",
        "_handle",
        "_keeper",
        "_owner",
        "_parked",
        "_pump",
        "_server_hostname",
        "_sock",
    )

    _c_conn: Any
    _context: Any
    _for_large: bool  #: are its buffers those of another class, as asyncio's?
    _handle: Any
    _keeper: Any
    _go_on: Callable[..., int]
    _owner: ref[Any] | None
    _parked: BaseException | None  #: what a callback raised, for the operation to raise
    _pump: Pump | None
    _server_hostname: str | None
    _sock: ref[_socket.socket] | None

    @classmethod
    def _make(
        cls,
        environment: None,
        context: Any,
        server_side: bool,
        host: bytes | None,
        hostname: str | None,
        session: Any,
        fd: int,
        owner: Any,
        sock: Any,
        incoming: Any,
        outgoing: Any,
        pump: Pump | None,
    ) -> Any:
        """Return a connection of a context; None if OpenSSL refused."""
        c_conn = lib.sb_conn_new(context._c_ctx, server_side, host or NULL, fd, NULL)
        if not c_conn:
            return None
        self = object.__new__(cls)
        self._c_conn, self._keeper = _keep_conn(c_conn)
        self._context, self._server_hostname, self._parked = context, hostname, None
        self._owner = None if owner is None else ref(owner)
        self._sock = None if sock is None else ref(sock)
        self._for_large = pump is not None
        if pump is not None and _share_buffers(c_conn, incoming, outgoing):
            pump = None
        elif sock is None:
            bios = (incoming._c_bio, outgoing._c_bio) if pump is None else (NULL, NULL)
            if lib.sb_conn_set_buffers(c_conn, *bios) != _ffi.OK:
                raise MemoryError
        self._pump = pump
        self._handle = handle = ffi.new_handle(ref(self))  # else it would live for ever
        lib.sb_conn_set_handle(self._c_conn, handle)
        if sock is None and not REFCOUNTED:  # PyPy's own ssl does not save this memory either
            lib.sb_conn_keep_memory(c_conn)
        if session is not None:
            err = _errors.new_record()
            if lib.sb_conn_set_session(c_conn, session._c_session, err) != _ffi.OK:
                return None
        return self

    def do_handshake(self) -> None:
        """Perform the handshake. See: SSL_do_handshake(3).

        Raises: SSLCertVerificationError, SSLError, OSError, TimeoutError, SSLWantReadError,
                SSLWantWriteError; what a callback raised.
        """
        self._perform(lib.sb_conn_handshake, "handshake")

    def _shut_down(self) -> None:
        self._perform(lib.sb_conn_shutdown, "shutdown")

    def _perform(self, call: Any, doing: str) -> None:
        pump = self._pump
        if pump is not None:
            pump.fill()
        try:
            result = call(self._c_conn, self._timeout())
            if result != 0 or self._parked is not None:
                self._go_on(result, doing, call)
        finally:
            if pump is not None:
                pump.drain()

    def _timeout(self) -> float:
        """Return seconds for C: 0 never waits, a negative number waits without limit."""
        if self._sock is None:
            return 0.0
        sock = self._sock()
        if sock is None:
            raise _errors.no_socket()
        timeout = _gettimeout(sock)
        return -1.0 if timeout is None else timeout

    def _peer_cert(self, known: dict[bytes, Any] | None, /) -> tuple[bytes, Any] | None:
        """Return DER, and what `known` has by it; else the fields, for marshal.loads().

        Without `known` or verification the latter are b"". None: there is none, or it failed.
        """
        cert, block, err = ffi.new("sb_cert **"), ffi.new("sb_block *"), _errors.new_record()
        verified = lib.sb_conn_peer_cert(self._c_conn, cert, block, err)
        if verified < 0:
            return None
        try:
            der = _ffi.item(block)
            if not verified or known is None:
                return der, b""
            info = known.get(der)
            if info is not None:
                return der, info
            status = lib.sb_cert_fields(cert, 1, block, err)
            fields = _ffi.item(block)
            return (der, fields) if status == _ffi.OK else None
        finally:
            lib.sb_cert_free(cert[0])

    def read(self, size: int, buffer: Any = None, /) -> Any:
        """Return up to `size` bytes, or put them into `buffer` and return how many.

        As soon as a byte is there it returns, with as many whole records as have arrived and
        fit. See: SSL_read_ex(3).
        """
        pump = self._pump
        if pump is None:
            return self._read(size, buffer)
        pump.fill()
        try:
            return self._read(size, buffer)
        finally:
            pump.drain_if_needed()  # as after a key update

    def _read(self, size: int, buffer: Any) -> Any:
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
            if size > SIZE_MAX:
                raise OverflowError("signed integer is greater than maximum")
            pool, cap = _large_pool, _LARGE
            for_large = self._for_large or (self._sock is not None and _count())
            size = min(size, _LARGE if for_large else _LARGE_OF_OTHERS)
        try:
            scratch = pool.pop()
        except IndexError:
            scratch = _ffi.new_scratch(cap)
        target, view = scratch
        timeout = 0.0 if self._sock is None else self._timeout()
        count = _c_read(self._c_conn, target, size, timeout)
        if count <= 0 or self._parked is not None:
            if count == WANT_READ and self._parked is None:
                pool.append(scratch)
                raise _errors.want_read()  # at once: event loops meet this after all other reads
            count = self._go_on(count, "read", _c_read, target, size)
        data = view[:count]
        pool.append(scratch)
        return data

    def _read_into(self, size: int, buffer: Any) -> int:
        try:
            target = _from_buffer(_CHARS, buffer, True)
        except Exception as exc:  # whatever its __buffer__ raises
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
            if count <= 0 or self._parked is not None:
                count = self._go_on(count, "read", _c_read, target, size)
            return count
        finally:
            _release(target)  # or a traceback would keep the buffer from being resized

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
        pump = self._pump
        if pump is None:
            return self._write(data, size)
        try:
            return self._write(data, size)
        except _errors.SSLWantReadError:
            if not pump.fill():
                raise
            return self._write(data, size)
        finally:
            pump.drain()

    def _write(self, data: Any, size: int) -> int:
        count: int = -1
        try:
            timeout = 0.0 if self._sock is None else self._timeout()
            count = _c_write(self._c_conn, data, size, timeout)
            if count < 0 or self._parked is not None:
                count = self._go_on(count, "write", _c_write, data, size)
            return count
        finally:
            if count < 0:  # a signal handler may have raised: let other threads write
                lib.sb_conn_stop_writing(self._c_conn)

"""MemoryBIO: a buffer between TLS and whoever moves its bytes."""

from __future__ import annotations

import operator

from . import _errors, _ffi
from ._ffi import SMALL, ffi, lib, small_pool, take_scratch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


class MemoryBIO:
    """A memory buffer that an SSLObject reads from or writes to.

    See: BIO_s_mem(3), whose place it takes.
    """

    __slots__ = ("__weakref__", "_c_bio", "_ended")

    def __init__(self) -> None:
        self._c_bio: Any = _gc(_new() or _no_memory(), _free)
        self._ended = False

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
            raise _errors.SSLError("cannot write() after write_eof()")
        if lib.sb_bio_write(self._c_bio, data, size) != _ffi.OK:
            raise MemoryError
        return size

    def write_eof(self) -> None:
        """Mark the end: once the buffer is empty, readers see the end of the stream.

        See: BIO_set_mem_eof_return(3).
        """
        self._ended = True
        lib.sb_bio_write_eof(self._c_bio)

    __reduce_ex__ = _ffi.refuse_copies


MemoryBIO.__module__ = "_ssl"


_new, _free, _gc, _read_all = lib.sb_bio_new, lib.sb_bio_free, ffi.gc, lib.sb_bio_read_all


def _no_memory() -> NoReturn:
    raise MemoryError


def as_view(data: Any) -> memoryview:
    """Return contiguous bytes; TypeError for what has none, BufferError for scattered ones."""
    try:
        view = memoryview(data)
    except TypeError:
        raise TypeError(f"a bytes-like object is required, not {type(data).__name__!r}") from None
    if not view.c_contiguous:
        raise BufferError("memoryview: underlying buffer is not C-contiguous")
    return view

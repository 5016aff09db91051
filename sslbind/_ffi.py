"""The only importer of the binary, and the few helpers that every module of the back needs."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache

from . import _sslbind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Union

    Scratch = tuple[Any, Any]
    Path = Union[str, bytes, os.PathLike[str], os.PathLike[bytes]]


def _load_native() -> Any:
    """Return the second module of the same file, None where it has none (see native.c there)."""
    # What importlib.machinery has, without the import of that.
    from _frozen_importlib import ModuleSpec
    from _frozen_importlib_external import ExtensionFileLoader

    name, path = f"{__package__}._native", _sslbind.__file__
    loader = ExtensionFileLoader(name, path)
    try:
        module = loader.create_module(ModuleSpec(name, loader, origin=path))
    except ImportError:
        return None
    loader.exec_module(module)
    return module


ffi: Any = _sslbind.ffi
lib: Any = _sslbind.lib

#: Does an object die with its last reference? Else memory of OpenSSL's is given back on close.
REFCOUNTED = sys.implementation.name == "cpython"

#: The classes of `_portable` in C; None on PyPy, and on CPython without a GIL.
native: Any = _load_native() if REFCOUNTED else None

#: How many bytes a read may ask for: CPython's own takes a C int before Python 3.10.
SIZE_MAX = sys.maxsize if sys.version_info >= (3, 10) else 0x7FFFFFFF

# What enum sb_status in src/_sslbind/api.h says.
OK: int = lib.SB_OK
WANT_READ: int = lib.SB_WANT_READ
WANT_WRITE: int = lib.SB_WANT_WRITE
TIMEOUT: int = lib.SB_TIMEOUT
ZERO_RETURN: int = lib.SB_ZERO_RETURN
ABRUPT_EOF: int = lib.SB_ABRUPT_EOF
SYSCALL: int = lib.SB_SYSCALL
FAILED: int = lib.SB_FAILED
VERIFY: int = lib.SB_VERIFY
NO_MEMORY: int = lib.SB_NO_MEMORY
BAD_ARG: int = lib.SB_BAD_ARG
UNSUPPORTED: int = lib.SB_UNSUPPORTED
CLOSED: int = lib.SB_CLOSED
NOT_TEXT: int = lib.SB_NOT_TEXT
PLAIN: int = lib.SB_PLAIN
AGAIN: int = lib.sb_again


#: ``ffi.new`` that leaves memory as it is: zeroing 256 KiB costs more than decrypting a record.
new_unset = ffi.new_allocator(should_clear_after_alloc=False)


def keeper(free: Any, size: int = 0) -> Callable[[Any], tuple[Any, Any]]:
    """Return a function that takes over a pointer: what to use, and what to keep beside it.

    CPython's collector runs all finalisers of a cycle before it takes the cycle apart, in any
    order. That of ``ffi.gc`` is one, so another object's ``__del__`` would use what is freed
    already. The keeper's frees nothing: it makes an ``ffi.gc`` that is too young for this
    collection, and so goes when the keeper does. PyPy finalises the holder before what it holds.

    Args: free: the function of C; size: bytes, what PyPy's collector is to feel.
    """
    if not REFCOUNTED:
        return lambda pointer: (ffi.gc(pointer, free, size), None)
    if native is not None:
        cast, number, name, in_c = ffi.cast, ffi.typeof("uintptr_t"), free.__name__, native.Keeper
        return lambda pointer: (pointer, in_c(int(cast(number, pointer)), name))

    class Keeper:
        __slots__ = ("owned", "pointer")

        def __init__(self, pointer: Any) -> None:
            self.pointer = pointer

        def __del__(self) -> None:
            self.owned = ffi.gc(self.pointer, free)

    return lambda pointer: (pointer, Keeper(pointer))


# Memory that is used again and copied out of: a fresh buffer of n bytes, zeroed, costs more than
# decrypting n bytes. Each call takes one from the pool, which no other thread nor a signal's
# handler can then use meanwhile; one that an exception keeps from being put back is made anew.
SMALL = 16 * 1024
small_pool: deque[Scratch] = deque()


def new_scratch(cap: int) -> Scratch:
    """Return a buffer of `cap` bytes, and the view of it to copy out by."""
    buffer = new_unset("char[]", cap)
    return buffer, ffi.buffer(buffer)


def take_scratch() -> Scratch:
    """Return a buffer of SMALL bytes, for `small_pool.append` afterwards."""
    try:
        return small_pool.pop()
    except IndexError:
        return new_scratch(SMALL)


def text(pointer: Any) -> str | None:
    """Return the string behind a ``const char *``, None for NULL."""
    return ffi.string(pointer).decode("utf-8", "surrogateescape") if pointer else None


def c_string(value: str | bytes, encoding: str = "utf-8") -> bytes:
    """Return `value` as C takes it; ValueError if it holds a NUL, which C would end at.

    Raises: TypeError: neither text nor bytes.
    """
    raw = value.encode(encoding) if isinstance(value, str) else bytes(as_view(value))
    if b"\0" in raw:
        raise ValueError("embedded null character")
    return raw


def fs_path(path: Path) -> bytes:
    """Return a path for C; TypeError if it is none, ValueError if it holds a NUL."""
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise ValueError("embedded null byte")
    return raw


def rows(table: Any) -> Iterator[Any]:
    """Walk a C table whose last row has no name."""
    index = 0
    while table[index].name:
        yield table[index]
        index += 1


def item(block: Any) -> bytes:
    """Return the only item of a ``sb_block`` and give its memory back."""
    data: bytes = ffi.buffer(block.data, block.len)[:]
    lib.sb_block_clear(block)
    return data


def items(block: Any) -> list[bytes]:
    """Return the items of a ``sb_block`` and give its memory back."""
    if not block.n:
        return []
    try:
        data = ffi.buffer(block.data, block.len)[:]
        ends = ffi.unpack(block.ends, block.n)
    finally:
        lib.sb_block_clear(block)
    return [data[start:end] for start, end in zip([0, *ends], ends)]


def texts(block: Any) -> list[str]:
    """Return the items of a block of plain texts."""
    return [item.decode("utf-8", "replace") for item in items(block)]


def _class_name(thing: object) -> str:
    """Return the name by which CPython's errors call a class: of C modules it is the full one."""
    cls = type(thing)
    return f"_ssl.{cls.__qualname__}" if cls.__module__ == "_ssl" else cls.__name__


def refuse_copies(self: object, protocol: object) -> NoReturn:
    """Raise TypeError, as the ``__reduce_ex__`` of what owns memory of C: it cannot be copied."""
    raise TypeError(f"cannot pickle {_class_name(self)!r} object")


def refuse_deletions(cls: Any) -> Any:
    """Let deleting an attribute that can be set say what CPython's own class says; a decorator."""

    def refuser(name: str) -> Callable[[object], NoReturn]:
        def refuse(self: object) -> NoReturn:
            text = f"attribute {name!r} of {_class_name(self)!r} objects cannot be deleted"
            raise AttributeError(text)

        return refuse

    for name, held in list(vars(cls).items()):
        if isinstance(held, property) and held.fset is not None:
            setattr(cls, name, held.deleter(refuser(name)))
    return cls


FEATURES: dict[str, bool] = {
    ffi.string(row.name).decode(): bool(row.value) for row in rows(lib.sb_features)
}


@cache
def lib_names() -> dict[int, str]:
    """Return the names of OpenSSL's libraries by number, as ``_ssl.lib_codes_to_names``."""
    return {row.value: ffi.string(row.name).decode() for row in rows(lib.sb_libs)}


@cache
def reason_names() -> dict[tuple[int, int], str]:
    """Return the names of error reasons, as ``_ssl.err_codes_to_names``."""
    return {(row.lib, row.reason): ffi.string(row.name).decode() for row in rows(lib.sb_reasons)}


def unpack(result: int) -> tuple[int, Any]:
    """Return the status and the error record behind a result that is -PLAIN or less."""
    err = ffi.gc(ffi.cast("sb_error *", -4 * result), lib.sb_error_free)
    return err.status, err


def verify_text(code: int) -> str:
    """Return the text of a verification error. See: X509_verify_cert_error_string(3)."""
    return text(lib.sb_verify_text(code)) or ""


def as_view(data: Any) -> memoryview:
    """Return contiguous bytes; TypeError for what has none, BufferError for scattered ones."""
    try:
        view = memoryview(data)
    except TypeError:
        raise TypeError(f"a bytes-like object is required, not {type(data).__name__!r}") from None
    if not view.c_contiguous:
        raise BufferError("memoryview: underlying buffer is not C-contiguous")
    return view

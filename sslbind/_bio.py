"""MemoryBIO: a buffer between TLS and whoever moves its bytes."""

from __future__ import annotations

from . import _errors, _ffi
from ._ffi import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn
if TYPE_CHECKING or native is None:
    from ._portable import MemoryBIO as _MemoryBIO
else:
    _MemoryBIO = native.MemoryBIO


class MemoryBIO(_MemoryBIO):
    """A memory buffer that an SSLObject reads from or writes to.

    See: BIO_s_mem(3), whose place it takes.
    """

    __slots__ = ("__weakref__",)

    def _refuse(self) -> NoReturn:
        raise _errors.SSLError("cannot write() after write_eof()")

    __reduce_ex__ = _ffi.refuse_copies


MemoryBIO.__module__ = "_ssl"

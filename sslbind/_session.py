"""SSLSession: a TLS session to be offered again (RFC 5246 7.3, RFC 8446 2.2)."""

from __future__ import annotations

from . import _ffi
from ._ffi import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_keep = _ffi.keeper(lib.sb_session_free)


class SSLSession:
    """The session of a connection, for another one to resume; equal to one with the same id.

    `SSLSocket.session` gives it; it belongs to that socket's context, and cannot be copied or
    pickled. With TLS 1.3 it is there once the server's ticket has come: after the first read.
    See: SSL_get1_session(3); RFC 5246 section 7.3, RFC 8446 section 2.2.
    """

    __slots__ = ("_c_session", "_ctx", "_info", "_keeper")

    _c_session: Any
    _keeper: Any
    _ctx: object
    _info: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> SSLSession:
        raise TypeError(f"cannot create '{cls.__module__}.{cls.__qualname__}' instances")

    @classmethod
    def _wrap(cls, pointer: Any, ctx: object) -> SSLSession:
        self = object.__new__(cls)
        self._c_session, self._keeper = _keep(pointer)
        self._ctx = ctx
        self._info = ffi.new("sb_session_info *")
        lib.sb_session_describe(pointer, self._info)
        return self

    @property
    def id(self) -> bytes:
        """The session's identifier, up to 32 bytes. See: SSL_SESSION_get_id(3)."""
        return ffi.buffer(self._info.id, self._info.id_len)[:]  # type: ignore[no-any-return]

    @property
    def time(self) -> int:
        """When it was made, in seconds since 1970. See: SSL_SESSION_get_time(3)."""
        return int(self._info.time)

    @property
    def timeout(self) -> int:
        """For how many seconds after that it may be used. See: SSL_SESSION_get_timeout(3)."""
        return int(self._info.timeout)

    @property
    def ticket_lifetime_hint(self) -> int:
        """For how many seconds the server would keep the ticket (RFC 5077 3.3)."""
        return int(self._info.ticket_lifetime_hint)

    @property
    def has_ticket(self) -> bool:
        """Is there a ticket, so that the server need not remember the session? RFC 5077."""
        return bool(self._info.has_ticket)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SSLSession):
            return NotImplemented
        return self.id == other.id

    __hash__ = None  # type: ignore[assignment]  # as in CPython
    __reduce_ex__ = _ffi.refuse_copies


SSLSession.__module__ = "_ssl"

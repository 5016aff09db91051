"""Every function that C may call, and how a call finds its way.

The way of a callback:

1. C stores a handle of the connection: with native.c its address, for it lives as long as the
   operation that callbacks run in; elsewhere a cffi handle to a weak reference, since one to the
   connection would keep that alive for ever. The loading of a key has one to ``PasswordHooks``.
2. C hands it to ``sb_py_<event>`` (``src/_sslbind/upcalls.h``).
3. ``upcall`` finds the connection and runs the function below. An exception must not unwind through
   C: it is reported by the event's rule, and C gets the failing value. cffi itself returns that
   value too if even the reporting fails.
4. By the rule of stdlib, an exception in the SNI and PSK callbacks goes to
   ``sys.unraisablehook`` and ends the handshake; one in the message or password callback is
   parked and raised by the operation itself.
"""

from __future__ import annotations

import operator
import sys
from types import SimpleNamespace

from ._ffi import as_view, ffi, native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, TypeVar

    _Function = TypeVar("_Function", bound=Callable[..., Any])
    from ._conn import _SSLSocket

# TLS alerts, RFC 8446 6.
_HANDSHAKE_FAILURE = 40
_INTERNAL_ERROR = 80
_GO_ON = -1


if native is None:

    def _connection(handle: Any) -> _SSLSocket | None:
        return ffi.from_handle(handle)()  # type: ignore[no-any-return]  # a weak reference

else:
    _ADDRESS = ffi.typeof("uintptr_t")

    def _connection(handle: Any) -> _SSLSocket | None:
        return native.connection_at(int(ffi.cast(_ADDRESS, handle)))  # type: ignore[no-any-return]


class PasswordHooks:
    """What the password callback needs, and a place for its exception."""

    def __init__(self, password: Any) -> None:
        self.password = password
        self.pending: BaseException | None = None
        self.handle: Any = ffi.new_handle(self)


def _print(exc: BaseException, subject: object) -> None:
    import traceback

    if sys.stderr is not None:
        print("Exception ignored in:", repr(subject), file=sys.stderr)
        traceback.print_exception(type(exc), exc, exc.__traceback__)


def _unraisable(exc: BaseException, subject: object) -> None:
    if sys.unraisablehook is sys.__unraisablehook__:
        _print(exc, subject)  # it takes nothing but a structure that no code in Python can make
        return
    sys.unraisablehook(
        SimpleNamespace(
            exc_type=type(exc),
            exc_value=exc,
            exc_traceback=exc.__traceback__,
            err_msg=None,
            object=subject,
        )
    )


def _park(conn: _SSLSocket | None, exc: BaseException) -> None:
    if conn is not None:
        conn._parked = exc


def _report(conn: _SSLSocket | None, exc: BaseException) -> None:
    _unraisable(exc, conn.context if conn is not None else None)


def _park_password(hooks: PasswordHooks, exc: BaseException) -> None:
    hooks.pending = exc


def _upcall(
    failing: Any,
    report: Callable[[Any, BaseException], None],
    find: Callable[[Any], Any] = _connection,
) -> Callable[[_Function], _Function]:
    def register(function: _Function) -> _Function:
        def guarded(handle: Any, *args: Any) -> Any:
            subject = find(handle)
            try:
                return function(subject, *args)
            except BaseException as exc:  # KeyboardInterrupt too: C cannot unwind
                report(subject, exc)
                return failing

        options = {} if failing is None else {"error": failing}
        ffi.def_extern(name=function.__name__, **options)(guarded)
        return function

    return register


@_upcall(failing=_INTERNAL_ERROR + 1, report=_report)
def sb_py_sni(conn: _SSLSocket | None, name: Any) -> int:
    if conn is None:
        return _INTERNAL_ERROR + 1
    ctx = conn.context
    callback = ctx._c_sni
    if callback is None:
        return _GO_ON
    public = conn._public()
    if public is None:  # the callback could not choose another context for it
        return _INTERNAL_ERROR + 1
    server_name = ffi.string(name).decode("ascii") if name else None
    try:
        answer = callback(public, server_name, ctx)
    except BaseException as exc:
        _unraisable(exc, callback)
        return _HANDSHAKE_FAILURE + 1
    if answer is None:
        return _GO_ON
    try:
        return (operator.index(answer) & 0xFF) + 1
    except BaseException as exc:
        _unraisable(exc, answer)
        return _INTERNAL_ERROR + 1


# Record content types, ssl3.h; 0x100 and 0x101 are OpenSSL's own for a header and a TLS 1.3
# inner content type.
_ALERT, _HANDSHAKE, _CHANGE_CIPHER_SPEC, _HEADER, _INNER = 21, 22, 20, 0x100, 0x101


@_upcall(failing=None, report=_park)
def sb_py_message(
    conn: _SSLSocket | None, write: int, version: int, kind: int, buf: Any, size: int
) -> None:
    if conn is None or conn._parked is not None:
        return
    callback = conn.context._c_message
    if callback is None:
        return
    data = ffi.buffer(buf, size)[:]
    message = -1
    if kind == _HEADER and size >= 3:
        version = data[1] << 8 | data[2]
        message = data[0]
    elif kind == _ALERT and size >= 2:
        message = data[1]
    elif kind == _CHANGE_CIPHER_SPEC:
        message = 0x0101  # SSL3_MT_CHANGE_CIPHER_SPEC, ssl3.h
    elif kind in (_HANDSHAKE, _INNER) and size >= 1:
        message = data[0]
    callback(conn._public(), "write" if write else "read", version, kind, message, data)


@_upcall(failing=-1, report=_park_password, find=ffi.from_handle)
def sb_py_password(hooks: PasswordHooks, buf: Any, cap: int) -> int:
    if hooks.pending is not None:  # OpenSSL tries one reader of keys after the other
        return -1
    password = hooks.password
    if callable(password):
        password = password()
        if not isinstance(password, (str, bytes, bytearray)):
            raise TypeError("password callback must return a string")
    raw = password.encode() if isinstance(password, str) else bytes(password)
    if len(raw) > cap:
        raise ValueError(f"password cannot be longer than {cap} bytes")
    ffi.memmove(buf, raw, len(raw))
    return len(raw)


def _key(key: bytes, buf: Any, cap: int) -> int:
    if not key or len(key) > cap:
        return 0
    ffi.memmove(buf, key, len(key))
    return len(key)


@_upcall(failing=0, report=_report)
def sb_py_psk_client(
    conn: _SSLSocket | None, hint: Any, identity_buf: Any, identity_cap: int, buf: Any, cap: int
) -> int:
    callback = conn.context._psk_client if conn is not None else None
    if callback is None:
        return 0
    text = ffi.string(hint).decode() if hint else None
    identity, key = callback(text or None)
    raw = (identity or "").encode()
    if b"\0" in raw or len(raw) >= identity_cap:
        return 0
    ffi.memmove(identity_buf, raw + b"\0", len(raw) + 1)
    return _key(bytes(as_view(key)), buf, cap)


@_upcall(failing=0, report=_report)
def sb_py_psk_server(conn: _SSLSocket | None, identity: Any, buf: Any, cap: int) -> int:
    callback = conn.context._psk_server if conn is not None else None
    if callback is None:
        return 0
    text = ffi.string(identity).decode() if identity else None
    key = callback(text or None)
    if not isinstance(key, bytes):
        raise TypeError(f"expected bytes, {type(key).__name__} found")
    return _key(key, buf, cap)

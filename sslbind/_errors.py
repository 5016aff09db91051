"""From a status and an error record to an exception: the one door for all of them.

The classes are the interpreter's own where it has them, so that ``except ssl.SSLError`` of any
library catches ours. The texts are those of stdlib, down to the source position at the end,
which points into ``src/_sslbind``.
"""

from __future__ import annotations

import os
import socket
import sys

from . import _ffi
from ._ffi import ffi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SSL_ERROR_SSL = 1
SSL_ERROR_WANT_READ = 2
SSL_ERROR_WANT_WRITE = 3
SSL_ERROR_WANT_X509_LOOKUP = 4
SSL_ERROR_SYSCALL = 5
SSL_ERROR_ZERO_RETURN = 6
SSL_ERROR_WANT_CONNECT = 7
SSL_ERROR_EOF = 8
SSL_ERROR_NO_SOCKET = 9
SSL_ERROR_INVALID_ERROR_CODE = 10

if not TYPE_CHECKING:
    try:
        from _ssl import (
            SSLCertVerificationError,
            SSLEOFError,
            SSLError,
            SSLSyscallError,
            SSLWantReadError,
            SSLWantWriteError,
            SSLZeroReturnError,
        )
    except ImportError:
        HOST_HAS_SSL = False
    else:
        HOST_HAS_SSL = True
else:
    HOST_HAS_SSL = False

if not HOST_HAS_SSL:

    class SSLError(OSError):
        """An error of the TLS library; `library` and `reason` name it as OpenSSL does."""

        # Set where OpenSSL had an error to tell of; absent otherwise, as in CPython's classes.
        library: str | None
        reason: str | None

        def __str__(self) -> str:
            return self.strerror if isinstance(self.strerror, str) else str(self.args)

    class SSLZeroReturnError(SSLError):
        """The peer closed the TLS connection in order."""

    class SSLWantReadError(SSLError):
        """A non-blocking operation needs more data from the transport."""

    class SSLWantWriteError(SSLError):
        """A non-blocking operation must send more first."""

    class SSLSyscallError(SSLError):
        """A system call failed."""

    class SSLEOFError(SSLError):
        """The transport ended without the peer's having closed the TLS connection."""

    class SSLCertVerificationError(SSLError, ValueError):
        """The peer's certificate was refused; `verify_code` and `verify_message` say why."""

        verify_code: int
        verify_message: str

    for _class in (
        SSLError,
        SSLZeroReturnError,
        SSLWantReadError,
        SSLWantWriteError,
        SSLSyscallError,
        SSLEOFError,
        SSLCertVerificationError,
    ):
        _class.__module__ = "ssl"

#: socket.timeout is TimeoutError from Python 3.10 on, and what a socket raises before.
Timeout = socket.timeout

# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH, x509_vfy.h
_HOSTNAME_MISMATCH = 62
_IP_ADDRESS_MISMATCH = 64

# Of an error that OpenSSL has no text for.
_SHOWS_CODES = sys.version_info >= (3, 14)
# Does an OSError say which file it is about?
_NAMES_FILES = sys.version_info >= (3, 15)
_TEXTS = {
    SSL_ERROR_ZERO_RETURN: "TLS/SSL connection has been closed (EOF)",
    SSL_ERROR_WANT_X509_LOOKUP: "The operation did not complete (X509 lookup)",
    SSL_ERROR_WANT_CONNECT: "The operation did not complete (connect)",
    SSL_ERROR_SYSCALL: "Some I/O error occurred",
    SSL_ERROR_SSL: "A failure in the SSL library occurred",
}


def _fill(exc: Any, err: Any) -> Any:
    exc.library = _ffi.lib_names().get(err.lib) if err.code else None
    exc.reason = _ffi.reason_names().get((err.lib, err.reason)) if err.code else None
    return exc


def _text(err: Any, what: str) -> str:
    library = _ffi.lib_names().get(err.lib) if err.code else None
    reason = _ffi.reason_names().get((err.lib, err.reason)) if err.code else None
    if library and reason:
        what = f"[{library}: {reason}] {what}"
    elif library:
        what = f"[{library}] {what}"
    return f"{what} (_ssl.c:{err.line})"


def _make(cls: Any, number: int, err: Any, what: str) -> Any:
    return _fill(cls(number, _text(err, what)), err)


_WANT_READ = SSL_ERROR_WANT_READ, "The operation did not complete (read) (_ssl.c:0)"
_WANT_WRITE = SSL_ERROR_WANT_WRITE, "The operation did not complete (write) (_ssl.c:0)"


def want_read() -> Any:
    """Return what a non-blocking operation raises that needs more from the transport."""
    exc: Any = SSLWantReadError(*_WANT_READ)
    exc.library = exc.reason = None
    return exc


def _want_write() -> Any:
    exc: Any = SSLWantWriteError(*_WANT_WRITE)
    exc.library = exc.reason = None
    return exc


def _verification(err: Any, hostname: str | None) -> Any:
    code = err.verify_code
    if code == _HOSTNAME_MISMATCH:
        message = f"Hostname mismatch, certificate is not valid for '{hostname}'."
    elif code == _IP_ADDRESS_MISMATCH:
        message = f"IP address mismatch, certificate is not valid for '{hostname}'."
    else:
        message = _ffi.verify_text(code)
    reason = f"{_ffi.text(err.text)}: {message}"
    exc = _make(SSLCertVerificationError, SSL_ERROR_SSL, err, reason)
    exc.verify_code = code
    exc.verify_message = message
    return exc


def make(
    status: int,
    err: Any,
    *,
    hostname: str | None = None,
    doing: str = "read",
    path: bytes | None = None,
) -> Any:
    """Return the exception for a failing status.

    Args: err: the ``sb_error`` that the call filled; hostname: the name that was checked;
          doing: what a timeout interrupted ("handshake", "read" or "write"); path: of the file
          that the call was reading.
    """
    if status == _ffi.WANT_READ:
        return want_read()
    if status == _ffi.WANT_WRITE:
        return _want_write()
    if status == _ffi.TIMEOUT:
        position = f"_ssl.c:{err.line}: " if doing == "handshake" else ""
        return Timeout(f"{position}The {doing} operation timed out")
    if status == _ffi.ZERO_RETURN:
        return _make(SSLZeroReturnError, SSL_ERROR_ZERO_RETURN, err, _TEXTS[SSL_ERROR_ZERO_RETURN])
    if status == _ffi.ABRUPT_EOF:
        return _make(SSLEOFError, SSL_ERROR_EOF, err, "EOF occurred in violation of protocol")
    if status == _ffi.SYSCALL:
        file = [os.fsdecode(path)] if path is not None and _NAMES_FILES else []
        return OSError(err.errno_value, os.strerror(err.errno_value), *file)
    if status == _ffi.VERIFY:
        return _verification(err, hostname)
    if status == _ffi.NO_MEMORY:
        return MemoryError()
    if status == _ffi.UNSUPPORTED:
        return NotImplementedError(_ffi.text(err.text))
    if status == _ffi.CLOSED:
        return SSLError("Underlying socket has been closed.")
    if status in (_ffi.FAILED, _ffi.BAD_ARG):
        what = _ffi.text(err.text)
        if not what and not err.code:
            what = _TEXTS.get(err.ssl_error, "")
        if not what:
            what = f"unknown error ({err.code:#x})" if _SHOWS_CODES else "unknown error"
        return _make(SSLError, err.ssl_error or err.reason, err, what)
    return _make(SSLError, SSL_ERROR_INVALID_ERROR_CODE, err, "Invalid error code")


def check(status: int, err: Any, path: bytes | None = None) -> None:
    """Raise for a failing status of a call that is no TLS I/O; `path`: as for `make`."""
    if status < 0:
        raise make(status, err, path=path)


def refusal(message: str) -> Any:
    """Return the SSLError of stdlib for a misuse that OpenSSL has no code for."""
    exc: Any = SSLError(0, f"{message} (_ssl.c:0)")
    exc.library = exc.reason = None
    return exc


def no_socket() -> BaseException:
    """Return what is raised when the socket object is gone but its TLS part is still used."""
    return SSLError(SSL_ERROR_NO_SOCKET, "Underlying socket connection gone")


def new_record() -> Any:
    """Return an error record for a call."""
    return ffi.new("sb_error *")

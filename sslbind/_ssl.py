"""The back: what CPython's C module ``_ssl`` offers, under its names.

An interpreter's own ``Lib/ssl.py`` runs on this module in the place of ``_ssl``.
"""

from __future__ import annotations

import os
import sys
import warnings

from . import _constants, _errors, _ffi
from ._bio import MemoryBIO
from ._certs import Certificate, decode_file
from ._conn import _SSLSocket
from ._constants import (
    _DEFAULT_CIPHERS,
    _OPENSSL_API_VERSION,
    CERT_NONE,
    CERT_OPTIONAL,
    CERT_REQUIRED,
    ENCODING_DER,
    ENCODING_PEM,
    HAS_ALPN,
    HAS_ECDH,
    HAS_NPN,
    HAS_PHA,
    HAS_PSK,
    HAS_PSK_TLS13,
    HAS_SNI,
    HAS_TLS_UNIQUE,
    OPENSSL_VERSION,
    OPENSSL_VERSION_INFO,
    OPENSSL_VERSION_NUMBER,
    PROTO_MAXIMUM_SUPPORTED,
    PROTO_MINIMUM_SUPPORTED,
    PROTOCOL_TLS,
    PROTOCOL_TLS_CLIENT,
    PROTOCOL_TLS_SERVER,
    VERIFY_DEFAULT,
    HAS_SSLv2,
    HAS_SSLv3,
    HAS_TLSv1,
    HAS_TLSv1_1,
    HAS_TLSv1_2,
    HAS_TLSv1_3,
    PROTO_SSLv3,
    PROTO_TLSv1,
    PROTO_TLSv1_1,
    PROTO_TLSv1_2,
    PROTO_TLSv1_3,
    PROTOCOL_SSLv23,
    PROTOCOL_TLSv1,
    PROTOCOL_TLSv1_1,
    PROTOCOL_TLSv1_2,
)
from ._ctx import _SSLContext
from ._errors import (
    SSL_ERROR_EOF,
    SSL_ERROR_INVALID_ERROR_CODE,
    SSL_ERROR_SSL,
    SSL_ERROR_SYSCALL,
    SSL_ERROR_WANT_CONNECT,
    SSL_ERROR_WANT_READ,
    SSL_ERROR_WANT_WRITE,
    SSL_ERROR_WANT_X509_LOOKUP,
    SSL_ERROR_ZERO_RETURN,
    SSLCertVerificationError,
    SSLEOFError,
    SSLError,
    SSLSyscallError,
    SSLWantReadError,
    SSLWantWriteError,
    SSLZeroReturnError,
)
from ._ffi import as_view, ffi, lib
from ._session import SSLSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Names that depend on the OpenSSL in use: OP_*, VERIFY_*, ALERT_DESCRIPTION_*, HOSTFLAG_*.
globals().update(_constants.NUMBERS)
if HAS_SSLv3:
    PROTOCOL_SSLv3 = _constants.PROTOCOL_SSLv3


def RAND_add(string: Any, entropy: float, /) -> None:
    """Mix `string`, bytes or a str in UTF-8, into the random generator.

    Args:   entropy: how many bytes of it are unpredictable, a float; 0.0 is always safe
            (RFC 4086).
    Raises: TypeError: one is no such thing.
    See: RAND_add(3).
    """
    raw = string.encode() if isinstance(string, str) else bytes(as_view(string))
    if isinstance(entropy, (str, bytes, bytearray)):
        raise TypeError(f"must be real number, not {type(entropy).__name__}")
    size = float(entropy)
    for start in range(0, len(raw), 0x7FFFFFFF):
        piece = raw[start : start + 0x7FFFFFFF]
        lib.sb_rand_add(piece, len(piece), size)


def RAND_bytes(n: int, /) -> bytes:
    """Return `n` random bytes fit for keys.

    Raises: ValueError: `n` is negative; TypeError: it is no integer; OverflowError: it does not
            fit a C int. SSLError: the generator has no seed.
    See: RAND_bytes(3).
    """
    if not hasattr(type(n), "__index__"):
        raise TypeError(f"{type(n).__name__!r} object cannot be interpreted as an integer")
    count = n.__index__()
    if count < 0:
        raise ValueError("num must be positive")
    if count > 0x7FFFFFFF:
        raise OverflowError("signed integer is greater than maximum")
    buf = _ffi.new_unset("char[]", count)
    err = _errors.new_record()
    _errors.check(lib.sb_rand_bytes(buf, count, err), err)
    return ffi.buffer(buf, count)[:]  # type: ignore[no-any-return]


def RAND_pseudo_bytes(n: int, /) -> tuple[bytes, bool]:
    """Return (`n` random bytes, True); use `RAND_bytes` (warns so on Python 3.10 and later).

    Raises: as `RAND_bytes`. See: RAND_pseudo_bytes(3).
    """
    if _constants.MODERN_DEFAULTS:
        warnings.warn("ssl.RAND_pseudo_bytes() is deprecated", DeprecationWarning, stacklevel=2)
    return RAND_bytes(n), True


def RAND_status() -> bool:
    """Return whether the generator has been seeded. See: RAND_status(3)."""
    return bool(lib.sb_rand_status())


def txt2obj(txt: str, name: bool = False) -> tuple[int, str, str, str | None]:
    """Return (NID, short name, long name, OID) of an object; ValueError if it is unknown.

    Args: txt: a dotted OID or, if `name` is true, a short or long name. OBJ_txt2obj(3)
    """
    if not isinstance(txt, str):
        raise TypeError(f"txt2obj() argument 'txt' must be str, not {type(txt).__name__}")
    nid = ffi.new("int *")
    block = ffi.new("sb_block *")
    err = _errors.new_record()
    status = lib.sb_object_by_text(_ffi.c_string(txt), bool(name), block, nid, err)
    if status == _ffi.BAD_ARG:
        raise ValueError(f"unknown object '{txt[:100]}'")
    _errors.check(status, err)
    found = _ffi.texts(block)
    if not nid[0]:
        raise ValueError("Unknown object")
    return nid[0], found[0], found[1], found[2] if len(found) > 2 else None


def nid2obj(nid: int, /) -> tuple[int, str, str, str | None]:
    """Return (NID, short name, long name, OID) of an object by its number. OBJ_nid2obj(3)"""
    number = nid.__index__()
    if number < 0:
        raise ValueError("NID must be positive.")
    block = ffi.new("sb_block *")
    err = _errors.new_record()
    if number > 0x7FFFFFFF or lib.sb_object_by_nid(number, block, err) == _ffi.BAD_ARG:
        raise ValueError(f"unknown NID {number}")
    found = _ffi.texts(block)
    if not number:
        raise ValueError("Unknown object")
    return number, found[0], found[1], found[2] if len(found) > 2 else None


def get_default_verify_paths() -> tuple[str, str, str, str]:
    """Return the variable and the path of OpenSSL's CA file, and of its CA directory."""
    out = ffi.new("const char *[4]")
    lib.sb_default_paths(out)
    paths = [os.fsdecode(ffi.string(pointer)) for pointer in out]
    return paths[0], paths[1], paths[2], paths[3]


def get_sigalgs() -> list[str]:
    """Return the names of the signature algorithms that OpenSSL implements, a list of str.

    Raises: NotImplementedError: OpenSSL is older than 3.4.
    See: SSL_get1_builtin_sigalgs(3); `SSLContext.set_server_sigalgs` takes such names.
    """
    block = ffi.new("sb_block *")
    err = _errors.new_record()
    _errors.check(lib.sb_builtin_sigalgs(block, err), err)
    return _ffi.texts(block)


def _test_decode_cert(path: _ffi.Path, /) -> dict[str, Any]:
    """Return the fields of the certificate in a PEM file, in the form of getpeercert()."""
    return decode_file(path)


def __getattr__(name: str) -> Any:
    """Make the tables of error names when they are first asked for."""
    if name == "err_codes_to_names":
        return _ffi.reason_names()
    if name == "err_names_to_codes":
        return {mnemonic: code for code, mnemonic in _ffi.reason_names().items()}
    if name == "lib_codes_to_names":
        return _ffi.lib_names()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if sys.platform == "win32":
    from _ssl import enum_certificates, enum_crls

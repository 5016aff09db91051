"""Numbers under the names that CPython's ``_ssl`` gives them.

OpenSSL's own come from the table of the binary (``src/_sslbind/constants.txt``): a name that
this OpenSSL lacks is absent. The others are CPython's.
"""

from __future__ import annotations

import sys

from . import _ffi
from ._ffi import FEATURES, ffi, lib

#: Constants of OpenSSL by name.
NUMBERS: dict[str, int] = {
    ffi.string(row.name).decode(): row.value for row in _ffi.rows(lib.sb_constants)
}
# stdlib keeps the protection against the BEAST attack, which OpenSSL's own OP_ALL gives up.
NUMBERS["OP_ALL"] = NUMBERS.pop("_OP_ALL") & ~NUMBERS["OP_DONT_INSERT_EMPTY_FRAGMENTS"]
# The check of a whole chain includes that of the leaf.
NUMBERS["VERIFY_CRL_CHECK_CHAIN"] = NUMBERS["VERIFY_CRL_CHECK_LEAF"] | NUMBERS.pop(
    "_VERIFY_CRL_CHECK_ALL"
)

CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED = range(3)

PROTOCOL_SSLv2 = 0
PROTOCOL_SSLv3 = 1
PROTOCOL_TLS = 2
PROTOCOL_SSLv23 = 2
PROTOCOL_TLSv1 = 3
PROTOCOL_TLSv1_1 = 4
PROTOCOL_TLSv1_2 = 5
PROTOCOL_TLS_CLIENT = 16
PROTOCOL_TLS_SERVER = 17

PROTO_MINIMUM_SUPPORTED = -2
PROTO_MAXIMUM_SUPPORTED = -1
PROTO_SSLv3 = 0x300
PROTO_TLSv1 = 0x301
PROTO_TLSv1_1 = 0x302
PROTO_TLSv1_2 = 0x303
PROTO_TLSv1_3 = 0x304

ENCODING_PEM = 1
ENCODING_DER = 2

VERIFY_DEFAULT = 0

HAS_SNI = True
HAS_TLS_UNIQUE = True
HAS_ECDH = True
HAS_ALPN = True
HAS_PHA = True
HAS_NPN: bool = FEATURES["NPN"]
HAS_PSK: bool = FEATURES["PSK"]
HAS_PSK_TLS13: bool = FEATURES["PSK"] and FEATURES["TLSv1_3"]
HAS_SSLv2 = False
HAS_SSLv3: bool = FEATURES["SSLv3"]
HAS_TLSv1: bool = FEATURES["TLSv1"]
HAS_TLSv1_1: bool = FEATURES["TLSv1_1"]
HAS_TLSv1_2: bool = FEATURES["TLSv1_2"]
HAS_TLSv1_3: bool = FEATURES["TLSv1_3"]

# Python 3.10 brought stricter defaults (PEP 644), and whoever builds Python may choose OpenSSL's
# own instead, as Debian does. The interpreter's choice is kept, so that changing the import
# never changes which peers are accepted.
MODERN_DEFAULTS = sys.version_info >= (3, 10)
_STRICT_CIPHERS = (
    "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
)
_OLD_CIPHERS = "DEFAULT:!aNULL:!eNULL:!MD5:!3DES:!DES:!RC4:!IDEA:!SEED:!aDSS:!SRP:!PSK"


def _host_ciphers() -> str:
    """Return the interpreter's cipher list; where we are its `_ssl`, what CPython would have."""
    usual = _STRICT_CIPHERS if MODERN_DEFAULTS else _OLD_CIPHERS
    try:
        import _ssl
    except ImportError:
        return usual
    return getattr(_ssl, "_DEFAULT_CIPHERS", usual)


_DEFAULT_CIPHERS: str = _host_ciphers()
_PYTHONS_CHOICE: bool = _DEFAULT_CIPHERS.startswith("@SECLEVEL=")
#: The cipher list that contexts begin with; None leaves OpenSSL's.
CIPHERS: str | None = None
if _PYTHONS_CHOICE or not MODERN_DEFAULTS:
    CIPHERS = _DEFAULT_CIPHERS
elif sys.implementation.name == "pypy":
    CIPHERS = _STRICT_CIPHERS  # as it does itself from 3.10 on, whatever _DEFAULT_CIPHERS says
MINIMUM_VERSION = PROTO_TLSv1_2 if _PYTHONS_CHOICE else 0


def _version_info(number: int) -> tuple[int, int, int, int, int]:
    return (
        number >> 28 & 0xFF,
        number >> 20 & 0xFF,
        number >> 12 & 0xFF,
        number >> 4 & 0xFF,
        number & 0xF,
    )


OPENSSL_VERSION_NUMBER: int = lib.sb_version_number()
OPENSSL_VERSION_INFO = _version_info(OPENSSL_VERSION_NUMBER)
OPENSSL_VERSION: str = _ffi.text(lib.sb_version_text()) or ""
_OPENSSL_API_VERSION = _version_info(lib.sb_version_compiled())

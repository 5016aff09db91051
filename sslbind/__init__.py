"""TLS sockets with the names and behaviour of the standard library's ``ssl``, on a C hot path.

``import sslbind as ssl`` is all that a program has to change. What the module offers is what the
`ssl` of Python 2.7.13 and of 3.9 to 3.15 offer together, on every Python that it runs on.

Contexts:    create_default_context, SSLContext, Purpose, TLSVersion, Options, VerifyMode, ...
Connections: SSLSocket (SSLContext.wrap_socket), SSLObject with MemoryBIO (SSLContext.wrap_bio),
             SSLSession
Errors:      SSLError and its subclasses: the interpreter's own classes
Functions:   get_server_certificate, get_default_verify_paths, cert_time_to_seconds,
             DER_cert_to_PEM_cert, PEM_cert_to_DER_cert, RAND_bytes, get_sigalgs, ...
Python 2.7:  wrap_socket, match_hostname, RAND_egd, sslwrap_simple, ...
Programs:    install, uninstall, InstallWarning: for all that a process imports as `ssl`. Not in
             `__all__`, since `ssl` has no such names.
"""

# ruff: noqa: F401  (private names are re-exported: other libraries reach for them)
from __future__ import annotations

import sys
from collections import namedtuple
from socket import AF_INET, SO_TYPE, SOCK_STREAM, SOL_SOCKET, create_connection, socket

from . import _enums, _ssl
from ._context import SSLContext
from ._defaults import (
    _GLOBAL_DEFAULT_TIMEOUT,
    PEM_FOOTER,
    PEM_HEADER,
    DefaultVerifyPaths,
    DER_cert_to_PEM_cert,
    PEM_cert_to_DER_cert,
    _create_default_https_context,
    _create_stdlib_context,
    _create_unverified_context,
    _https_verify_certificates,
    cert_time_to_seconds,
    create_default_context,
    get_default_verify_paths,
    get_protocol_name,
    get_server_certificate,
)
from ._enums import *  # noqa: F403  # the constants that the OpenSSL in use has
from ._enums import (
    _PROTOCOL_NAMES,
    _RESTRICTED_SERVER_CIPHERS,
    _ASN1Object,
    _SSLMethod,
    _SSLv2_IF_EXISTS,
)
from ._object import SSLObject, _check_sslobject_params, _sslcopydoc
from ._socket import SSLSocket, _GiveupOnSSLSendfile
from ._ssl import (
    _DEFAULT_CIPHERS,
    _OPENSSL_API_VERSION,
    HAS_ALPN,
    HAS_ECDH,
    HAS_NPN,
    HAS_PHA,
    HAS_PSK,
    HAS_PSK_TLS13,
    HAS_SNI,
    OPENSSL_VERSION,
    OPENSSL_VERSION_INFO,
    OPENSSL_VERSION_NUMBER,
    HAS_SSLv2,
    HAS_SSLv3,
    HAS_TLSv1,
    HAS_TLSv1_1,
    HAS_TLSv1_2,
    HAS_TLSv1_3,
    MemoryBIO,
    RAND_add,
    RAND_bytes,
    RAND_pseudo_bytes,
    RAND_status,
    SSLCertVerificationError,
    SSLEOFError,
    SSLError,
    SSLSession,
    SSLSyscallError,
    SSLWantReadError,
    SSLWantWriteError,
    SSLZeroReturnError,
    _SSLContext,
    get_sigalgs,
)

CertificateError = SSLCertVerificationError
socket_error = OSError

__all__ = [
    "AF_INET",
    "CertificateError",
    "DER_cert_to_PEM_cert",
    "DefaultVerifyPaths",
    "HAS_ALPN",
    "HAS_ECDH",
    "HAS_NPN",
    "HAS_PHA",
    "HAS_PSK",
    "HAS_PSK_TLS13",
    "HAS_SNI",
    "HAS_SSLv2",
    "HAS_SSLv3",
    "HAS_TLSv1",
    "HAS_TLSv1_1",
    "HAS_TLSv1_2",
    "HAS_TLSv1_3",
    "MemoryBIO",
    "OPENSSL_VERSION",
    "OPENSSL_VERSION_INFO",
    "OPENSSL_VERSION_NUMBER",
    "PEM_FOOTER",
    "PEM_HEADER",
    "PEM_cert_to_DER_cert",
    "RAND_add",
    "RAND_bytes",
    "RAND_egd",
    "RAND_pseudo_bytes",
    "RAND_status",
    "SOCK_STREAM",
    "SOL_SOCKET",
    "SO_TYPE",
    "SSLCertVerificationError",
    "SSLContext",
    "SSLEOFError",
    "SSLError",
    "SSLObject",
    "SSLSession",
    "SSLSocket",
    "SSLSyscallError",
    "SSLWantReadError",
    "SSLWantWriteError",
    "SSLZeroReturnError",
    "cert_time_to_seconds",
    "closing",
    "create_connection",
    "create_default_context",
    "get_default_verify_paths",
    "get_protocol_name",
    "get_server_certificate",
    "get_sigalgs",
    "match_hostname",
    "namedtuple",
    "socket",
    "socket_error",
    "sslwrap_simple",
    "wrap_socket",
]
__all__ += _enums.__all__
TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import closing
    from typing import Any

    from ._enums import _TLSAlertType, _TLSContentType, _TLSMessageType
    from ._install import InstallWarning as InstallWarning
    from ._install import install as install
    from ._install import uninstall as uninstall
    from ._version import __version__ as __version__

# Few programs use these; they are imported when one does (PEP 562).
_LATER = {
    "InstallWarning": f"{__name__}._install",
    "RAND_egd": f"{__name__}._legacy",
    "_TLSAlertType": f"{__name__}._enums",
    "_TLSContentType": f"{__name__}._enums",
    "_TLSMessageType": f"{__name__}._enums",
    "__version__": f"{__name__}._version",
    "_dnsname_match": f"{__name__}._legacy",
    "_inet_paton": f"{__name__}._legacy",
    "_ipaddress_match": f"{__name__}._legacy",
    "closing": "contextlib",
    "install": f"{__name__}._install",
    "match_hostname": f"{__name__}._legacy",
    "sslwrap_simple": f"{__name__}._legacy",
    "uninstall": f"{__name__}._install",
    "wrap_socket": f"{__name__}._legacy",
}

if TYPE_CHECKING or sys.version_info < (3, 12):
    # The interpreter's own has them, so they must be at hand even in a chroot.
    from ._legacy import (
        RAND_egd,
        _dnsname_match,
        _inet_paton,
        _ipaddress_match,
        match_hostname,
        sslwrap_simple,
        wrap_socket,
    )


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        __import__(_LATER[name])
    except ImportError as exc:  # in a chroot, and whoever asks may not want it
        raise AttributeError(f"module {__name__!r} has no attribute {name!r} here") from exc
    value = globals()[name] = getattr(sys.modules[_LATER[name]], name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


if sys.platform == "win32":
    from ._defaults import enum_certificates, enum_crls

    __all__ += ["enum_certificates", "enum_crls"]

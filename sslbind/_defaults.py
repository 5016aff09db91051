"""Ready-made contexts, default trust, and the small functions on certificates and names."""

from __future__ import annotations

import base64
import os
import socket
import sys
import time
from collections import namedtuple
from socket import create_connection

from . import _ssl
from ._enums import (
    _PROTOCOL_NAMES,
    CERT_NONE,
    CERT_REQUIRED,
    PROTOCOL_TLS,
    PROTOCOL_TLS_CLIENT,
    PROTOCOL_TLS_SERVER,
    VERIFY_X509_PARTIAL_CHAIN,
    VERIFY_X509_STRICT,
    Purpose,
)
from ._host import host_paths

if sys.platform == "win32":
    # These read Windows' stores, not OpenSSL's; the interpreter's own do it well.
    from _ssl import enum_certificates, enum_crls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._context import SSLContext

__all__ = [
    "DER_cert_to_PEM_cert",
    "DefaultVerifyPaths",
    "PEM_FOOTER",
    "PEM_HEADER",
    "PEM_cert_to_DER_cert",
    "cert_time_to_seconds",
    "create_default_context",
    "get_default_verify_paths",
    "get_protocol_name",
    "get_server_certificate",
]
if sys.platform == "win32":
    __all__ += ["enum_certificates", "enum_crls"]

# What create_connection() and urlopen() have for "no timeout given".
_GLOBAL_DEFAULT_TIMEOUT: Any = socket._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]

PEM_HEADER = "-----BEGIN CERTIFICATE-----"
PEM_FOOTER = "-----END CERTIFICATE-----"
_PEM_LINE = 64  # characters a line (RFC 7468 section 2)
_NOTHING_HAS_A_LINE = sys.version_info >= (3, 15)  # of its own, in the stdlib's PEM form

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# A context made by default is what the running interpreter's own ssl would make, so that changing
# an import never changes which peers are accepted. 3.10 told client from server, 3.13 got strict.
_SIDED_PROTOCOLS = sys.version_info >= (3, 10)
_STRICT_FLAGS = 0
if sys.version_info >= (3, 13):
    _STRICT_FLAGS = VERIFY_X509_PARTIAL_CHAIN | VERIFY_X509_STRICT


def _front() -> Any:
    """Return the public module. gevent and truststore put their own classes into it."""
    return sys.modules[__package__]


def _sided_protocol(purpose: Purpose) -> int:
    """Return the PROTOCOL_* for `purpose`; ValueError if it is neither of the two."""
    if purpose == Purpose.SERVER_AUTH:
        return PROTOCOL_TLS_CLIENT if _SIDED_PROTOCOLS else PROTOCOL_TLS
    if purpose == Purpose.CLIENT_AUTH:
        return PROTOCOL_TLS_SERVER if _SIDED_PROTOCOLS else PROTOCOL_TLS
    raise ValueError(purpose)


def _load_trust(
    context: SSLContext,
    purpose: Purpose,
    cafile: str | None,
    capath: str | None,
    cadata: str | bytes | None,
) -> None:
    """Trust what the caller named or, if that is nothing and it matters, what the system does."""
    if cafile or capath or cadata:
        context.load_verify_locations(cafile, capath, cadata)
    elif context.verify_mode != CERT_NONE:
        context.load_default_certs(purpose)


def _log_keys(context: SSLContext) -> None:
    """Obey SSLKEYLOGFILE, a file to which secrets are appended for a protocol analyser."""
    path = os.environ.get("SSLKEYLOGFILE")
    if path and not sys.flags.ignore_environment:
        context.keylog_filename = path


def create_default_context(
    purpose: Purpose = Purpose.SERVER_AUTH,
    *,
    cafile: str | None = None,
    capath: str | None = None,
    cadata: str | bytes | None = None,
) -> SSLContext:
    """Return a context with settings for the general public, as the running Python has them.

    For SERVER_AUTH (a client) certificate and host name are verified. On Python 3.13 and later
    VERIFY_X509_PARTIAL_CHAIN and VERIFY_X509_STRICT are set, as that Python's own ssl does;
    before, they are not, so that no certificate is refused that was accepted there. Before 3.10
    the protocol is PROTOCOL_TLS. The environment variable SSLKEYLOGFILE is obeyed.

    Args:   purpose: SERVER_AUTH for a client, CLIENT_AUTH for a server.
            cafile, capath, cadata: whom to trust, as SSLContext.load_verify_locations; without
            any of them, the system's defaults where peers are verified.
    Raises: TypeError: not a Purpose. ValueError: another purpose than these.
            OSError, SSLError: a file could not be read or understood.
    """
    from ._context import _check_purpose

    _check_purpose(purpose)
    context: SSLContext = _front().SSLContext(_sided_protocol(purpose))
    if purpose == Purpose.SERVER_AUTH:
        context.verify_mode = CERT_REQUIRED
        context.check_hostname = True
    if _STRICT_FLAGS:
        context.verify_flags |= _STRICT_FLAGS
    _load_trust(context, purpose, cafile, capath, cadata)
    _log_keys(context)
    return context


def _create_unverified_context(
    protocol: int | None = None,
    *,
    cert_reqs: int | None = CERT_NONE,
    check_hostname: bool = False,
    purpose: Purpose = Purpose.SERVER_AUTH,
    certfile: str | None = None,
    keyfile: str | None = None,
    cafile: str | None = None,
    capath: str | None = None,
    cadata: str | bytes | None = None,
) -> SSLContext:
    """Return a context that verifies nothing unless told to: for the stdlib's own old modules.

    Args:   protocol: a PROTOCOL_* value; None for that of `create_default_context`.
            cert_reqs: a CERT_* value, or None for the protocol's own default.
            certfile, keyfile: as SSLContext.load_cert_chain.
            others: as `create_default_context`.
    Raises: as `create_default_context`; ValueError: a key without a certificate, or host names
            checked without certificates.
    """
    from ._context import _check_purpose

    _check_purpose(purpose)
    sided = _sided_protocol(purpose)
    context: SSLContext = _front().SSLContext(sided if protocol is None else protocol)
    # Set before the mode: with it, CERT_NONE is refused, and without a client context takes it.
    if _SIDED_PROTOCOLS or not check_hostname:
        context.check_hostname = check_hostname
    if cert_reqs is not None:
        context.verify_mode = cert_reqs
    if check_hostname:
        context.check_hostname = True
    if keyfile and not certfile:
        raise ValueError("certfile must be specified")
    if certfile:
        context.load_cert_chain(certfile, keyfile)
    _load_trust(context, purpose, cafile, capath, cadata)
    _log_keys(context)
    return context


_create_stdlib_context = _create_unverified_context

_create_default_https_context = create_default_context


def _https_verify_certificates(enable: bool = True) -> None:
    """Set whether https clients of the stdlib verify servers by default (PEP 493)."""
    _front()._create_default_https_context = (
        create_default_context if enable else _create_unverified_context
    )


# The stdlib's, where there is one: to make a namedtuple is a good part of importing this module.
if TYPE_CHECKING or host_paths is None:
    _PathsBase = namedtuple(
        "_PathsBase",
        "cafile capath openssl_cafile_env openssl_cafile openssl_capath_env openssl_capath",
    )
else:
    _PathsBase = host_paths


class DefaultVerifyPaths(_PathsBase):
    """Where trusted certificates are looked for; None for a place that does not exist.

    See: X509_get_default_cert_file(3); `get_default_verify_paths` returns one.
    """

    __slots__ = ()


def get_default_verify_paths() -> DefaultVerifyPaths:
    """Return the file and directory of default trust, after environment and existence.

    The other four fields are OpenSSL's: the names of the two environment variables, and the two
    places compiled in. See X509_get_default_cert_file(3).
    """
    file_env, file, dir_env, directory = _ssl.get_default_verify_paths()
    cafile = os.environ.get(file_env, file)
    capath = os.environ.get(dir_env, directory)
    return DefaultVerifyPaths(
        cafile if os.path.isfile(cafile) else None,
        capath if os.path.isdir(capath) else None,
        file_env,
        file,
        dir_env,
        directory,
    )


def cert_time_to_seconds(cert_time: str) -> int:
    """Return a certificate's notBefore or notAfter as seconds since 1970-01-01 UTC.

    Args:   cert_time: as `SSLSocket.getpeercert` gives it: "Jan  5 09:34:43 2018 GMT", English
            whatever the locale, always GMT (RFC 5280 section 4.1.2.5).
    Raises: ValueError: anything else.
    """
    rest = " %d %H:%M:%S %Y GMT"
    try:
        month = _MONTHS.index(cert_time[:3].title()) + 1
    except ValueError:
        raise ValueError(f'time data {cert_time!r} does not match format "%b{rest}"') from None
    # strptime() knows month names only in the current locale, hence the month apart.
    when = time.strptime(cert_time[3:], rest)
    from calendar import timegm  # which takes longer to import than all of this module

    return timegm((when.tm_year, month, when.tm_mday, when.tm_hour, when.tm_min, when.tm_sec))


def DER_cert_to_PEM_cert(der_cert_bytes: bytes) -> str:
    """Return a certificate in PEM form (RFC 7468), a str that ends with a newline.

    Args:   der_cert_bytes: the certificate as DER, bytes.
    """
    text = base64.b64encode(der_cert_bytes).decode("ascii")
    starts = range(0, len(text) or _NOTHING_HAS_A_LINE, _PEM_LINE)
    lines = [text[start : start + _PEM_LINE] for start in starts]
    return "\n".join([PEM_HEADER, *lines, PEM_FOOTER, ""])


def PEM_cert_to_DER_cert(pem_cert_string: str) -> bytes:
    """Return the DER form, bytes, of one certificate.

    Args:   pem_cert_string: the certificate as PEM (RFC 7468), a str.
    Raises: ValueError: it does not begin with PEM_HEADER or end with PEM_FOOTER.
    """
    if not pem_cert_string.startswith(PEM_HEADER):
        raise ValueError(f"Invalid PEM encoding; must start with {PEM_HEADER}")
    stripped = pem_cert_string.strip()
    if not stripped.endswith(PEM_FOOTER):
        raise ValueError(f"Invalid PEM encoding; must end with {PEM_FOOTER}")
    body = stripped[len(PEM_HEADER) : -len(PEM_FOOTER)]
    return base64.decodebytes(body.encode("ascii"))


def get_server_certificate(
    addr: tuple[str, int],
    ssl_version: int = PROTOCOL_TLS_CLIENT,
    ca_certs: str | None = None,
    timeout: Any = _GLOBAL_DEFAULT_TIMEOUT,
) -> str:
    """Connect to a server and return its certificate in PEM form (RFC 7468).

    Args:   addr: (host, port); the host is sent as SNI (RFC 6066).
            ssl_version: a PROTOCOL_* value for the client's context.
            ca_certs: a file of trusted certificates to verify the server's chain (not its name)
            against; None not to verify.
            timeout: seconds for connecting and for each step of the handshake; None for no
            limit. Default: socket.getdefaulttimeout().
    Raises: OSError: no connection; SSLError: no handshake, or the chain was refused.
    """
    host, _port = addr
    context = _create_stdlib_context(
        ssl_version,
        cert_reqs=CERT_NONE if ca_certs is None else CERT_REQUIRED,
        cafile=ca_certs,
    )
    with create_connection(addr, timeout=timeout) as sock:
        with context.wrap_socket(sock, server_hostname=host) as sslsock:
            der: bytes = sslsock.getpeercert(True)
    return DER_cert_to_PEM_cert(der)


def get_protocol_name(protocol_code: int) -> str:
    """Return the name of `protocol_code`, a PROTOCOL_* value, or "<unknown>".

    What `SSLContext.protocol` gives has it as well: ``context.protocol.name``.
    """
    return _PROTOCOL_NAMES.get(protocol_code, "<unknown>")  # type: ignore[call-overload,no-any-return]

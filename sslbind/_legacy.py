"""What Python 2.7 documented and 3.12 no longer has.

On an interpreter whose own ssl deprecates these functions (3.10 and later) they warn as it does.
"""

from __future__ import annotations

import os
import socket
import sys
import warnings
from socket import AF_INET, SOCK_STREAM

from . import _ssl
from ._context import SSLContext
from ._enums import CERT_NONE, PROTOCOL_TLS, PROTOCOL_SSLv23
from ._socket import SSLSocket
from ._ssl import SSLCertVerificationError as CertificateError
from ._ssl import SSLError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["RAND_egd", "match_hostname", "sslwrap_simple", "wrap_socket"]

_DEPRECATED = sys.version_info >= (3, 10)


def _warn_deprecated(text: str) -> None:
    if _DEPRECATED:
        warnings.warn(text, DeprecationWarning, stacklevel=3)


# -- sockets without a context of the caller's ---------------------------------------------------


def _legacy_context(
    keyfile: str | None,
    certfile: str | None,
    server_side: bool,
    cert_reqs: int,
    ssl_version: int,
    ca_certs: str | None,
    npn_protocols: Iterable[str] | None,
    ciphers: str | None,
) -> SSLContext:
    """Return the context that Python 2.7's arguments describe."""
    if server_side and not certfile:
        raise ValueError("certfile must be specified for server-side operations")
    if keyfile and not certfile:
        raise ValueError("certfile must be specified")
    context = SSLContext(ssl_version)
    context.verify_mode = cert_reqs
    if ca_certs:
        context.load_verify_locations(ca_certs)
    if certfile:
        context.load_cert_chain(certfile, keyfile)
    if npn_protocols:
        context.set_npn_protocols(npn_protocols)
    if ciphers:
        context.set_ciphers(ciphers)
    return context


def construct(
    self: SSLSocket,
    sock: socket.socket,
    keyfile: str | None = None,
    certfile: str | None = None,
    server_side: bool = False,
    cert_reqs: int = CERT_NONE,
    ssl_version: int = PROTOCOL_TLS,
    ca_certs: str | None = None,
    do_handshake_on_connect: bool = True,
    family: int = AF_INET,
    type: int = SOCK_STREAM,
    proto: int = 0,
    fileno: int | None = None,
    suppress_ragged_eofs: bool = True,
    npn_protocols: Iterable[str] | None = None,
    ciphers: str | None = None,
    server_hostname: str | None = None,
    _context: SSLContext | None = None,
) -> None:
    """Initialize a socket by the arguments of Python 2.7's SSLSocket.

    `family`, `type`, `proto` and `fileno` had no effect there either: those of `sock` count.
    With `_context` given, the arguments that describe one are ignored.
    """
    context = _context
    if context is None:
        context = _legacy_context(
            keyfile,
            certfile,
            server_side,
            cert_reqs,
            ssl_version,
            ca_certs,
            npn_protocols,
            ciphers,
        )
        # Public attributes of 2.7's sockets, documented by use only; nothing here reads them.
        vars(self).update(
            keyfile=keyfile or certfile,
            certfile=certfile,
            cert_reqs=cert_reqs,
            ssl_version=ssl_version,
            ca_certs=ca_certs,
            ciphers=ciphers,
        )
    self._adopt(
        sock,
        server_side,
        do_handshake_on_connect,
        suppress_ragged_eofs,
        server_hostname,
        context,
        None,
    )


def wrap_socket(
    sock: socket.socket,
    keyfile: str | None = None,
    certfile: str | None = None,
    server_side: bool = False,
    cert_reqs: int = CERT_NONE,
    ssl_version: int = PROTOCOL_TLS,
    ca_certs: str | None = None,
    do_handshake_on_connect: bool = True,
    suppress_ragged_eofs: bool = True,
    ciphers: str | None = None,
) -> SSLSocket:
    """Return an SSLSocket that takes over `sock`, with a context of its own.

    It verifies no host name and by default no certificate: use `create_default_context` and its
    wrap_socket(). TLS begins when there is a peer: at once, in connect(), or for a listening
    socket with each connection that accept() returns.

    Args:   keyfile, certfile: PEM files; the key may be in the certificate's file. A server
            needs them.
            cert_reqs: CERT_NONE, CERT_OPTIONAL or CERT_REQUIRED; with the last two, `ca_certs`
            is the PEM file of trusted certificates.
            ssl_version: a PROTOCOL_* value.
            ciphers: an OpenSSL cipher list; see openssl-ciphers(1).
            others: as SSLContext.wrap_socket.
    Raises: as SSLContext.wrap_socket; ValueError: certfile is missing; OSError, SSLError: a file
            cannot be read or understood.
    """
    _warn_deprecated("ssl.wrap_socket() is deprecated, use SSLContext.wrap_socket()")
    return SSLSocket(
        sock,
        keyfile=keyfile,
        certfile=certfile,
        server_side=server_side,
        cert_reqs=cert_reqs,
        ssl_version=ssl_version,
        ca_certs=ca_certs,
        do_handshake_on_connect=do_handshake_on_connect,
        suppress_ragged_eofs=suppress_ragged_eofs,
        ciphers=ciphers,
    )


def sslwrap_simple(
    sock: socket.socket, keyfile: str | None = None, certfile: str | None = None
) -> _ssl._SSLSocket:
    """Return a bare client connection over `sock`, with read(), write() and little else.

    The handshake is done if the socket is connected. The socket stays the caller's, to be kept
    alive and closed. For programs of Python 2.5 and older: nothing is verified.
    Args:   keyfile, certfile: as SSLContext.load_cert_chain; the client's own.
    Raises: as `SSLObject.do_handshake`.
    """
    context = SSLContext(PROTOCOL_SSLv23)
    if keyfile or certfile:
        context.load_cert_chain(certfile, keyfile)  # type: ignore[arg-type]
    conn = context._wrap_socket(sock, False)
    try:
        sock.getpeername()
    except OSError:
        return conn
    conn.do_handshake()
    return conn


# -- host names against certificates ---------------------------------------------------------------


def _dnsname_match(dn: str, hostname: str) -> bool:
    """Return whether a certificate's DNS name covers a host name (RFC 6125 section 6.4.3).

    Case does not count; international names must be A-labels on both sides. A wildcard stands
    for exactly one whole label, the leftmost.
    Raises: CertificateError: a wildcard anywhere else, in part of a label, alone, or twice.
    """
    if not dn:
        return False
    if "*" not in dn:
        return dn.lower() == hostname.lower()
    if dn.count("*") > 1:
        raise CertificateError(f"too many wildcards in certificate DNS name: {dn!r}.")
    label, dot, parent = dn.partition(".")
    if "*" in parent:
        raise CertificateError(f"wildcard can only be present in the leftmost label: {dn!r}.")
    if not dot:
        raise CertificateError(f"sole wildcard without additional labels are not support: {dn!r}.")
    if label != "*":
        raise CertificateError(f"partial wildcards in leftmost label are not supported: {dn!r}.")
    host_label, host_dot, host_parent = hostname.partition(".")
    return bool(host_label and host_dot) and parent.lower() == host_parent.lower()


def _inet_paton(ipname: str) -> bytes:
    """Return an IPv4 or IPv6 address as its 4 or 16 bytes.

    Raises: ValueError: it is neither, or an abbreviated IPv4 address ("127.1").
    """
    try:
        packed = socket.inet_aton(ipname)
    except OSError:
        pass
    else:
        # inet_aton(3) also takes abbreviations and trailing text; only one spelling may count.
        if socket.inet_ntoa(packed) != ipname:
            raise ValueError(f"{ipname!r} is not a quad-dotted IPv4 address.")
        return packed
    if not hasattr(socket, "AF_INET6"):
        raise ValueError(f"{ipname!r} is not an IPv4 address.")
    try:
        return socket.inet_pton(socket.AF_INET6, ipname)
    except OSError:
        raise ValueError(f"{ipname!r} is neither an IPv4 nor an IP6 address.") from None


def _ipaddress_match(cert_ipaddress: str, host_ip: bytes) -> bool:
    """Return whether a certificate's address is that of the host, byte by byte.

    Args: host_ip: the result of `_inet_paton`.
    """
    # OpenSSL may print an IPv6 address with a newline after it.
    return _inet_paton(cert_ipaddress.rstrip()) == host_ip


def match_hostname(cert: Any, hostname: str) -> None:
    """Return if the certificate is for this host (RFC 6125), else raise.

    An IP address is compared with the certificate's addresses, anything else with its DNS names;
    the subject's common name counts only if the certificate has neither.
    Args:   cert: as `SSLSocket.getpeercert` returns it.
            hostname: a DNS name, as A-label (RFC 5890), or an IP address, a str.
    Raises: CertificateError: it is for others. ValueError: `cert` is empty: not verified.
    """
    _warn_deprecated("ssl.match_hostname() is deprecated")
    if not cert:
        raise ValueError(
            "empty or no certificate, match_hostname needs a SSL socket or SSL context with "
            "either CERT_OPTIONAL or CERT_REQUIRED"
        )
    host_ip: bytes | None
    try:
        host_ip = _inet_paton(hostname)
    except ValueError:
        host_ip = None
    names = []
    for kind, value in cert.get("subjectAltName", ()):
        if kind == "DNS":
            if host_ip is None and _dnsname_match(value, hostname):
                return
        elif kind == "IP Address":
            if host_ip is not None and _ipaddress_match(value, host_ip):
                return
        else:
            continue
        names.append(value)
    if not names:
        for rdn in cert.get("subject", ()):
            for key, value in rdn:
                if key == "commonName":
                    if _dnsname_match(value, hostname):
                        return
                    names.append(value)
    raise CertificateError(_mismatch(hostname, names))


def _mismatch(hostname: str, names: list[str]) -> str:
    if not names:
        return "no appropriate commonName or subjectAltName fields were found"
    if len(names) == 1:
        return f"hostname {hostname!r} doesn't match {names[0]!r}"
    return f"hostname {hostname!r} doesn't match either of {', '.join(map(repr, names))}"


# -- randomness from a daemon ----------------------------------------------------------------------

# EGD's protocol, as its documentation (egd.pl) and RAND_egd(3) of OpenSSL 1.0 describe it: the
# request b"\x01" and a byte n, the answer a byte m <= n and m bytes that were to be had at once.
_EGD_READ_NOW = 1
_EGD_MAX = 255
_EGD_WANTED = 256  # bytes, the amount that Python 2.7 documents


def _recv_exactly(sock: socket.socket, size: int) -> bytes:
    """Return `size` bytes; EOFError if the daemon hangs up before."""
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _query_egd(sock: socket.socket) -> bytes:
    """Return up to 256 bytes from the daemon, fewer if it has no more at this moment."""
    data = b""
    while len(data) < _EGD_WANTED:
        sock.sendall(bytes([_EGD_READ_NOW, min(_EGD_WANTED - len(data), _EGD_MAX)]))
        count = _recv_exactly(sock, 1)[0]
        if not count:
            break
        data += _recv_exactly(sock, count)
    return data


def RAND_egd(path: str | bytes | os.PathLike[str], /) -> int:
    """Read randomness from an entropy-gathering daemon and feed it to OpenSSL's generator.

    RAND_egd(3) of OpenSSL 1.0 describes the daemon's protocol.
    Args:    path: of the daemon's Unix socket.
    Returns: the number of bytes read, at most 256.
    Raises:  SSLError: no connection, or the daemon had nothing to give.
             TypeError: not a path. NotImplementedError: a system without Unix sockets.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise NotImplementedError("RAND_egd needs Unix sockets")
    address = os.fspath(path)
    data = b""
    from contextlib import closing

    with closing(socket.socket(socket.AF_UNIX, SOCK_STREAM)) as sock:
        try:
            sock.connect(address)
            data = _query_egd(sock)
        except (OSError, EOFError) as exc:
            cause: BaseException | None = exc
        else:
            cause = None
    if not data:
        raise SSLError(
            "EGD connection failed or EGD did not return enough data to seed the PRNG"
        ) from cause
    _ssl.RAND_add(data, float(len(data)))
    return len(data)

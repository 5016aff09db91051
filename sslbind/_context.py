"""SSLContext: the settings that many connections share, in the terms of the public enums.

The back's `_SSLContext` does the work with plain integers; here they become enum members, host
names become A-labels, protocol lists their wire form. Setters go through the back's descriptors
by name, never through ``super(SSLContext, ...)``: gevent, eventlet and truststore replace that
global by a subclass, and the call would find itself again.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from functools import lru_cache

from . import _enums, _ssl
from ._ctx import MADE_IN_C, make_context
from ._enums import (
    PROTOCOL_TLS,
    Options,
    Purpose,
    TLSVersion,
    VerifyFlags,
    VerifyMode,
    _ASN1Object,
    _SSLMethod,
)
from ._green import wrap_green
from ._host import host_asn1, host_context
from ._object import SSLObject, _warn_npn
from ._socket import SSLSocket
from ._ssl import SSLError, _SSLContext

if sys.platform == "win32":
    from ._defaults import enum_certificates
else:

    def enum_certificates(store_name: str) -> list[tuple[bytes, str, set[str] | bool]]:
        raise NotImplementedError("certificate stores exist only on Windows")


TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from enum import IntEnum
    from typing import Any, Callable, Optional, Union

    from ._ssl import MemoryBIO, SSLSession

    SNICallback = Callable[
        [Union[SSLSocket, SSLObject], Optional[str], "SSLContext"], Optional[int]
    ]

__all__ = ["SSLContext"]

# Deprecated in Python 3.10; an older interpreter's programs do not expect the warning.
_NO_ARGUMENT_DEPRECATED = sys.version_info >= (3, 10)


@lru_cache(maxsize=128)
def _a_label(hostname: str) -> str:
    """Return a host name as an A-label (RFC 5890). Programs use few, and the codec is slow."""
    return hostname.encode("idna").decode("ascii")


# The class below us, for its descriptors, of which type checkers see only the values.
_back: Any = _SSLContext

_ASN1_CLASSES = tuple(cls for cls in (_ASN1Object, host_asn1) if cls is not None)


def _check_purpose(purpose: Any) -> None:
    """Raise TypeError unless `purpose` is one; the stdlib's own are as good as ours."""
    if not isinstance(purpose, _ASN1_CLASSES):
        raise TypeError(purpose)


def _wire_format(protocols: Iterable[str], kind: str) -> bytes:
    """Return protocol names as ALPN and NPN send them: a length byte before each (RFC 7301 3.1).

    Raises: SSLError: a name is empty or longer than 255 bytes.
            TypeError, UnicodeEncodeError: a name is not an ASCII str.
    """
    wire = bytearray()
    for protocol in protocols:
        name = bytes(protocol, "ascii")
        if not 1 <= len(name) <= 255:
            raise SSLError(f"{kind} protocols must be 1 to 255 in length")
        wire.append(len(name))
        wire += name
    return bytes(wire)


def _is_trusted(trust: set[str] | bool, purpose: Purpose) -> bool:
    """Return whether what a Windows store says of a certificate covers `purpose`."""
    return trust if isinstance(trust, bool) else purpose.oid in trust


def _member_or_int(cls: Any, value: int) -> int:
    """Return the member of enum `cls` with this value, or the number itself if it has none."""
    try:
        member: int = cls(value)
    except ValueError:
        return value
    return member


if TYPE_CHECKING:
    # What isinstance() believes, type checkers should: it passes for the stdlib's class.
    class _Base(_SSLContext, Any): ...  # type: ignore[misc]
else:
    _Base = _SSLContext


class SSLContext(_Base):
    """Certificates, trust, protocol versions and options for any number of connections.

    Args:   protocol: PROTOCOL_TLS_CLIENT (verifies certificate and host name) or
            PROTOCOL_TLS_SERVER; the other PROTOCOL_* values are deprecated. Left out, it is
            PROTOCOL_TLS, with a DeprecationWarning on Python 3.10 and later.
    Raises: ValueError: unknown protocol, or one that the OpenSSL in use does not have.
    See: SSL_CTX_new(3). `create_default_context` makes one with sane settings.

    ``isinstance(context, ssl.SSLContext)`` holds for the stdlib's class, too, although this is
    not a subclass of it: asyncio and others insist on it. Contexts cannot be copied or pickled.
    """

    _windows_cert_stores = ("CA", "ROOT")

    # aiofastnet casts what passes for an ssl.SSLContext to CPython's C struct; this forbids it.
    _aiofastnet_force_fallback_ssl = True

    sslsocket_class: type[SSLSocket] = SSLSocket
    sslobject_class: type[SSLObject] = SSLObject

    def __new__(cls, protocol: int | None = None, *args: Any, **kwargs: Any) -> SSLContext:
        if protocol is None:
            if _NO_ARGUMENT_DEPRECATED:
                warnings.warn(
                    "ssl.SSLContext() without protocol argument is deprecated.",
                    DeprecationWarning,
                    stacklevel=2,
                )
            protocol = PROTOCOL_TLS
        context: SSLContext = make_context(cls, protocol)
        return context

    if not TYPE_CHECKING and MADE_IN_C:  # as in the class below
        _c_make = classmethod(__new__)
        del __new__

    @property
    def __class__(self) -> type[Any]:
        """The stdlib's SSLContext, so that isinstance() accepts us; type() tells the truth."""
        return host_context or type(self)

    @__class__.setter
    def __class__(self, cls: type[Any]) -> None:
        # eventlet turns contexts into its own subclass in this way.
        object.__dict__["__class__"].__set__(self, cls)

    def _encode_hostname(self, hostname: str | bytes | None) -> str | None:
        """Return a host name as an A-label (RFC 5890), or None for None.

        Raises: UnicodeError: `hostname` cannot be one.
        """
        if hostname is None:
            return None
        if type(hostname) is str:
            return _a_label(hostname)
        if isinstance(hostname, str):  # a subclass may have an idea of its own of what is equal
            return hostname.encode("idna").decode("ascii")
        return hostname.decode("ascii")

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: SSLSession | None = None,
    ) -> SSLSocket:
        """Return an SSLSocket that takes over `sock`, which is detached from its descriptor.

        For a socket of gevent or eventlet it is one of that library's own TLS sockets.
        Args:   sock: a stream socket: connected, yet to be connected, or listening.
                server_side: which end of the handshake this is.
                do_handshake_on_connect: shake hands at once, or in connect() and accept().
                suppress_ragged_eofs: an end of TCP without close_notify reads as a proper end.
                server_hostname: whom a client means to talk to: sent as SNI (RFC 6066) and, with
                check_hostname, compared with the certificate. IDNA as str, A-label as bytes.
                session: an SSLSession of this context for a client to resume.
        Raises: ValueError: the arguments contradict each other, or the socket is non-blocking
                and a handshake is due. NotImplementedError: not a stream socket.
                SSLError, OSError: as SSLSocket.do_handshake; the descriptor is closed then.
        """
        green = wrap_green(
            self,
            sock,
            session,
            server_side=server_side,
            do_handshake_on_connect=do_handshake_on_connect,
            suppress_ragged_eofs=suppress_ragged_eofs,
            server_hostname=server_hostname,
        )
        if green is not None:
            return green  # type: ignore[no-any-return]
        return self.sslsocket_class._create(
            sock=sock,
            server_side=server_side,
            do_handshake_on_connect=do_handshake_on_connect,
            suppress_ragged_eofs=suppress_ragged_eofs,
            server_hostname=server_hostname,  # type: ignore[arg-type]  # encoded there
            context=self,
            session=session,
        )

    def wrap_bio(
        self,
        incoming: MemoryBIO,
        outgoing: MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: SSLSession | None = None,
    ) -> SSLObject:
        """Return an SSLObject that reads from `incoming` and writes to `outgoing`.

        Args:   incoming, outgoing: MemoryBIO of sslbind (fast) or of the stdlib.
                others: as `wrap_socket`.
        Raises: ValueError: the arguments contradict each other.
        """
        return self.sslobject_class._create(
            incoming,
            outgoing,
            server_side=server_side,
            server_hostname=self._encode_hostname(server_hostname),
            session=session,
            context=self,
        )

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """Offer application protocols (RFC 7301), or as a server choose among them.

        Args:   alpn_protocols: names, such as ["h2", "http/1.1"], best first.
        Raises: SSLError: a name is empty or longer than 255 bytes.
        See: SSL_CTX_set_alpn_protos(3).
        """
        self._set_alpn_protocols(_wire_format(alpn_protocols, "ALPN"))

    def set_npn_protocols(self, npn_protocols: Iterable[str]) -> None:
        """Offer protocols by NPN, the forerunner of ALPN, with TLS 1.2 and older.

        Deprecated in favour of ALPN, with a warning on Python 3.10 and later.
        Args:   npn_protocols: names, such as ["spdy/3", "http/1.1"], best first.
        Raises: SSLError: a name is empty or longer than 255 bytes. NotImplementedError: this
                OpenSSL has no NPN (HAS_NPN).
        See: SSL_CTX_set_next_protos_advertised_cb(3).
        """
        _warn_npn()
        self._set_npn_protocols(_wire_format(npn_protocols, "NPN"))

    def set_servername_callback(self, server_name_callback: SNICallback | None) -> None:
        """Call a function with each client's server_name (RFC 6066 section 3), or None to stop.

        As `sni_callback`, which passes the name as the client sent it, except that here it is
        encoded once more as an A-label.
        Args:   server_name_callback: f(sslsocket_or_sslobject, name_or_None, this_context); it
                returns None to go on, or an ALERT_DESCRIPTION_* with which to refuse.
        Raises: TypeError: not callable.
        """
        if server_name_callback is None:
            self.sni_callback = None
            return
        if not callable(server_name_callback):
            raise TypeError("not a callable object")
        callback = server_name_callback

        def encoded(conn: Any, name: str | None, context: SSLContext) -> int | None:
            return callback(conn, context._encode_hostname(name), context)

        self.sni_callback = encoded

    def _load_windows_store_certs(self, storename: str, purpose: Purpose) -> None:
        """Trust those certificates of a Windows store that are meant for `purpose`."""
        try:
            entries = enum_certificates(storename)
        except PermissionError:
            warnings.warn("unable to enumerate Windows certificate store", stacklevel=2)
            return
        for cert, encoding, trust in entries:
            if encoding != "x509_asn" or not _is_trusted(trust, purpose):
                continue
            try:
                self.load_verify_locations(cadata=cert)
            except SSLError as exc:
                warnings.warn(
                    f"Bad certificate in Windows certificate store: {exc!s}", stacklevel=2
                )

    def load_default_certs(self, purpose: Purpose = Purpose.SERVER_AUTH) -> None:
        """Trust the certification authorities that the system trusts.

        These are at the places of `get_default_verify_paths`, and in Windows' stores. That there
        are none is no error.
        Args:   purpose: SERVER_AUTH to verify servers, CLIENT_AUTH to verify clients.
        Raises: TypeError: not a Purpose.
        See: SSL_CTX_set_default_verify_paths(3).
        """
        _check_purpose(purpose)
        if sys.platform == "win32":
            for storename in self._windows_cert_stores:
                self._load_windows_store_certs(storename, purpose)
        self.set_default_verify_paths()

    @property
    def protocol(self) -> _SSLMethod:
        """The PROTOCOL_* value with which the context was made. See: SSL_CTX_new(3)."""
        return _SSLMethod(_back.protocol.__get__(self))

    @property
    def minimum_version(self) -> TLSVersion:
        """The oldest protocol version to be used, a TLSVersion.

        Setting raises ValueError: the version is unknown, or the context has a fixed one.
        Versions before TLS 1.2 are deprecated, with a warning on Python 3.10 and later.
        See: SSL_CTX_set_min_proto_version(3).
        """
        return TLSVersion(_back.minimum_version.__get__(self))

    @minimum_version.setter
    def minimum_version(self, value: int) -> None:
        if value == TLSVersion.SSLv3:
            # Every context has this option set, and it would have the last word.
            self.options &= ~Options.OP_NO_SSLv3
        _back.minimum_version.__set__(self, value)

    @property
    def maximum_version(self) -> TLSVersion:
        """The newest protocol version to be used, a TLSVersion.

        Setting raises ValueError: the version is unknown, or the context has a fixed one.
        See: SSL_CTX_set_max_proto_version(3).
        """
        return TLSVersion(_back.maximum_version.__get__(self))

    @maximum_version.setter
    def maximum_version(self, value: int) -> None:
        _back.maximum_version.__set__(self, value)

    @property
    def options(self) -> Options:
        """The OP_* bits set. OP_NO_TLS* are deprecated: use minimum_version, maximum_version.

        See: SSL_CTX_set_options(3).
        """
        return Options(_back.options.__get__(self))

    @options.setter
    def options(self, value: int) -> None:
        _back.options.__set__(self, value)

    @property
    def verify_flags(self) -> VerifyFlags:
        """The VERIFY_* bits set: CRL checks, strictness, where a chain may end.

        See: X509_VERIFY_PARAM_set_flags(3).
        """
        return VerifyFlags(_back.verify_flags.__get__(self))

    @verify_flags.setter
    def verify_flags(self, value: int) -> None:
        _back.verify_flags.__set__(self, value)

    @property
    def verify_mode(self) -> VerifyMode:
        """CERT_NONE, CERT_OPTIONAL or CERT_REQUIRED: whether peers must prove who they are.

        Setting raises ValueError: any other value, or CERT_NONE while check_hostname is on.
        See: SSL_CTX_set_verify(3).
        """
        return _member_or_int(  # type: ignore[return-value]
            VerifyMode, _back.verify_mode.__get__(self)
        )

    @verify_mode.setter
    def verify_mode(self, value: int) -> None:
        _back.verify_mode.__set__(self, value)

    @property
    def hostname_checks_common_name(self) -> bool:
        """Whether the subject's common name counts where there is no subjectAltName (RFC 6125).

        See: X509_check_host(3).
        """
        return not self._host_flags & _ssl.HOSTFLAG_NEVER_CHECK_SUBJECT

    @hostname_checks_common_name.setter
    def hostname_checks_common_name(self, value: bool) -> None:
        if value:
            self._host_flags &= ~_ssl.HOSTFLAG_NEVER_CHECK_SUBJECT
        else:
            self._host_flags |= _ssl.HOSTFLAG_NEVER_CHECK_SUBJECT

    @property
    def _msg_callback(self) -> Callable[..., Any] | None:
        """A function to be shown every TLS message except application data, or None.

        f(conn, direction, version, content_type, msg_type, data): `conn` the SSLSocket or
        SSLObject, `direction` "read" or "write", `version` a TLSVersion, `content_type` a
        _TLSContentType, `msg_type` a _TLSContentType (record header), _TLSAlertType (alert) or
        _TLSMessageType, `data` bytes. Numbers that the enums do not know stay numbers. What it
        raises is raised by the operation under way, once that is done.
        Setting raises TypeError: not callable. See: SSL_CTX_set_msg_callback(3).
        """
        inner: Callable[..., Any] | None = _back._msg_callback.__get__(self)
        return getattr(inner, "user_function", inner)

    @_msg_callback.setter
    def _msg_callback(self, callback: Callable[..., Any] | None) -> None:
        if callback is None:
            _back._msg_callback.__set__(self, None)
            return
        if not callable(callback):
            raise TypeError(f"{callback} is not callable.")
        user_function = callback
        content_types, messages = _enums._TLSContentType, _enums._TLSMessageType
        # How the number that goes with a message of this content type is to be read.
        kinds: dict[int, type[IntEnum]] = {
            content_types.HEADER: content_types,
            content_types.ALERT: _enums._TLSAlertType,
        }

        def inner(
            conn: Any, direction: str, version: int, content_type: int, msg_type: int, data: bytes
        ) -> Any:
            return user_function(
                conn,
                direction,
                _member_or_int(TLSVersion, version),
                _member_or_int(content_types, content_type),
                _member_or_int(kinds.get(content_type, messages), msg_type),
                data,
            )

        inner.user_function = user_function  # type: ignore[attr-defined]
        _back._msg_callback.__set__(self, inner)

"""SSLObject: TLS over two memory BIOs, for programs that move the bytes themselves.

Also what it shares with SSLSocket: the check of wrapping arguments and the docstrings.
"""

from __future__ import annotations

import sys
import warnings

from . import _ssl
from ._conn import shorten
from ._defaults import DER_cert_to_PEM_cert

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, TypeVar

    _Function = TypeVar("_Function", bound=Callable[..., Any])
    from _typeshed import ReadableBuffer, WriteableBuffer

    from ._context import SSLContext
    from ._ssl import Certificate, MemoryBIO, SSLSession

__all__ = ["SSLObject"]


# Deprecated in Python 3.10; an older interpreter's programs do not expect the warning.
_NPN_DEPRECATED = sys.version_info >= (3, 10)


def _check_sslobject_params(
    server_side: bool,
    context: SSLContext | None = None,
    server_hostname: str | None = None,
    session: SSLSession | None = None,
) -> None:
    """Refuse what contradicts itself before anything is wrapped.

    Raises: ValueError: a server was given a host name or a session, or `context` is to check a
            host name and there is none.
    """
    if server_side and server_hostname:
        raise ValueError("server_hostname can only be specified in client mode")
    if server_side and session is not None:
        raise ValueError("session can only be specified in client mode")
    if context is not None and context.check_hostname and not server_hostname:
        raise ValueError("check_hostname requires server_hostname")


def _warn_npn(stacklevel: int = 3) -> None:
    """Say where the interpreter's own ssl does so that NPN gave way to ALPN (RFC 7301)."""
    if _NPN_DEPRECATED:
        warnings.warn(
            "ssl NPN is deprecated, use ALPN instead", DeprecationWarning, stacklevel=stacklevel
        )


class _DerCertificate(bytes):
    """A certificate in DER form that also answers as the back's Certificate would.

    Before Python 3.13 only the back's objects had get_unverified_chain(), which lists those;
    truststore takes it from whichever object has it.
    """

    __slots__ = ()

    def public_bytes(self, format: int = _ssl.ENCODING_PEM) -> str | bytes:
        """Return it as PEM (str) or as DER (bytes); ValueError for any other format."""
        if format == _ssl.ENCODING_DER:
            return bytes(self)
        if format == _ssl.ENCODING_PEM:
            return DER_cert_to_PEM_cert(self)
        raise ValueError("Unsupported format")


_DER_CLASS: type[bytes] = bytes if sys.version_info >= (3, 13) else _DerCertificate


def _der_list(chain: list[Certificate] | None) -> list[bytes]:
    """Return the DER form of each certificate of `chain`; none for None."""
    encoded = (cert.public_bytes(_ssl.ENCODING_DER) for cert in chain or ())
    return [_DER_CLASS(der) for der in encoded]  # type: ignore[arg-type]  # it is bytes


def _sslcopydoc(func: _Function) -> _Function:
    """Give a method of SSLSocket the docstring of the same method of SSLObject."""
    func.__doc__ = getattr(SSLObject, func.__name__).__doc__
    return func


class SSLObject:
    """A TLS connection without a socket: it reads from one MemoryBIO and writes to another.

    `SSLContext.wrap_bio` makes them. The program moves the bytes between the BIOs and its
    transport: an operation that lacks input raises SSLWantReadError, and is repeated once more
    bytes have been written to the incoming BIO. Unlike SSLSocket it never waits, and the end of
    input without a close_notify alert is always SSLEOFError (RFC 8446 section 6.1).
    """

    _sslobj: _ssl._SSLSocket

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError(
            f"{type(self).__name__} does not have a public constructor. "
            "Instances are returned by SSLContext.wrap_bio()."
        )

    @classmethod
    def _create(
        cls,
        incoming: MemoryBIO,
        outgoing: MemoryBIO,
        server_side: bool = False,
        server_hostname: str | None = None,
        session: SSLSession | None = None,
        context: SSLContext | None = None,
    ) -> SSLObject:
        """Return a new object; the way in for `SSLContext.wrap_bio` and for subclasses."""
        assert context is not None
        if server_side or not server_hostname:  # a client that knows its peer contradicts nothing
            _check_sslobject_params(server_side, context, server_hostname, session)
        self = cls.__new__(cls)
        self._sslobj = context._wrap_bio(
            incoming,
            outgoing,
            server_side=server_side,
            server_hostname=server_hostname,
            owner=self,
            session=session,
        )
        return self

    @property
    def context(self) -> SSLContext:
        """The SSLContext in use. An SNI callback may set another one (RFC 6066 section 3)."""
        context: Any = self._sslobj.context
        return context  # type: ignore[no-any-return]

    @context.setter
    def context(self, context: SSLContext) -> None:
        self._sslobj.context = context

    @property
    def session(self) -> SSLSession | None:
        """The session: after a handshake to be kept, before one (client only) to be resumed.

        Setting raises ValueError: on a server, after the handshake has begun, or if the session
        belongs to another context; TypeError: not an SSLSession. See SSL_set_session(3).
        """
        return self._sslobj.session

    @session.setter
    def session(self, session: SSLSession) -> None:
        self._sslobj.session = session

    @property
    def session_reused(self) -> bool:
        """Whether the handshake resumed an earlier session. See SSL_session_reused(3)."""
        return self._sslobj.session_reused

    @property
    def server_side(self) -> bool:
        """Whether this is the server's end. See: SSL_is_server(3)."""
        return self._sslobj.server_side

    @property
    def server_hostname(self) -> str | None:
        """The name asked of the server as an A-label (RFC 5890), or None."""
        return self._sslobj.server_hostname

    def read(self, len: int = 1024, buffer: WriteableBuffer | None = None) -> Any:
        """Return up to `len` decrypted bytes, or b"" once the peer has closed.

        Args:   len: bytes; with a buffer, 0 or less means all of it.
                buffer: writable; if given, bytes go there and their number is returned.
        Raises: SSLWantReadError, SSLWantWriteError: the BIOs must be served first.
                SSLZeroReturnError: the peer has closed, and `unwrap` had sent our close_notify.
                SSLEOFError: the input ended without close_notify (RFC 8446 section 6.1).
                SSLError: any other failure.
        See: SSL_read_ex(3).
        """
        if buffer is None:
            return self._sslobj.read(len)
        return self._sslobj.read(len, buffer)

    def write(self, data: ReadableBuffer) -> int:
        """Encrypt `data` and return how many of its bytes were taken.

        Raises: SSLWantReadError, SSLWantWriteError: the BIOs must be served first.
                SSLError: any other failure.
        See: SSL_write_ex(3).
        """
        return self._sslobj.write(data)

    def getpeercert(self, binary_form: bool = False) -> Any:
        """Return the peer's certificate.

        Args:    binary_form: as DER bytes instead of a dict.
        Returns: None if the peer sent none. A dict is empty if the certificate was not verified;
                 otherwise its keys are those RFC 5280 fields that are present: subject, issuer,
                 version, serialNumber, notBefore, notAfter, subjectAltName, OCSP, caIssuers,
                 crlDistributionPoints.
        Raises:  ValueError: the handshake is not done yet.
        See: SSL_get1_peer_certificate(3).
        """
        return self._sslobj.getpeercert(binary_form)

    def get_verified_chain(self) -> list[bytes]:
        """Return the chain that was verified, from the peer to the trust anchor, each as DER.

        Without verification it is the chain that the peer sent. See SSL_get0_verified_chain(3).
        """
        return _der_list(self._sslobj.get_verified_chain())

    def get_unverified_chain(self) -> list[bytes]:
        """Return the chain as the peer sent it, its own certificate first, each as DER.

        See: SSL_get_peer_cert_chain(3).
        """
        return _der_list(self._sslobj.get_unverified_chain())

    def selected_npn_protocol(self) -> str | None:
        """Return the protocol chosen by NPN (TLS 1.2 and older), or None.

        Deprecated in favour of ALPN, with a warning on Python 3.10 and later.
        See: SSL_get0_next_proto_negotiated(3).
        """
        _warn_npn()
        return self._sslobj.selected_npn_protocol() if _ssl.HAS_NPN else None

    def selected_alpn_protocol(self) -> str | None:
        """Return the application protocol that was agreed on (RFC 7301), or None."""
        return self._sslobj.selected_alpn_protocol()

    def cipher(self) -> tuple[str, str, int] | None:
        """Return the cipher in use: its name, protocol version and secret bits; or None.

        See: SSL_get_current_cipher(3).
        """
        return self._sslobj.cipher()

    def group(self) -> str | None:
        """Return the name of the key exchange group, or None if there was none.

        Raises: NotImplementedError: OpenSSL is older than 3.2.
        See: SSL_get0_group_name(3).
        """
        return self._sslobj.group()

    def client_sigalg(self) -> str | None:
        """Return the algorithm of the client's signature, or None if it made none.

        Raises: NotImplementedError: OpenSSL is older than 3.5.
        See: SSL_get0_peer_signature_name(3).
        """
        return self._sslobj.client_sigalg()

    def server_sigalg(self) -> str | None:
        """Return the algorithm of the server's signature, or None if it made none.

        Raises: NotImplementedError: OpenSSL is older than 3.5.
        See: SSL_get0_peer_signature_name(3).
        """
        return self._sslobj.server_sigalg()

    def shared_ciphers(self) -> list[tuple[str, str, int]] | None:
        """Return the ciphers that both ends offer, each as `cipher` does; None on a client.

        See: SSL_get_client_ciphers(3).
        """
        return self._sslobj.shared_ciphers()

    def compression(self) -> str | None:
        """Return the name of the TLS compression method in use, or None.

        See: SSL_get_current_compression(3).
        """
        return self._sslobj.compression()

    def pending(self) -> int:
        """Return how many decrypted bytes can be read at once. See SSL_pending(3)."""
        return self._sslobj.pending()

    def do_handshake(self) -> None:
        """Do the TLS handshake, verifying the peer as the context demands.

        Raises: SSLWantReadError, SSLWantWriteError: there is more to exchange; repeat.
                SSLCertVerificationError: the peer's certificate or host name was refused.
                SSLError: any other failure.
        See: SSL_do_handshake(3).
        """
        self._sslobj.do_handshake()

    def unwrap(self) -> Any:
        """End TLS: send close_notify and wait for the peer's (RFC 8446 section 6.1).

        Returns None. What came behind the peer's is left in the incoming MemoryBIO.
        Raises: SSLWantReadError, SSLWantWriteError: there is more to exchange; repeat.
                SSLError: any other failure.
        See: SSL_shutdown(3).
        """
        return self._sslobj.shutdown()

    def get_channel_binding(self, cb_type: str = "tls-unique") -> bytes | None:
        """Return the channel binding data of this connection, or None if there is none yet.

        Args:   cb_type: one of CHANNEL_BINDING_TYPES (RFC 5929).
        Raises: ValueError: any other type.
        """
        return self._sslobj.get_channel_binding(cb_type)

    def version(self) -> str | None:
        """Return the protocol version in use, such as "TLSv1.3", or None before the handshake.

        See: SSL_get_version(3).
        """
        return self._sslobj.version()

    def verify_client_post_handshake(self) -> None:
        """Ask the client for a certificate after the handshake (TLS 1.3, RFC 8446 4.6.2).

        The exchange happens in the reads and writes that follow.
        Raises: SSLError: not a server, not TLS 1.3, or the client did not offer it.
                ValueError: a socket without TLS.
        See: SSL_verify_client_post_handshake(3).
        """
        self._sslobj.verify_client_post_handshake()


shorten(
    SSLObject,
    read="($self, len=1024, buffer=None)",
    write="($self, data)",
    do_handshake="($self)",
)

"""SSLSocket: a real `socket.socket` that speaks TLS.

`_sslobj`, the connection object of the back, decides what a method does: set, the method is one
call of it; None (not connected yet, or unwrapped, or closed) the socket is an ordinary one.

recv, recv_into, send, sendall, read and write are deliberately flat: one frame, one call. The
deadline, the waiting and the looping are in C below that call.

Methods of the plain socket are called as ``_plain.name(self, ...)``: the class between us and it
(see `_host`) is the stdlib's SSLSocket, whose methods must never run.
"""

from __future__ import annotations

import errno
import io
import socket
from _weakref import ref
from socket import SO_TYPE, SOCK_STREAM, SOL_SOCKET

from . import _ssl
from ._conn import shorten
from ._enums import CHANNEL_BINDING_TYPES
from ._ffi import as_view
from ._host import PlainSocket, SocketBase
from ._object import (
    _check_sslobject_params,
    _der_list,
    _sslcopydoc,
    _warn_npn,
)
from ._ssl import SSLEOFError, SSLError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, NoReturn

    from _typeshed import ReadableBuffer, WriteableBuffer

    from ._context import SSLContext
    from ._ssl import SSLSession

__all__ = ["SSLSocket"]

_plain = PlainSocket


# sendfile(2) takes at most 0x7ffff000 bytes; the stdlib asks for 1 GiB at a time (bpo-38319).
_SENDFILE_CHUNK = 2**30


class _GiveupOnSSLSendfile(Exception):
    """The kernel cannot send this file over this connection; copy it instead."""


_SocketIO = socket.SocketIO


class _File(_SocketIO):
    """What `SSLSocket.makefile` reads from."""

    _sock: SSLSocket | None
    _reading: bool
    _timeout_occurred: bool

    def readinto(self, b: WriteableBuffer) -> int | None:
        """Receive into a buffer; return the number of bytes, None if non-blocking without any.

        The inherited one calls four methods to find out that nothing forbids it, which is a tenth
        of what 8 KiB of TLS take.
        """
        sock = self._sock
        if sock is None or self._timeout_occurred or not self._reading:
            return super().readinto(b)  # it says why not
        try:
            return sock.recv_into(b)
        except socket.timeout:
            self._timeout_occurred = True
            raise
        except OSError as exc:
            if exc.errno not in (errno.EAGAIN, errno.EWOULDBLOCK):
                raise
            return None


class SSLSocket(SocketBase):
    """A stream socket with TLS on top; `SSLContext.wrap_socket` makes them.

    It keeps the timeout, blocking mode and addresses of the socket that it was made from, and
    that one gives up its file descriptor. A client's TLS begins with `connect` (or at once, if
    the socket is connected already), a server's with `accept` on the listening socket.

    Python 2.7's constructor, ``SSLSocket(sock, keyfile, certfile, ...)``, works as well; other
    direct construction, a socket alone included, raises TypeError.
    """

    _context: SSLContext
    _sslobj: _ssl._SSLSocket | None
    _session: SSLSession | None
    _connected: bool
    # The connection object given up by unwrap() or shutdown(): another thread may still be in it.
    _retired: ref[_ssl._SSLSocket] | None = None

    server_side: bool
    server_hostname: str | None
    do_handshake_on_connect: bool
    suppress_ragged_eofs: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        sock = args[0] if args else kwargs.get("sock")
        if not isinstance(sock, socket.socket) or len(args) + len(kwargs) < 2:
            raise TypeError(
                f"{type(self).__name__} does not have a public constructor. "
                "Instances are returned by SSLContext.wrap_socket()."
            )
        from ._legacy import construct

        construct(self, *args, **kwargs)

    @classmethod
    def _create(
        cls,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | None = None,
        context: SSLContext | None = None,
        session: SSLSession | None = None,
    ) -> SSLSocket:
        """Return a new socket; the way in for `SSLContext.wrap_socket` and for subclasses."""
        assert context is not None
        self = cls.__new__(cls)
        self._adopt(
            sock,
            server_side,
            do_handshake_on_connect,
            suppress_ragged_eofs,
            server_hostname,
            context,
            session,
        )
        return self

    def _adopt(
        self,
        sock: socket.socket,
        server_side: bool,
        do_handshake_on_connect: bool,
        suppress_ragged_eofs: bool,
        server_hostname: str | None,
        context: SSLContext,
        session: SSLSession | None,
    ) -> None:
        """Take over the file descriptor of `sock` and begin TLS if it is connected."""
        if sock.getsockopt(SOL_SOCKET, SO_TYPE) != SOCK_STREAM:
            raise NotImplementedError("only stream sockets are supported")
        _check_sslobject_params(server_side, context, server_hostname, session)
        timeout = sock.gettimeout()
        _plain.__init__(
            self, family=sock.family, type=sock.type, proto=sock.proto, fileno=sock.fileno()
        )
        sock.detach()
        try:
            self._context = context
            self._session = session
            self._sslobj = None
            self._connected = False
            self.server_side = server_side
            self.server_hostname = context._encode_hostname(server_hostname)
            self.do_handshake_on_connect = do_handshake_on_connect
            self.suppress_ragged_eofs = suppress_ragged_eofs
            self._connected = self._probe_connected()
            self.settimeout(timeout)
            if self._connected:
                self._start_tls()
        except BaseException:
            from contextlib import suppress

            # Whatever happened, the descriptor is ours now and nobody else will close it.
            with suppress(OSError):
                self.close()
            raise

    def _probe_connected(self) -> bool:
        """Return whether there is a peer; refuse one that has left plaintext behind.

        A peer may send bytes and disconnect before TLS begins. Delivered by a later recv(), they
        would pass for bytes that came through TLS (CVE-2023-40217).
        """
        try:
            self.getpeername()
        except OSError as exc:
            if exc.errno != errno.ENOTCONN:
                raise
            not_connected = exc.errno
        else:
            return True
        # A socket without a peer should not block; on macOS it has been seen to.
        self.setblocking(False)
        try:
            leftover = _plain.recv(self, 1)
        except OSError as exc:
            # EINVAL: a Unix socket that was never connected.
            if exc.errno not in (errno.ENOTCONN, errno.EINVAL):
                raise
            return False
        if leftover:
            reason = "Closed before TLS handshake with data in recv buffer."
            error = SSLError(not_connected, reason)
            error.reason = reason
            error.library = None
            raise error
        return False

    def _start_tls(self) -> None:
        """Make the connection object and, if so wished, shake hands."""
        self._sslobj = self._context._wrap_socket(
            self, self.server_side, self.server_hostname, owner=self, session=self._session
        )
        if self.do_handshake_on_connect:
            if self.gettimeout() == 0.0:
                raise ValueError(
                    "do_handshake_on_connect should not be specified for non-blocking sockets"
                )
            self.do_handshake()

    @property
    def context(self) -> SSLContext:
        """The SSLContext in use. An SNI callback may set another one (RFC 6066 section 3)."""
        return self._context

    @context.setter
    def context(self, context: SSLContext) -> None:
        self._context = context
        self._sslobj.context = context  # type: ignore[union-attr]  # None: AttributeError

    @property
    def session(self) -> SSLSession | None:
        """The session: after a handshake to be kept, before one (client only) to be resumed.

        None without a connection. Setting raises ValueError: on a server, after the handshake
        has begun, or if the session belongs to another context; TypeError: not an SSLSession.
        See: SSL_set_session(3).
        """
        sslobj = self._sslobj
        return None if sslobj is None else sslobj.session

    @session.setter
    def session(self, session: SSLSession) -> None:
        self._session = session
        if self._sslobj is not None:
            self._sslobj.session = session

    @property
    def session_reused(self) -> bool | None:
        """Whether the handshake resumed an earlier session; None without a connection.

        See: SSL_session_reused(3).
        """
        sslobj = self._sslobj
        return None if sslobj is None else sslobj.session_reused

    def dup(self) -> NoReturn:
        """Raise NotImplementedError: two sockets cannot share one TLS state, as dup(2) would."""
        raise NotImplementedError(f"Can't dup() {type(self).__name__} instances")

    if not TYPE_CHECKING:  # who shall see the inherited one, with a type for each mode

        def makefile(self, mode="r", buffering=None, *, encoding=None, errors=None, newline=None):
            """Return a file that reads from the socket, writes to it, or both: "r", "w", "rw".

            Args: mode: with "b" it is of bytes, else of text; buffering, encoding, errors,
                    newline: as of `open`. See: socket.socket.makefile.
            """
            texts = {"encoding": encoding, "errors": errors, "newline": newline}
            file = _plain.makefile(self, mode, buffering, **texts)
            buffer = getattr(file, "buffer", file)  # below a text
            raw = getattr(buffer, "raw", buffer)
            if type(raw) is _SocketIO:
                raw.__class__ = _File
            return file

    def _checkClosed(self, msg: str | None = None) -> None:
        """Do nothing; a subclass may raise here to find uses of a closed socket."""

    def _check_connected(self) -> None:
        """Raise OSError (ENOTCONN) if the socket has no peer.

        A connect() that returned EAGAIN leaves `_connected` unset, so the system has the word.
        """
        if not self._connected:
            self.getpeername()

    # -- bytes ---------------------------------------------------------------------------------

    def read(self, len: int = 1024, buffer: WriteableBuffer | None = None) -> Any:
        """Return up to `len` decrypted bytes, or b"" once the peer has closed.

        Args:   len: bytes; with a buffer, 0 or less means all of it.
                buffer: writable; if given, bytes go there and their number is returned.
        Raises: TimeoutError: the socket's timeout (seconds) ran out first.
                SSLWantReadError, SSLWantWriteError: non-blocking, and nothing to deliver yet.
                SSLEOFError: TCP ended without close_notify (RFC 8446 section 6.1), unless
                suppress_ragged_eofs, which reads as a proper end.
                ValueError: there is no TLS connection (any more).
        See: SSL_read_ex(3).
        """
        sslobj = self._sslobj
        if sslobj is None:
            self._checkClosed()
            raise ValueError("Read on closed or unwrapped SSL socket.")
        try:
            if buffer is None:
                return sslobj.read(len)
            return sslobj.read(len, buffer)
        except SSLEOFError:
            if not self.suppress_ragged_eofs:
                raise
            return b"" if buffer is None else 0

    def write(self, data: ReadableBuffer) -> int:
        """Encrypt and send `data`; return how many of its bytes were sent.

        Raises: TimeoutError: the socket's timeout (seconds) ran out first.
                SSLWantReadError, SSLWantWriteError: non-blocking, and nothing could be sent.
                ValueError: there is no TLS connection (any more).
        See: SSL_write_ex(3).
        """
        sslobj = self._sslobj
        if sslobj is None:
            self._checkClosed()
            raise ValueError("Write on closed or unwrapped SSL socket.")
        return sslobj.write(data)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return up to `buflen` bytes, or b"" once the peer has closed.

        Args:   buflen: bytes, >= 0; one TLS record carries at most 16384 (RFC 8446 section 5.1).
                flags: must be 0 over TLS.
        Raises: as `read`; ValueError: flags were given.
        """
        sslobj = self._sslobj
        if sslobj is None:
            self._checkClosed()
            return _plain.recv(self, buflen, flags)
        if flags != 0:
            self._refuse_flags("recv")
        try:
            return sslobj.read(buflen)  # type: ignore[no-any-return]
        except SSLEOFError:
            if not self.suppress_ragged_eofs:
                raise
            return b""

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive into `buffer` and return the number of bytes, 0 once the peer has closed.

        Args:   buffer: writable and contiguous.
                nbytes: bytes at most; None or 0 for the size of the buffer.
                flags: must be 0 over TLS.
        Raises: as `read`; ValueError: flags were given.
        """
        sslobj = self._sslobj
        if sslobj is None:
            self._checkClosed()
            return _plain.recv_into(self, buffer, nbytes or 0, flags)
        if flags != 0:
            self._refuse_flags("recv_into")
        try:
            return sslobj.read(nbytes or 0, buffer)  # type: ignore[no-any-return]
        except SSLEOFError:
            if not self.suppress_ragged_eofs:
                raise
            return 0

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """Send `data`; return how many of its bytes were sent.

        Args:   flags: must be 0 over TLS.
        Raises: as `write`; ValueError: flags were given.
        """
        sslobj = self._sslobj
        if sslobj is None:
            self._checkClosed()
            return _plain.send(self, data, flags)
        if flags != 0:
            self._refuse_flags("send")
        return sslobj.write(data)

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        """Send all of `data`, within the timeout (seconds).

        Args:   flags: must be 0 over TLS.
        Raises: as `write`; ValueError: flags were given. After an exception there is no telling
                how much was sent.
        """
        sslobj = self._sslobj
        if sslobj is None:
            self._checkClosed()
            return _plain.sendall(self, data, flags)
        if flags != 0:
            self._refuse_flags("sendall")
        if data if type(data) is bytes else as_view(data).nbytes:  # or nothing is done at all
            sslobj.write(data)

    def _refuse_flags(self, method: str) -> NoReturn:
        raise ValueError(f"non-zero flags not allowed in calls to {method}() on {self.__class__}")

    def sendfile(  # type: ignore[override]  # typeshed's protocol for files is private
        self, file: IO[bytes], offset: int = 0, count: int | None = None
    ) -> int:
        """Send a file opened in binary mode; return the number of bytes sent.

        With kernel TLS (OP_ENABLE_KTLS) the file never enters this process.
        Args:   offset: bytes, where to begin; the file's position is where sending ended.
                count: bytes at most; None for all up to the end.
        Raises: ValueError: text mode, non-blocking socket, or a count that is not positive.
        See: SSL_sendfile(3).
        """
        sslobj = self._sslobj
        if sslobj is None:
            return _plain.sendfile(self, file, offset, count)
        if sslobj.uses_ktls_for_send():
            try:
                return self._sendfile_ktls(sslobj, file, offset, count)
            except _GiveupOnSSLSendfile:
                pass
        total: int = self._sendfile_use_send(file, offset, count)  # type: ignore[attr-defined]
        return total

    def _sendfile_ktls(
        self, sslobj: _ssl._SSLSocket, file: IO[bytes], offset: int, count: int | None
    ) -> int:
        """Send from descriptor to descriptor, or give up before the first byte is sent."""
        self._check_sendfile_params(file, offset, count)  # type: ignore[attr-defined]
        if self.gettimeout() == 0:
            raise ValueError("non-blocking sockets are not supported")
        try:
            fileno = file.fileno()
        except (AttributeError, OSError, io.UnsupportedOperation) as exc:
            raise _GiveupOnSSLSendfile(exc) from exc
        total = 0
        try:
            while count is None or total < count:
                chunk = _SENDFILE_CHUNK if count is None else min(count - total, _SENDFILE_CHUNK)
                try:
                    sent = sslobj.sendfile(fileno, offset + total, chunk)
                except OSError as exc:
                    if total or isinstance(exc, (TimeoutError, socket.timeout)):
                        raise
                    raise _GiveupOnSSLSendfile(exc) from exc
                if not sent:
                    break
                total += sent
        finally:
            if total and hasattr(file, "seek"):
                file.seek(offset + total)
        if not total:
            raise _GiveupOnSSLSendfile("nothing there, or a file of no size before it is read")
        return total

    # -- datagram-like methods, which have no meaning for a TLS stream ---------------------------

    def _refuse(self, method: str) -> None:
        self._checkClosed()
        if self._sslobj is not None:
            raise ValueError(f"{method} not allowed on instances of {self.__class__}")

    def sendto(self, data: ReadableBuffer, flags_or_addr: Any, addr: Any = None) -> int:
        """Send `data` to an address, before TLS, and return how many bytes were sent.

        Args:   flags_or_addr, addr: as the plain socket's, one or both; see sendto(2).
        Raises: ValueError: there is TLS on the connection, which knows one address only.
        """
        self._refuse("sendto")
        if addr is None:
            return _plain.sendto(self, data, flags_or_addr)
        return _plain.sendto(self, data, flags_or_addr, addr)

    def recvfrom(self, buflen: int = 1024, flags: int = 0) -> tuple[bytes, Any]:
        """Return up to `buflen` bytes and the sender's address, before TLS.

        Args:   flags: see recvfrom(2).
        Raises: ValueError: there is TLS on the connection, which knows one address only.
        """
        self._refuse("recvfrom")
        return _plain.recvfrom(self, buflen, flags)

    def recvfrom_into(
        self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0
    ) -> tuple[int, Any]:
        """Receive into `buffer`, before TLS; return the number of bytes and the sender's address.

        Args:   nbytes: bytes at most; None or 0 for the size of the buffer.
                flags: see recvfrom(2).
        Raises: ValueError: there is TLS on the connection, which knows one address only.
        """
        self._refuse("recvfrom_into")
        return _plain.recvfrom_into(self, buffer, nbytes or 0, flags)

    def sendmsg(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise NotImplementedError, connected or not: sendmsg(2) would not encrypt."""
        raise NotImplementedError(f"sendmsg not allowed on instances of {self.__class__}")

    def recvmsg(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise NotImplementedError: what recvmsg(2) tells does not pass through TLS."""
        raise NotImplementedError(f"recvmsg not allowed on instances of {self.__class__}")

    def recvmsg_into(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise NotImplementedError: what recvmsg(2) tells does not pass through TLS."""
        raise NotImplementedError(f"recvmsg_into not allowed on instances of {self.__class__}")

    # -- what is known of the connection ---------------------------------------------------------

    @_sslcopydoc
    def getpeercert(self, binary_form: bool = False) -> Any:
        self._checkClosed()
        self._check_connected()
        return self._sslobj.getpeercert(binary_form)  # type: ignore[union-attr]

    @_sslcopydoc
    def get_verified_chain(self) -> list[bytes]:
        return _der_list(self._sslobj.get_verified_chain())  # type: ignore[union-attr]

    @_sslcopydoc
    def get_unverified_chain(self) -> list[bytes]:
        return _der_list(self._sslobj.get_unverified_chain())  # type: ignore[union-attr]

    @_sslcopydoc
    def selected_npn_protocol(self) -> str | None:
        self._checkClosed()
        _warn_npn()
        sslobj = self._sslobj
        return None if sslobj is None or not _ssl.HAS_NPN else sslobj.selected_npn_protocol()

    @_sslcopydoc
    def selected_alpn_protocol(self) -> str | None:
        self._checkClosed()
        sslobj = self._sslobj
        return None if sslobj is None else sslobj.selected_alpn_protocol()

    @_sslcopydoc
    def cipher(self) -> tuple[str, str, int] | None:
        self._checkClosed()
        sslobj = self._sslobj
        return None if sslobj is None else sslobj.cipher()

    @_sslcopydoc
    def group(self) -> str | None:
        self._checkClosed()
        sslobj = self._sslobj
        return None if sslobj is None else sslobj.group()

    @_sslcopydoc
    def client_sigalg(self) -> str | None:
        self._checkClosed()
        sslobj = self._sslobj
        return None if sslobj is None else sslobj.client_sigalg()

    @_sslcopydoc
    def server_sigalg(self) -> str | None:
        self._checkClosed()
        sslobj = self._sslobj
        return None if sslobj is None else sslobj.server_sigalg()

    @_sslcopydoc
    def shared_ciphers(self) -> list[tuple[str, str, int]] | None:
        self._checkClosed()
        sslobj = self._sslobj
        return None if sslobj is None else sslobj.shared_ciphers()

    @_sslcopydoc
    def compression(self) -> str | None:
        self._checkClosed()
        sslobj = self._sslobj
        return None if sslobj is None else sslobj.compression()

    @_sslcopydoc
    def pending(self) -> int:
        self._checkClosed()
        sslobj = self._sslobj
        return 0 if sslobj is None else sslobj.pending()

    @_sslcopydoc
    def version(self) -> str | None:
        sslobj = self._sslobj
        return None if sslobj is None else sslobj.version()

    @_sslcopydoc
    def get_channel_binding(self, cb_type: str = "tls-unique") -> bytes | None:
        sslobj = self._sslobj
        if sslobj is not None:
            return sslobj.get_channel_binding(cb_type)
        if cb_type not in CHANNEL_BINDING_TYPES:
            raise ValueError(f"{cb_type} channel binding type not implemented")
        return None

    # -- beginning and ending --------------------------------------------------------------------

    def do_handshake(self, block: bool = False) -> None:
        """Do the TLS handshake, verifying the peer as the context demands.

        Args:   block: wait for its end even on a non-blocking socket.
        Raises: TimeoutError: the socket's timeout (seconds) ran out first.
                SSLWantReadError, SSLWantWriteError: non-blocking, and there is more to exchange.
                SSLCertVerificationError: the peer's certificate or host name was refused.
                OSError: (ENOTCONN) the socket has no peer. ValueError: TLS has been unwrapped.
                SSLError: any other failure.
        See: SSL_do_handshake(3).
        """
        self._check_connected()
        sslobj = self._sslobj
        if sslobj is None:
            self.settimeout(self.gettimeout())  # a closed socket says so by itself
            raise ValueError("No SSL wrapper around " + str(self))
        if not block or self.gettimeout() != 0.0:
            sslobj.do_handshake()
            return
        self.settimeout(None)
        try:
            sslobj.do_handshake()
        finally:
            self.settimeout(0.0)

    def _real_connect(self, addr: Any, connect_ex: bool) -> int | None:
        if self.server_side:
            raise ValueError("can't connect in server-side mode")
        if self._connected or self._sslobj is not None:
            raise ValueError("attempt to connect already-connected SSLSocket!")
        # Before the TCP connection: a wrong server_hostname or session must not cause any traffic.
        self._sslobj = self.context._wrap_socket(
            self, False, self.server_hostname, owner=self, session=self._session
        )
        try:
            if connect_ex:
                status = _plain.connect_ex(self, addr)
            else:
                status = 0
                _plain.connect(self, addr)
            if not status:
                self._connected = True
                if self.do_handshake_on_connect:
                    self.do_handshake()
        except (OSError, ValueError):
            self._end_operations(end=False)
            raise
        return status if connect_ex else None

    def connect(self, addr: Any) -> None:
        """Connect to `addr`, then do the TLS handshake if do_handshake_on_connect.

        Raises: as `do_handshake`; OSError: TCP could not connect; ValueError: connected already,
                or made for the server's side.
        """
        self._real_connect(addr, False)

    def connect_ex(self, addr: Any) -> int:
        """Connect to `addr` as `connect` does, but return an errno value (0: success) if TCP fails.

        Failures of the TLS handshake raise all the same.
        """
        return self._real_connect(addr, True)  # type: ignore[return-value]

    def accept(self) -> tuple[SSLSocket, Any]:
        """Return a new connection, wrapped by the same context, and its peer's address; accept(2).

        The handshake is done here if do_handshake_on_connect; its failure raises, and closes
        that connection only.
        """
        newsock, addr = _plain.accept(self)
        try:
            wrapped = self.context.wrap_socket(
                newsock,
                do_handshake_on_connect=self.do_handshake_on_connect,
                suppress_ragged_eofs=self.suppress_ragged_eofs,
                server_side=True,
            )
        except BaseException:
            newsock.close()
            raise
        return wrapped, addr

    def _retire(self) -> None:
        """Go on as a plain socket, remembering the connection object while anyone uses it."""
        sslobj, self._sslobj = self._sslobj, None
        if sslobj is not None:
            self._retired = ref(sslobj)

    def shutdown(self, how: int) -> None:
        """Shut down the TCP connection, without the TLS farewell (see `unwrap`).

        Args:   how: SHUT_RD, SHUT_WR or SHUT_RDWR of the socket module.
        Raises: OSError: the socket is not connected.
        """
        self._checkClosed()
        self._retire()
        _plain.shutdown(self, how)

    def unwrap(self) -> socket.socket:
        """End TLS: send close_notify, wait for the peer's, and return the plain socket.

        That is this very object, which from now on sends and receives unencrypted
        (RFC 8446 section 6.1).
        Raises: TimeoutError: the socket's timeout (seconds) ran out first.
                SSLWantReadError, SSLWantWriteError: non-blocking; repeat.
                SSLError: any other failure. ValueError: there is no TLS connection (any more).
        See: SSL_shutdown(3).
        """
        sslobj = self._sslobj
        if sslobj is None:
            raise ValueError("No SSL wrapper around " + str(self))
        plain: socket.socket = sslobj.shutdown()
        self._retire()
        return plain

    @_sslcopydoc
    def verify_client_post_handshake(self) -> None:
        sslobj = self._sslobj
        if sslobj is None:
            raise ValueError("No SSL wrapper around " + str(self))
        sslobj.verify_client_post_handshake()

    def _end_operations(self, end: bool = True) -> None:
        """Stop what other threads do on the descriptor, before its number can be used again."""
        retired = self._retired() if self._retired is not None else None
        sslobj, self._sslobj = self._sslobj, None
        for conn in (sslobj, retired):
            if conn is not None:
                conn._close(end)

    def _real_close(self) -> None:
        self._end_operations()
        _plain._real_close(self)  # type: ignore[attr-defined]

    def detach(self) -> int:
        """Give the file descriptor away, unclosed, and return it; as `socket.socket.detach`.

        TLS ends without a close_notify (RFC 8446 section 6.1).
        """
        self._end_operations(end=False)
        return _plain.detach(self)


shorten(
    SSLSocket,
    read="($self, len=1024, buffer=None)",
    write="($self, data)",
    recv="($self, buflen=1024, flags=0)",
    recv_into="($self, buffer, nbytes=None, flags=0)",
    send="($self, data, flags=0)",
    sendall="($self, data, flags=0)",
)

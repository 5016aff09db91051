"""``_SSLContext``: the back of SSLContext, with the contract of CPython's ``_ssl._SSLContext``."""

from __future__ import annotations

import io
import operator
import os
import sys
import warnings

from . import _constants, _errors, _ffi
from ._certs import encode, fields, take_array
from ._conn import _SSLSocket, make_connection, shorten
from ._constants import (
    CERT_NONE,
    CERT_OPTIONAL,
    CERT_REQUIRED,
    MODERN_DEFAULTS,
    NUMBERS,
    PROTO_MAXIMUM_SUPPORTED,
    PROTO_MINIMUM_SUPPORTED,
    PROTOCOL_TLS,
    PROTOCOL_TLS_CLIENT,
    PROTOCOL_TLS_SERVER,
)
from ._ffi import as_view, ffi, lib, native
from ._hooks import PasswordHooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ._session import SSLSession

#: The figures of session_stats(), in the order of sb_ctx_session_stats().
SESSION_STATS = (
    "number",
    "connect",
    "connect_good",
    "connect_renegotiate",
    "accept",
    "accept_good",
    "accept_renegotiate",
    "hits",
    "misses",
    "timeouts",
    "cache_full",
)

#: The items of sb_ctx_ciphers() for each cipher, and what each is.
CIPHER_FIELDS: tuple[tuple[str, Callable[[str], Any]], ...] = (
    ("id", int),
    ("name", str),
    ("protocol", str),
    ("description", str),
    ("strength_bits", int),
    ("alg_bits", int),
    ("aead", lambda text: text != "0"),
    ("symmetric", lambda text: text or None),
    ("digest", lambda text: text or None),
    ("kea", lambda text: text or None),
    ("auth", lambda text: text or None),
)

_FLEXIBLE = (PROTOCOL_TLS, PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER)
# What OpenSSL lacks is an error, and not deprecated.
_DEPRECATED_PROTOCOLS = {
    number: f"PROTOCOL_{name}"
    for number, name in enumerate(("SSLv3", "TLS", "TLSv1", "TLSv1_1", "TLSv1_2"), 1)
    if getattr(_constants, f"HAS_{name}", True)
}
_VERSIONS = {
    _constants.PROTO_SSLv3: "SSLv3",
    _constants.PROTO_TLSv1: "TLSv1",
    _constants.PROTO_TLSv1_1: "TLSv1_1",
    _constants.PROTO_TLSv1_2: "TLSv1_2",
    _constants.PROTO_TLSv1_3: "TLSv1_3",
}
_DEPRECATED_VERSIONS = ("SSLv3", "TLSv1", "TLSv1_1")
#: Does context.c make the usual contexts alone? Those of Python 3.9 want something set in each.
MADE_IN_C = native is not None and MODERN_DEFAULTS
_OP_NO_VERSION = 0
for _name in ("OP_NO_SSLv2", "OP_NO_SSLv3", *(f"OP_NO_{v}" for v in list(_VERSIONS.values())[1:])):
    _OP_NO_VERSION |= NUMBERS.get(_name, 0)


def _deprecated(what: str, stacklevel: int) -> None:
    """Warn as the interpreter's own ssl would: from Python 3.10 on (PEP 644)."""
    if sys.version_info >= (3, 10):
        warnings.warn(f"{what} is deprecated", DeprecationWarning, stacklevel=stacklevel + 1)


def _integer(value: Any) -> int:
    if not isinstance(value, int):
        if not hasattr(type(value), "__index__"):
            raise TypeError(f"{type(value).__name__!r} object cannot be interpreted as an integer")
        value = operator.index(value)
    return int.__add__(value, 0)  # whatever a subclass of int says of itself


def _c_int(value: Any) -> int:
    number = _integer(value)
    if not -0x80000000 <= number <= 0x7FFFFFFF:
        raise OverflowError("signed integer is out of range for a C int")
    return number


def _path(value: Any, what: str) -> bytes | None:
    if value is None:
        return None
    try:
        return _ffi.fs_path(value)
    except TypeError:
        raise TypeError(f"{what} should be a valid filesystem path") from None


def _open(path: _ffi.Path, mode: str) -> io.FileIO:
    """Open a file without a buffer, with the audit event that CPython's `_ssl` raises."""
    _ffi.fs_path(path)  # FileIO would take a number, too
    return io.FileIO(path, mode)


def _check_psk_callback(callback: Any) -> None:
    if callback is not None and not callable(callback):
        raise TypeError("callback must be callable")


class _InitialCiphers:
    """The cipher list that contexts begin with, as C takes it.

    OpenSSL follows a list of names in three quarters of the time that the rules take which stand
    for them (15.5 against 20.5 us, of 125 for a whole context; OpenSSL 3.0). So what the rules
    came to in the first context is spelled out for those after it.
    """

    def __init__(self, rules: str | None) -> None:
        self.rules = self.spelled_out = None if rules is None else rules.encode()
        self.pending = rules is not None
        if not self.pending:
            self._settle()

    def _settle(self) -> None:
        """From now on C makes the usual contexts alone."""
        if MADE_IN_C:
            native.make_usually(self.spelled_out, _constants.MINIMUM_VERSION)

    def examine(self, protocol: Any) -> tuple[int, bytes | None]:
        """Return a protocol's number and the list for it; warn of a deprecated one."""
        number = _c_int(protocol)
        if number in _DEPRECATED_PROTOCOLS:
            _deprecated(f"ssl.{_DEPRECATED_PROTOCOLS[number]}", 4)
        return number, self.spelled_out if number in _FLEXIBLE else self.rules

    def learn(self, context: _SSLContext) -> None:
        """Take the names from a context that was made by the rules."""
        names = [
            cipher["name"]
            for cipher in _SSLContext.get_ciphers(context)
            if cipher["protocol"] != "TLSv1.3"  # these are apart, and not touched by the list
        ]
        first = (self.rules or b"").split(b":")[0]
        level = [first] if first.startswith(b"@SECLEVEL=") else []
        self.spelled_out = b":".join([*level, *(name.encode() for name in names)])
        self._settle()
        self.pending = False


def _explain(number: int, ciphers: bytes | None) -> None:
    """Try once more what has failed, and raise its error, should it fail again."""
    err = _errors.new_record()
    rules = ffi.NULL if ciphers is None else ciphers
    pointer = lib.sb_ctx_new(number, rules, _constants.MINIMUM_VERSION, err)
    if not pointer and err.status == _ffi.BAD_ARG:
        raise ValueError(f"invalid or unsupported protocol version {number}")
    if not pointer:
        raise _errors.make(err.status, err)
    lib.sb_ctx_free(pointer)


_ciphers = _InitialCiphers(_constants.CIPHERS)

if TYPE_CHECKING or native is None:
    from ._portable import Context
else:
    _cast, _POINTER = ffi.cast, ffi.typeof("sb_ctx *")

    class Context(native.Context):
        """That of native.c, and the context as cffi takes it."""

        @property
        def _c_ctx(self) -> Any:
            return _cast(_POINTER, self._address)


@_ffi.refuse_deletions
class _SSLContext(Context):
    """Settings that connections are made from. See: SSL_CTX_new(3)."""

    # What hardly any context has stands here, so that making one does not set it.
    _c_sni: Callable[..., Any] | None = None
    _c_message: Callable[..., Any] | None = None
    _psk_client: Callable[..., Any] | None = None
    _psk_server: Callable[..., Any] | None = None
    _c_keylog: Any = None
    _c_pha = False
    _c_host_flags = NUMBERS["HOSTFLAG_NO_PARTIAL_WILDCARDS"]

    def __new__(cls, protocol: int, /) -> _SSLContext:
        number, ciphers = _ciphers.examine(protocol)
        self: Any
        while (self := cls._open(number, ciphers, _constants.MINIMUM_VERSION)) is None:
            _explain(number, ciphers)
        if _ciphers.pending and number in _FLEXIBLE:
            _ciphers.learn(self)
        if not MODERN_DEFAULTS:
            options = lib.sb_ctx_options(self._c_ctx) | NUMBERS["OP_IGNORE_UNEXPECTED_EOF"]
            lib.sb_ctx_set_options(self._c_ctx, options)
        return self  # type: ignore[no-any-return]

    if not TYPE_CHECKING and MADE_IN_C:  # C makes the usual ones, and leaves it the rest
        _c_make = classmethod(__new__)
        del __new__

    __reduce_ex__ = _ffi.refuse_copies

    def _try(self, call: Any, *args: Any) -> tuple[int, Any]:
        """Return the status of a C function on this context, and the record it filled."""
        err = _errors.new_record()
        return call(self._c_ctx, *args, err), err

    def _call(self, call: Any, *args: Any) -> None:
        status, err = self._try(call, *args)
        _errors.check(status, err)

    # ------------------------------------------------------------ connections

    def _wrap_socket(
        self,
        sock: Any,
        server_side: Any,
        server_hostname: str | bytes | None = None,
        *,
        owner: Any = None,
        session: SSLSession | None = None,
    ) -> _SSLSocket:
        """Return the TLS part of a connected stream socket."""
        return make_connection(self, bool(server_side), server_hostname, owner, session, sock, None)

    def _wrap_bio(
        self,
        incoming: Any,
        outgoing: Any,
        server_side: Any,
        server_hostname: str | bytes | None = None,
        *,
        owner: Any = None,
        session: SSLSession | None = None,
    ) -> _SSLSocket:
        """Return a connection that reads from and writes to two memory buffers."""
        return make_connection(
            self, bool(server_side), server_hostname, owner, session, None, (incoming, outgoing)
        )

    # ------------------------------------------------------------ verification

    @property
    def protocol(self) -> int:
        """The PROTOCOL_* number that it was made with. See: SSL_CTX_new(3)."""
        return self._protocol

    @property
    def options(self) -> int:
        """OP_* flags. See: SSL_CTX_set_options(3)."""
        return int(lib.sb_ctx_options(self._c_ctx))

    @options.setter
    def options(self, value: int) -> None:
        if not isinstance(value, int):
            raise TypeError(f"argument must be int, not {type(value).__name__}")
        number = int(value)
        if number < 0 and sys.version_info >= (3, 14):
            raise ValueError("Cannot convert negative int")
        if not 0 <= number < 1 << 64:
            raise OverflowError("options do not fit 64 bits, or are negative")
        if number & ~int(lib.sb_ctx_options(self._c_ctx)) & _OP_NO_VERSION:
            _deprecated_options(4)
        lib.sb_ctx_set_options(self._c_ctx, number)

    @property
    def verify_mode(self) -> int:
        """CERT_NONE, CERT_OPTIONAL or CERT_REQUIRED. See: SSL_CTX_set_verify(3)."""
        return int(lib.sb_ctx_verify_mode(self._c_ctx))

    @verify_mode.setter
    def verify_mode(self, value: int) -> None:
        mode = _c_int(value)
        if mode == CERT_NONE and self._c_check_hostname:
            raise ValueError("Cannot set verify_mode to CERT_NONE when check_hostname is enabled.")
        if mode not in (CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED):
            raise ValueError("invalid value for verify_mode")
        lib.sb_ctx_set_verify_mode(self._c_ctx, mode)

    @property
    def verify_flags(self) -> int:
        """VERIFY_* flags. See: X509_VERIFY_PARAM_set_flags(3)."""
        return int(lib.sb_ctx_verify_flags(self._c_ctx))

    @verify_flags.setter
    def verify_flags(self, value: int) -> None:
        number = _integer(value)
        if not 0 <= number < 1 << 64:
            raise OverflowError("flags do not fit an unsigned long, or are negative")
        self._call(lib.sb_ctx_set_verify_flags, number)

    @property
    def check_hostname(self) -> bool:
        """Must the peer's certificate name the server_hostname? RFC 6125.

        Turning it on turns CERT_NONE into CERT_REQUIRED. See: X509_VERIFY_PARAM_set1_host(3).
        """
        return self._c_check_hostname

    @check_hostname.setter
    def check_hostname(self, value: Any) -> None:
        self._set_check_hostname(bool(value))

    def _set_check_hostname(self, on: bool) -> None:
        if on and lib.sb_ctx_verify_mode(self._c_ctx) == CERT_NONE:
            lib.sb_ctx_set_verify_mode(self._c_ctx, CERT_REQUIRED)
        self._c_check_hostname = on
        lib.sb_ctx_set_check_hostname(self._c_ctx, on)

    @property
    def _host_flags(self) -> int:
        """HOSTFLAG_* flags. See: X509_VERIFY_PARAM_set_hostflags(3)."""
        return self._c_host_flags

    @_host_flags.setter
    def _host_flags(self, value: int) -> None:
        number = _integer(value)
        if not 0 <= number <= 0xFFFFFFFF:
            raise OverflowError("flags do not fit an unsigned int, or are negative")
        lib.sb_ctx_set_host_flags(self._c_ctx, number)
        self._c_host_flags = number

    # ------------------------------------------------------------ versions

    def _limit(self, upper: bool) -> int:
        version = int(lib.sb_ctx_version_limit(self._c_ctx, upper))
        if version == 0 or self._protocol not in _FLEXIBLE:
            return PROTO_MAXIMUM_SUPPORTED if upper else PROTO_MINIMUM_SUPPORTED
        return version

    def _set_limit(self, upper: bool, value: int) -> None:
        number = version = _c_int(value)
        if self._protocol not in _FLEXIBLE:
            raise ValueError(
                "The context's protocol doesn't support modification of highest and lowest version."
            )
        if number in (PROTO_MINIMUM_SUPPORTED, PROTO_MAXIMUM_SUPPORTED):
            known = [v for v, name in _VERSIONS.items() if _ffi.FEATURES[name]]
            if number == PROTO_MINIMUM_SUPPORTED:
                version = known[0] if upper else 0
            else:
                version = 0 if upper else known[-1]
        elif number not in _VERSIONS:
            raise ValueError(f"Unsupported TLS/SSL version 0x{number & 0xFFFFFFFF:x}")
        elif _VERSIONS[number] in _DEPRECATED_VERSIONS:
            _deprecated(f"ssl.TLSVersion.{_VERSIONS[number]}", 5)
        if self._try(lib.sb_ctx_set_version_limit, upper, version)[0] < 0:
            raise ValueError(f"Unsupported protocol version 0x{version & 0xFFFFFFFF:x}")

    @property
    def minimum_version(self) -> int:
        """The lowest version that may be agreed on. See: SSL_CTX_set_min_proto_version(3)."""
        return self._limit(False)

    @minimum_version.setter
    def minimum_version(self, value: int) -> None:
        self._set_limit(False, value)

    @property
    def maximum_version(self) -> int:
        """The highest version that may be agreed on. See: SSL_CTX_set_max_proto_version(3)."""
        return self._limit(True)

    @maximum_version.setter
    def maximum_version(self, value: int) -> None:
        self._set_limit(True, value)

    @property
    def security_level(self) -> int:
        """From 0 to 5, the least strength that is accepted. SSL_CTX_get_security_level(3)."""
        return int(lib.sb_ctx_security_level(self._c_ctx))

    @property
    def num_tickets(self) -> int:
        """How many TLS 1.3 tickets a server sends. See: SSL_CTX_set_num_tickets(3).

        Setting raises ValueError: a negative number, or no PROTOCOL_TLS_SERVER context.
        """
        return int(lib.sb_ctx_num_tickets(self._c_ctx))

    @num_tickets.setter
    def num_tickets(self, value: int) -> None:
        number = _integer(value)
        if number < 0:
            raise ValueError("value must be non-negative")
        if self._protocol != PROTOCOL_TLS_SERVER:
            raise ValueError("SSLContext is not a server context.")
        if number >= 1 << 63 or self._try(lib.sb_ctx_set_num_tickets, number)[0] < 0:
            raise ValueError("failed to set num tickets.")

    @property
    def post_handshake_auth(self) -> bool:
        """May a TLS 1.3 server ask for a certificate later? RFC 8446 4.6.2.

        A client offers it; a server's `verify_mode` then holds for
        `SSLSocket.verify_client_post_handshake`. See: SSL_CTX_set_post_handshake_auth(3).
        """
        return self._c_pha

    @post_handshake_auth.setter
    def post_handshake_auth(self, value: Any) -> None:
        self._c_pha = bool(value)
        lib.sb_ctx_set_post_handshake_auth(self._c_ctx, self._c_pha)

    # ------------------------------------------------------------ algorithms

    def _set_list(self, setter: str, value: str) -> bool:
        """Hand a list of names to the C function of this setter; return whether OpenSSL took it."""
        if not isinstance(value, str):
            kind = "None" if value is None else type(value).__name__
            raise TypeError(f"{setter}() argument must be str, not {kind}")
        call = getattr(lib, f"sb_ctx_{setter}")
        return bool(self._try(call, _ffi.c_string(value))[0] >= 0)

    def set_ciphers(self, cipherlist: str, /) -> None:
        """Enable the ciphers of TLS 1.2 and older.

        Args:   cipherlist: names, classes and operators; openssl-ciphers(1).
        Raises: SSLError: it leaves no cipher.
        See: SSL_CTX_set_cipher_list(3).
        """
        if not self._set_list("set_ciphers", cipherlist):
            raise _errors.SSLError("No cipher can be selected.")

    def set_ciphersuites(self, ciphersuites: str, /) -> None:
        """Enable the cipher suites of TLS 1.3.

        Args:   ciphersuites: names with colons between, as "TLS_AES_128_GCM_SHA256" (RFC 8446 B.4);
                empty for none.
        Raises: SSLError: an unknown name.
        See: SSL_CTX_set_ciphersuites(3).
        """
        if not self._set_list("set_ciphersuites", ciphersuites):
            raise _errors.refusal("No cipher suite can be selected.")

    def set_groups(self, grouplist: str, /) -> None:
        """Offer these key exchange groups, best first.

        Args:   grouplist: names with colons between, as "X25519:P-256" (RFC 8446 section 4.2.7).
        Raises: SSLError: an unknown name.
        See: SSL_CTX_set1_groups_list(3).
        """
        if not self._set_list("set_groups", grouplist):
            raise _errors.refusal("unrecognized group")

    def set_client_sigalgs(self, sigalgslist: str, /) -> None:
        """Accept these signature algorithms for clients' certificates, best first.

        Args:   sigalgslist: names with colons between, as "ECDSA+SHA256:ed25519".
        Raises: SSLError: an unknown name.
        See: SSL_CTX_set1_client_sigalgs_list(3).
        """
        if not self._set_list("set_client_sigalgs", sigalgslist):
            raise _errors.refusal("unrecognized signature algorithm")

    def set_server_sigalgs(self, sigalgslist: str, /) -> None:
        """Use and accept these signature algorithms for the server's certificate, best first.

        Args:   sigalgslist: names with colons between, as "ECDSA+SHA256:ed25519".
        Raises: SSLError: an unknown name.
        See: SSL_CTX_set1_sigalgs_list(3).
        """
        if not self._set_list("set_server_sigalgs", sigalgslist):
            raise _errors.refusal("unrecognized signature algorithm")

    def get_groups(self, *, include_aliases: bool = False) -> list[str]:
        """Return the names of the key exchange groups that may be used.

        Args:   include_aliases: whether a group's other names are listed as well.
        Raises: NotImplementedError: OpenSSL is older than 3.5.
        See: SSL_CTX_get0_implemented_groups(3).
        """
        block = ffi.new("sb_block *")
        self._call(lib.sb_ctx_groups, bool(include_aliases), block)
        return _ffi.texts(block)

    def get_ciphers(self) -> list[dict[str, Any]]:
        """Return the enabled ciphers, best first, each a dict.

        Its keys: id, name, protocol, description, strength_bits, alg_bits, aead, symmetric,
        digest, kea, auth. See: SSL_get1_supported_ciphers(3), SSL_CIPHER_description(3).
        """
        block = ffi.new("sb_block *")
        self._call(lib.sb_ctx_ciphers, block)
        flat = _ffi.texts(block)
        width = len(CIPHER_FIELDS)
        return [
            {key: convert(text) for (key, convert), text in zip(CIPHER_FIELDS, flat[i : i + width])}
            for i in range(0, len(flat), width)
        ]

    def set_ecdh_curve(self, name: str | bytes, /) -> None:
        """Use one elliptic curve for the key exchange, and no other group.

        Args:   name: OpenSSL's short name, as "prime256v1".
        Raises: ValueError: an unknown name.
        See: SSL_CTX_set1_groups(3); `set_groups` takes a list.
        """
        raw = os.fsencode(name)
        status, err = self._try(lib.sb_ctx_set_ecdh_curve, _ffi.c_string(raw))
        if status == _ffi.BAD_ARG:
            raise ValueError(f"unknown elliptic curve name {name!r}")
        _errors.check(status, err)

    def load_dh_params(self, path: _ffi.Path, /) -> None:
        """Load parameters for the Diffie-Hellman exchange of TLS 1.2 and older.

        Args:   path: of a PEM file.
        Raises: OSError: it cannot be read; SSLError: it holds no parameters.
        See: SSL_CTX_set0_tmp_dh_pkey(3).
        """
        with _open(path, "rb") as file:
            pem = file.readall()
        self._call(lib.sb_ctx_load_dh_params, pem, len(pem))

    def _set_alpn_protocols(self, protos: Any, /) -> None:
        """Offer, or choose from, protocols in wire format (RFC 7301 3.1)."""
        self._set_protocols(lib.sb_ctx_set_alpn, protos)

    def _set_npn_protocols(self, protos: Any, /) -> None:
        """The same for NPN, which ALPN replaced. See: SSL_CTX_set_next_protos_advertised_cb(3)."""
        self._set_protocols(lib.sb_ctx_set_npn, protos)

    def _set_protocols(self, call: Any, protos: Any) -> None:
        raw = bytes(as_view(protos))
        status, err = self._try(call, raw, len(raw))
        if status == _ffi.FAILED:  # it copies the list and checks that it is well formed
            raise _errors.SSLError("invalid list of protocols")
        _errors.check(status, err)

    # ------------------------------------------------------------ keys and trust

    def load_cert_chain(
        self, certfile: _ffi.Path, keyfile: _ffi.Path | None = None, password: Any = None
    ) -> None:
        """Load a certificate chain and its key; on failure nothing has changed.

        Args:   certfile: path of a PEM file: the certificate, then those that vouch for it.
                keyfile: path of the key's PEM file; None if it is in `certfile`.
                password: of an encrypted key: str, bytes or a callable that returns one, called
                only if it is needed; up to 1024 bytes.
        Raises: OSError: a file cannot be read; `filename` is its name from Python 3.15 on, as in
                the stdlib. SSLError: it cannot be understood, the password is wrong, or key and
                certificate do not match. ValueError: the password is too long; TypeError: it, or
                a path, is none; whatever the callable raises.
        See: SSL_CTX_use_certificate_chain_file(3).
        """
        if certfile is None:
            raise TypeError("certfile should be a valid filesystem path")
        cert = _path(certfile, "certfile")
        key = _path(keyfile, "keyfile")
        hooks = None
        if password is not None:
            if not callable(password) and not isinstance(password, (str, bytes, bytearray)):
                raise TypeError("password should be a string or callable")
            hooks = PasswordHooks(password)
        status, err = self._try(
            lib.sb_ctx_load_cert_chain,
            cert,
            ffi.NULL if key is None else key,
            ffi.NULL if hooks is None else hooks.handle,
        )
        if hooks is not None and hooks.pending is not None:
            raise hooks.pending
        _errors.check(status, err, key if err.of_key and key is not None else cert)

    def load_verify_locations(
        self, cafile: _ffi.Path | None = None, capath: _ffi.Path | None = None, cadata: Any = None
    ) -> None:
        """Trust certificates, and use revocation lists, beside those of earlier calls.

        Args:   cafile: path of a PEM file.
                capath: path of a directory whose files are named by hash; openssl-rehash(1).
                cadata: certificates as PEM in an ASCII str, or as DER in bytes.
        Raises: TypeError: none of them was given, or one is no such thing. OSError: a file cannot
                be read. SSLError: there is no certificate in it. ValueError: empty `cadata`.
        See: SSL_CTX_load_verify_locations(3).
        """
        if cafile is None and capath is None and cadata is None:
            raise TypeError("cafile, capath and cadata cannot be all omitted")
        file = _path(cafile, "cafile")
        directory = _path(capath, "capath")
        if cadata is not None:
            self._add_certs(cadata)
        if file is not None or directory is not None:
            null = ffi.NULL
            self._call(
                lib.sb_ctx_load_verify,
                null if file is None else file,
                null if directory is None else directory,
            )

    def _add_certs(self, cadata: Any) -> None:
        pem = isinstance(cadata, str)
        try:
            raw = cadata.encode("ascii") if isinstance(cadata, str) else bytes(as_view(cadata))
        except (TypeError, UnicodeEncodeError):
            raise TypeError("cadata should be an ASCII string or a bytes-like object") from None
        if not raw:
            raise ValueError("Empty certificate data")
        if len(raw) > 0x7FFFFFFF:
            raise OverflowError(f"Certificate data is too long. Expected <= {0x7FFFFFFF} bytes")
        self._call(lib.sb_ctx_add_certs, raw, len(raw), pem)

    def set_default_verify_paths(self) -> None:
        """Trust what OpenSSL trusts by default. SSL_CTX_set_default_verify_paths(3)."""
        self._call(lib.sb_ctx_load_default_verify)

    def cert_store_stats(self) -> dict[str, int]:
        """Return how many certificates (x509), of these CAs (x509_ca), and CRLs (crl) there are.

        Those of a directory count once they have been used. See: X509_STORE_get0_objects(3).
        """
        out = ffi.new("int[3]")
        lib.sb_ctx_trust_stats(self._c_ctx, out)
        return {"x509": out[0], "crl": out[1], "x509_ca": out[2]}

    def get_ca_certs(self, binary_form: bool = False) -> list[Any]:
        """Return the trusted CA certificates.

        Those of a directory are there once they have been used.
        Args:   binary_form: DER bytes; otherwise dicts in the form of `SSLSocket.getpeercert`.
        See: X509_STORE_get0_objects(3).
        """
        array, count = take_array(lib.sb_ctx_ca_certs, self._c_ctx) or (ffi.NULL, 0)
        try:
            return encode(array, count, pem=False) if binary_form else fields(array, count)
        finally:
            lib.sb_cert_list_free(array, count)

    def session_stats(self) -> dict[str, int]:
        """Return the figures of the session cache. See: SSL_CTX_sess_number(3)."""
        out = ffi.new("long[11]")
        lib.sb_ctx_session_stats(self._c_ctx, out)
        return dict(zip(SESSION_STATS, out))

    # ------------------------------------------------------------ hooks

    @property
    def sni_callback(self) -> Callable[..., Any] | None:
        """What a server calls with each client's server_name (RFC 6066 section 3), or None.

        f(conn, name, context): `conn` the SSLSocket or SSLObject, whose `context` it may set,
        `name` a str or None. It returns None to go on, or an ALERT_DESCRIPTION_* with which to
        refuse; what it raises is reported by `sys.unraisablehook`, and the client refused.
        Setting raises ValueError: a PROTOCOL_TLS_CLIENT context; TypeError: not callable.
        See: SSL_CTX_set_tlsext_servername_callback(3).
        """
        return self._c_sni

    @sni_callback.setter
    def sni_callback(self, value: Callable[..., Any] | None) -> None:
        if self._protocol == PROTOCOL_TLS_CLIENT:
            raise ValueError("sni_callback cannot be set on TLS_CLIENT context")
        if value is not None and not callable(value):
            raise TypeError("not a callable object")
        self._c_sni = value
        lib.sb_ctx_set_sni(self._c_ctx, value is not None)

    @property
    def _msg_callback(self) -> Callable[..., Any] | None:
        """Called with every protocol message. See: SSL_CTX_set_msg_callback(3)."""
        return self._c_message

    @_msg_callback.setter
    def _msg_callback(self, value: Callable[..., Any] | None) -> None:
        if value is not None and not callable(value):
            raise TypeError(f"{value!r} is not callable.")
        self._c_message = value
        lib.sb_ctx_set_message(self._c_ctx, value is not None)

    @property
    def keylog_filename(self) -> Any:
        """The path of a file that secrets are appended to, for a protocol analyser; or None.

        Setting raises OSError: it cannot be opened. See: SSL_CTX_set_keylog_callback(3).
        """
        return self._c_keylog

    @keylog_filename.setter
    def keylog_filename(self, value: Any) -> None:
        lib.sb_ctx_set_keylog(self._c_ctx, -1)
        self._c_keylog = None
        if value is None:
            return
        with _open(value, "ab") as file:
            if file.tell() == 0:
                file.write(b"# TLS secrets log file, generated by OpenSSL / Python\n")
            lib.sb_ctx_set_keylog(self._c_ctx, os.dup(file.fileno()))
        self._c_keylog = value

    def set_psk_client_callback(self, callback: Callable[..., Any] | None) -> None:
        """Let a client shake hands by a pre-shared key (RFC 4279; TLS 1.3: RFC 8446 section 2.2).

        Args:   callback: f(hint) returning (identity, key): `hint` the server's str or None
                (always with TLS 1.3), `identity` a str or None of up to 255 bytes, `key` bytes,
                empty to refuse. None to stop. What it raises is reported by
                `sys.unraisablehook`, and the handshake fails.
        Raises: SSLError: a PROTOCOL_TLS_SERVER context. TypeError: not callable.
                NotImplementedError: this OpenSSL has no PSK (HAS_PSK).
        See: SSL_CTX_set_psk_client_callback(3), SSL_CTX_set_psk_use_session_callback(3).
        """
        if self._protocol == PROTOCOL_TLS_SERVER:
            raise _errors.refusal("Cannot add PSK client callback to a PROTOCOL_TLS_SERVER context")
        _check_psk_callback(callback)
        self._call(lib.sb_ctx_set_psk_client, callback is not None)
        self._psk_client = callback

    def set_psk_server_callback(
        self, callback: Callable[..., Any] | None, identity_hint: str | None = None
    ) -> None:
        """Let a server shake hands by a pre-shared key (RFC 4279; TLS 1.3: RFC 8446 section 2.2).

        Args:   callback: f(identity) returning the key, bytes, empty to refuse; `identity` is
                the client's, str or None. None to stop. What it raises is reported by
                `sys.unraisablehook`, and the handshake fails.
                identity_hint: a str for the clients of TLS 1.2, up to 256 bytes.
        Raises: SSLError: a PROTOCOL_TLS_CLIENT context. ValueError: too long a hint. TypeError:
                not callable, or no str. NotImplementedError: this OpenSSL has no PSK (HAS_PSK).
        See: SSL_CTX_set_psk_server_callback(3), SSL_CTX_use_psk_identity_hint(3).
        """
        if self._protocol == PROTOCOL_TLS_CLIENT:
            raise _errors.refusal("Cannot add PSK server callback to a PROTOCOL_TLS_CLIENT context")
        _check_psk_callback(callback)
        if identity_hint is not None and not isinstance(identity_hint, str):
            raise TypeError(
                "set_psk_server_callback() argument 'identity_hint' must be str or None, "
                f"not {type(identity_hint).__name__}"
            )
        hint = _ffi.c_string(identity_hint or "")
        status, err = self._try(lib.sb_ctx_set_psk_server, callback is not None, hint)
        if status == _ffi.FAILED:
            raise ValueError("failed to set identity hint")
        _errors.check(status, err)
        self._psk_server = callback


def _deprecated_options(stacklevel: int) -> None:
    if sys.version_info >= (3, 10):
        warnings.warn(
            "ssl.OP_NO_SSL*/ssl.OP_NO_TLS* options are deprecated",
            DeprecationWarning,
            stacklevel=stacklevel,
        )


shorten(
    _SSLContext,
    _wrap_bio="($self, incoming, outgoing, server_side, server_hostname=None, *, owner=None, "
    "session=None)",
)
_SSLContext.__module__ = "_ssl"

#: ``_SSLContext.__new__``, of which C would come back to a class that has one of its own.
make_context: Callable[..., Any] = (
    vars(_SSLContext)["_c_make"].__func__ if MADE_IN_C else _SSLContext.__new__
)

"""Enumerations of the public module, and the constants that are their members.

The members come from the back, which has only what the OpenSSL in use knows; so the classes are
made at import, and the static picture of them for type checkers is `_enums.pyi`. Those of which the
stdlib's are the same are not made again: it takes 0.7 ms.
"""

from __future__ import annotations

from collections import namedtuple
from enum import Enum, IntEnum, IntFlag
from types import MappingProxyType, SimpleNamespace

from . import _ssl
from ._host import host_asn1, own_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "AlertDescription",
    "CHANNEL_BINDING_TYPES",
    "HAS_NEVER_CHECK_COMMON_NAME",
    "Options",
    "PROTOCOL_SSLv23",
    "Purpose",
    "SSLErrorNumber",
    "TLSVersion",
    "VerifyFlags",
    "VerifyMode",
]


#: Constants of the back by what stands before their first "_".
_CONSTANTS: dict[str, dict[str, Any]] = {
    prefix: {} for prefix in ("ALERT", "CERT", "OP", "PROTOCOL", "SSL", "VERIFY")
}
for _name, _value in vars(_ssl).items():
    _group = _CONSTANTS.get(_name.partition("_")[0])
    if _group is not None and _name != "PROTOCOL_SSLv23":
        _group[_name] = _value


def _collect(kind: Any, name: str, prefix: str, doc: str) -> Any:
    """Return the enumeration `name` of all back constants that begin with `prefix` and "_".

    It is the stdlib's own if that has the same members. They also become constants of this module,
    by which name those of a new one are pickled.
    """
    constants = _CONSTANTS[prefix]
    cls: Any = own_class(name)
    if cls is not None and cls.__members__ == constants:
        globals().update(cls.__members__)
    else:
        cls = kind._convert_(
            name, __name__, constants.__contains__, source=SimpleNamespace(**constants)
        )
        cls.__doc__ = doc
    __all__.extend(cls.__members__)
    return cls


_SSLMethod = _collect(
    IntEnum, "_SSLMethod", "PROTOCOL", "Protocol choice of a context: see SSL_CTX_new(3)."
)
Options = _collect(
    IntFlag, "Options", "OP", "Bits of `SSLContext.options`: see SSL_CTX_set_options(3)."
)
AlertDescription = _collect(
    IntEnum,
    "AlertDescription",
    "ALERT",
    "Alerts that an SNI callback may return (RFC 8446 section 6).",
)
SSLErrorNumber = _collect(
    IntEnum, "SSLErrorNumber", "SSL", "First argument of SSLError: see SSL_get_error(3)."
)
VerifyFlags = _collect(
    IntFlag,
    "VerifyFlags",
    "VERIFY",
    "Bits of `SSLContext.verify_flags`: see X509_VERIFY_PARAM_set_flags(3).",
)
VerifyMode = _collect(
    IntEnum,
    "VerifyMode",
    "CERT",
    "Values of `SSLContext.verify_mode`: what is demanded of the peer's certificate.",
)

PROTOCOL_SSLv23 = _SSLMethod.PROTOCOL_SSLv23 = _SSLMethod.PROTOCOL_TLS
_SSLv2_IF_EXISTS = getattr(_SSLMethod, "PROTOCOL_SSLv2", None)
_PROTOCOL_NAMES = MappingProxyType(
    {method: name for name, method in _SSLMethod.__members__.items()}
)

HAS_NEVER_CHECK_COMMON_NAME = hasattr(_ssl, "HOSTFLAG_NEVER_CHECK_SUBJECT")
CHANNEL_BINDING_TYPES = ["tls-unique"]

_RESTRICTED_SERVER_CIPHERS = _ssl._DEFAULT_CIPHERS


_VERSIONS = {
    name: getattr(_ssl, f"PROTO_{name}")
    for name in (
        *("MINIMUM_SUPPORTED", "SSLv3", "TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3"),
        "MAXIMUM_SUPPORTED",
    )
}
TLSVersion: Any = own_class("TLSVersion")
if TLSVersion is None or TLSVersion.__members__ != _VERSIONS:
    TLSVersion = IntEnum("TLSVersion", _VERSIONS, module=__name__)
    TLSVersion.__doc__ = """Protocol versions for a context's minimum_version and maximum_version.

    MINIMUM_SUPPORTED and MAXIMUM_SUPPORTED stand for the ends of what the OpenSSL in use offers.
    """


# Only message callbacks need these, so they are made when somebody asks.
_MESSAGE_ENUMS = {
    "_TLSContentType": (
        "Record types (RFC 8446 appendix B.1) and OpenSSL's two pseudo types above 255.",
        {
            "CHANGE_CIPHER_SPEC": 20,
            "ALERT": 21,
            "HANDSHAKE": 22,
            "APPLICATION_DATA": 23,
            "HEADER": 0x100,
            "INNER_CONTENT_TYPE": 0x101,
        },
    ),
    "_TLSAlertType": (
        "Alert descriptions (RFC 8446 appendix B.2).",
        {
            "CLOSE_NOTIFY": 0,
            "UNEXPECTED_MESSAGE": 10,
            "BAD_RECORD_MAC": 20,
            "DECRYPTION_FAILED": 21,
            "RECORD_OVERFLOW": 22,
            "DECOMPRESSION_FAILURE": 30,
            "HANDSHAKE_FAILURE": 40,
            "NO_CERTIFICATE": 41,
            "BAD_CERTIFICATE": 42,
            "UNSUPPORTED_CERTIFICATE": 43,
            "CERTIFICATE_REVOKED": 44,
            "CERTIFICATE_EXPIRED": 45,
            "CERTIFICATE_UNKNOWN": 46,
            "ILLEGAL_PARAMETER": 47,
            "UNKNOWN_CA": 48,
            "ACCESS_DENIED": 49,
            "DECODE_ERROR": 50,
            "DECRYPT_ERROR": 51,
            "EXPORT_RESTRICTION": 60,
            "PROTOCOL_VERSION": 70,
            "INSUFFICIENT_SECURITY": 71,
            "INTERNAL_ERROR": 80,
            "INAPPROPRIATE_FALLBACK": 86,
            "USER_CANCELED": 90,
            "NO_RENEGOTIATION": 100,
            "MISSING_EXTENSION": 109,
            "UNSUPPORTED_EXTENSION": 110,
            "CERTIFICATE_UNOBTAINABLE": 111,
            "UNRECOGNIZED_NAME": 112,
            "BAD_CERTIFICATE_STATUS_RESPONSE": 113,
            "BAD_CERTIFICATE_HASH_VALUE": 114,
            "UNKNOWN_PSK_IDENTITY": 115,
            "CERTIFICATE_REQUIRED": 116,
            "NO_APPLICATION_PROTOCOL": 120,
        },
    ),
    "_TLSMessageType": (
        "Handshake message types (RFC 8446 appendix B.3), with OpenSSL's own for CCS.",
        {
            "HELLO_REQUEST": 0,
            "CLIENT_HELLO": 1,
            "SERVER_HELLO": 2,
            "HELLO_VERIFY_REQUEST": 3,
            "NEWSESSION_TICKET": 4,
            "END_OF_EARLY_DATA": 5,
            "HELLO_RETRY_REQUEST": 6,
            "ENCRYPTED_EXTENSIONS": 8,
            "CERTIFICATE": 11,
            "SERVER_KEY_EXCHANGE": 12,
            "CERTIFICATE_REQUEST": 13,
            "SERVER_DONE": 14,
            "CERTIFICATE_VERIFY": 15,
            "CLIENT_KEY_EXCHANGE": 16,
            "FINISHED": 20,
            "CERTIFICATE_URL": 21,
            "CERTIFICATE_STATUS": 22,
            "SUPPLEMENTAL_DATA": 23,
            "KEY_UPDATE": 24,
            "NEXT_PROTO": 67,
            "MESSAGE_HASH": 254,
            "CHANGE_CIPHER_SPEC": 0x0101,
        },
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _MESSAGE_ENUMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    doc, members = _MESSAGE_ENUMS[name]
    cls: Any = IntEnum(name, members, module=__name__)
    cls.__doc__ = doc
    return globals().setdefault(name, cls)  # of two threads' the first


# The stdlib's, where there is one: its functions take nothing else for a Purpose.
_ASN1Base: Any = host_asn1 or namedtuple("_ASN1Object", "nid shortname longname oid")


class _ASN1Object(_ASN1Base):
    """An ASN.1 object known to OpenSSL: its number, two names and dotted OID.

    ``_ASN1Object(oid)`` looks up a dotted OID; ValueError if OpenSSL does not know it.
    See OBJ_nid2obj(3).
    """

    __slots__ = ()

    def __new__(cls, oid: str) -> _ASN1Object:
        return cls._make(_ssl.txt2obj(oid, name=False))

    @classmethod
    def fromnid(cls, nid: int) -> _ASN1Object:
        """Return the object with OpenSSL's number `nid`; ValueError if there is none."""
        return cls._make(_ssl.nid2obj(nid))

    @classmethod
    def fromname(cls, name: str) -> _ASN1Object:
        """Return the object with this short name, long name or OID; ValueError if none.

        Args: name: as "serverAuth" or "TLS Web Server Authentication". See OBJ_txt2obj(3).
        """
        return cls._make(_ssl.txt2obj(name, name=True))


class Purpose(_ASN1Object, Enum):
    """What a default context is for, as an extended key usage (RFC 5280 section 4.2.1.12).

    SERVER_AUTH: for a client, which checks the server's certificate.
    CLIENT_AUTH: for a server, which may check the clients' certificates.
    """

    SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
    CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"

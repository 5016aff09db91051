"""Enumerations of the public module, and the constants that are their members.

The members come from the back, which has only what the OpenSSL in use knows; so the classes are
made at import, and the static picture of them for type checkers is `_enums.pyi`.
"""

from __future__ import annotations

from collections import namedtuple
from enum import Enum, IntEnum, IntFlag
from types import MappingProxyType, SimpleNamespace

from . import _ssl
from ._host import host_asn1

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


def _collect(kind: Any, name: str, prefix: str, doc: str) -> Any:
    """Make the enumeration `name` of all back constants that begin with `prefix`.

    The members also become constants of this module, by which name they are pickled.
    """
    constants = {
        constant: value
        for constant, value in vars(_ssl).items()
        if constant.startswith(prefix) and constant != "PROTOCOL_SSLv23"
    }
    cls = kind._convert_(
        name, __name__, constants.__contains__, source=SimpleNamespace(**constants)
    )
    cls.__doc__ = doc
    __all__.extend(cls.__members__)
    return cls


_SSLMethod = _collect(
    IntEnum, "_SSLMethod", "PROTOCOL_", "Protocol choice of a context: see SSL_CTX_new(3)."
)
Options = _collect(
    IntFlag, "Options", "OP_", "Bits of `SSLContext.options`: see SSL_CTX_set_options(3)."
)
AlertDescription = _collect(
    IntEnum,
    "AlertDescription",
    "ALERT_DESCRIPTION_",
    "Alerts that an SNI callback may return (RFC 8446 section 6).",
)
SSLErrorNumber = _collect(
    IntEnum, "SSLErrorNumber", "SSL_ERROR_", "First argument of SSLError: see SSL_get_error(3)."
)
VerifyFlags = _collect(
    IntFlag,
    "VerifyFlags",
    "VERIFY_",
    "Bits of `SSLContext.verify_flags`: see X509_VERIFY_PARAM_set_flags(3).",
)
VerifyMode = _collect(
    IntEnum,
    "VerifyMode",
    "CERT_",
    "Values of `SSLContext.verify_mode`: what is demanded of the peer's certificate.",
)


def member_or_int(cls: Any, value: int) -> int:
    """Return the member of enum `cls` with this value, or the number itself if it has none."""
    try:
        member: int = cls(value)
    except ValueError:
        return value
    return member


PROTOCOL_SSLv23 = _SSLMethod.PROTOCOL_SSLv23 = _SSLMethod.PROTOCOL_TLS
_SSLv2_IF_EXISTS = getattr(_SSLMethod, "PROTOCOL_SSLv2", None)
_PROTOCOL_NAMES = MappingProxyType(
    {method: name for name, method in _SSLMethod.__members__.items()}
)

HAS_NEVER_CHECK_COMMON_NAME = hasattr(_ssl, "HOSTFLAG_NEVER_CHECK_SUBJECT")
CHANNEL_BINDING_TYPES = ["tls-unique"]

_RESTRICTED_SERVER_CIPHERS = _ssl._DEFAULT_CIPHERS


class TLSVersion(IntEnum):
    """Protocol versions for `SSLContext.minimum_version` and `maximum_version`.

    MINIMUM_SUPPORTED and MAXIMUM_SUPPORTED stand for the ends of what the OpenSSL in use offers.
    """

    MINIMUM_SUPPORTED = _ssl.PROTO_MINIMUM_SUPPORTED
    SSLv3 = _ssl.PROTO_SSLv3
    TLSv1 = _ssl.PROTO_TLSv1
    TLSv1_1 = _ssl.PROTO_TLSv1_1
    TLSv1_2 = _ssl.PROTO_TLSv1_2
    TLSv1_3 = _ssl.PROTO_TLSv1_3
    MAXIMUM_SUPPORTED = _ssl.PROTO_MAXIMUM_SUPPORTED


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

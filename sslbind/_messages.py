"""TLS messages, as `SSLContext._msg_callback` shows them. Imported when a program asks for them."""

from __future__ import annotations

from enum import IntEnum

from ._enums import TLSVersion, member_or_int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


class _TLSContentType(IntEnum):
    """Record types (RFC 8446 appendix B.1) and OpenSSL's two pseudo types above 255."""

    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23
    HEADER = 0x100
    INNER_CONTENT_TYPE = 0x101


class _TLSAlertType(IntEnum):
    """Alert descriptions (RFC 8446 appendix B.2)."""

    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    DECRYPTION_FAILED = 21
    RECORD_OVERFLOW = 22
    DECOMPRESSION_FAILURE = 30
    HANDSHAKE_FAILURE = 40
    NO_CERTIFICATE = 41
    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    CERTIFICATE_REVOKED = 44
    CERTIFICATE_EXPIRED = 45
    CERTIFICATE_UNKNOWN = 46
    ILLEGAL_PARAMETER = 47
    UNKNOWN_CA = 48
    ACCESS_DENIED = 49
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    EXPORT_RESTRICTION = 60
    PROTOCOL_VERSION = 70
    INSUFFICIENT_SECURITY = 71
    INTERNAL_ERROR = 80
    INAPPROPRIATE_FALLBACK = 86
    USER_CANCELED = 90
    NO_RENEGOTIATION = 100
    MISSING_EXTENSION = 109
    UNSUPPORTED_EXTENSION = 110
    CERTIFICATE_UNOBTAINABLE = 111
    UNRECOGNIZED_NAME = 112
    BAD_CERTIFICATE_STATUS_RESPONSE = 113
    BAD_CERTIFICATE_HASH_VALUE = 114
    UNKNOWN_PSK_IDENTITY = 115
    CERTIFICATE_REQUIRED = 116
    NO_APPLICATION_PROTOCOL = 120


class _TLSMessageType(IntEnum):
    """Handshake message types (RFC 8446 appendix B.3), with OpenSSL's own for CCS."""

    HELLO_REQUEST = 0
    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    HELLO_VERIFY_REQUEST = 3
    NEWSESSION_TICKET = 4
    END_OF_EARLY_DATA = 5
    HELLO_RETRY_REQUEST = 6
    ENCRYPTED_EXTENSIONS = 8
    CERTIFICATE = 11
    SERVER_KEY_EXCHANGE = 12
    CERTIFICATE_REQUEST = 13
    SERVER_DONE = 14
    CERTIFICATE_VERIFY = 15
    CLIENT_KEY_EXCHANGE = 16
    FINISHED = 20
    CERTIFICATE_URL = 21
    CERTIFICATE_STATUS = 22
    SUPPLEMENTAL_DATA = 23
    KEY_UPDATE = 24
    NEXT_PROTO = 67
    MESSAGE_HASH = 254
    CHANGE_CIPHER_SPEC = 0x0101


# How the number that goes with a message of this content type is to be read.
_KINDS: dict[int, type[IntEnum]] = {
    _TLSContentType.HEADER: _TLSContentType,
    _TLSContentType.ALERT: _TLSAlertType,
}


def hook_for(user_function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what the back is to call: it gives `user_function` members of the enums above."""

    def hook(
        conn: Any, direction: str, version: int, content_type: int, msg_type: int, data: bytes
    ) -> Any:
        return user_function(
            conn,
            direction,
            member_or_int(TLSVersion, version),
            member_or_int(_TLSContentType, content_type),
            member_or_int(_KINDS.get(content_type, _TLSMessageType), msg_type),
            data,
        )

    hook.user_function = user_function  # type: ignore[attr-defined]
    return hook

"""The plaintext exchanges after which a server of another protocol speaks TLS.

Each function leads one protocol up to the point where the TLS handshake begins, or raises
`Refused`. Nothing is read beyond the server's consent: a byte sent ahead of the handshake
stays in the socket and fails the handshake (the STARTTLS injection of CVE-2011-0411).
"""

from __future__ import annotations

import html
import socket
import struct
from typing import Callable, NamedTuple

_LINE_LIMIT = 8192  # bytes; no protocol here needs as much
_LINES_LIMIT = 256
_STREAM_LIMIT = 65536  # bytes of XMPP stream features
_CLIENT_NAME = "sslbind.invalid"  # RFC 2606 2: a name that cannot be mistaken for a host


class Refused(Exception):
    """The server does not offer TLS here, or does not speak the protocol; `str()` says how."""


class Wire:
    """Lines and exact counts of bytes from a plain socket, never one byte more."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self._sock.sendall(data)

    def read(self, count: int) -> bytes:
        """Return exactly `count` bytes."""
        data = b""
        while len(data) < count:
            piece = self._sock.recv(count - len(data))
            if not piece:
                raise Refused("the server closed the connection before TLS began")
            data += piece
        return data

    def read_until(self, end: bytes, limit: int) -> bytes:
        """Return the bytes up to and with `end`, of at most `limit`."""
        data = bytearray()
        while not data.endswith(end):
            if len(data) >= limit:
                raise Refused("the server's answer is not of this protocol: " + _quote(bytes(data)))
            data += self.read(1)
        return bytes(data)

    def line(self) -> str:
        """Return one line without its end."""
        return self.read_until(b"\n", _LINE_LIMIT).decode("latin-1").rstrip("\r\n")

    def lines_until(self, last: Callable[[str], bool]) -> list[str]:
        """Return lines up to and with the first for which `last` holds."""
        lines: list[str] = []
        while len(lines) < _LINES_LIMIT:
            lines.append(self.line())
            if last(lines[-1]):
                return lines
        raise Refused("the server's answer has no end")

    def command(self, text: str) -> None:
        """Send one line."""
        self.send(text.encode("ascii") + b"\r\n")

    def reply(self, *codes: str) -> list[str]:
        """Return the lines of a numbered reply (RFC 5321 4.2.1) that has one of `codes`."""
        lines = self.lines_until(lambda line: line[3:4] != "-")
        _demand(lines[-1][:3] in codes, lines[-1])
        return lines


def _demand(condition: bool, answer: str) -> None:
    if not condition:
        raise Refused(f"the server answered {_quote(answer.encode('latin-1', 'replace'))}")


def _quote(data: bytes) -> str:
    text = data[:80].decode("latin-1")
    return f'"{text}"'


def _mail(wire: Wire, hello: str) -> None:
    wire.reply("220")
    wire.command(f"{hello} {_CLIENT_NAME}")
    offers = [line[4:].strip().upper() for line in wire.reply("250")]
    if "STARTTLS" not in offers:
        raise Refused("the server does not offer STARTTLS")
    wire.command("STARTTLS")
    wire.reply("220")


def smtp(wire: Wire, host: str) -> None:
    """RFC 3207."""
    _mail(wire, "EHLO")


def lmtp(wire: Wire, host: str) -> None:
    """RFC 2033 4.1: as SMTP, with another greeting."""
    _mail(wire, "LHLO")


def imap(wire: Wire, host: str) -> None:
    """RFC 9051 6.2.1."""
    greeting = wire.line()
    _demand(greeting.upper().startswith("* OK"), greeting)
    wire.command("a1 STARTTLS")
    answer = wire.lines_until(lambda line: line.lower().startswith("a1 "))[-1]
    _demand(answer[3:].upper().startswith("OK"), answer)


def pop3(wire: Wire, host: str) -> None:
    """RFC 2595 4."""
    greeting = wire.line()
    _demand(greeting.startswith("+OK"), greeting)
    wire.command("STLS")
    answer = wire.line()
    _demand(answer.startswith("+OK"), answer)


def sieve(wire: Wire, host: str) -> None:
    """RFC 5804 2.2: the server lists its capabilities, then says OK, before and after."""

    def done(line: str) -> bool:
        return line.upper().startswith(("OK", "NO", "BYE"))

    offers = wire.lines_until(done)
    _demand(offers[-1].upper().startswith("OK"), offers[-1])
    if not any(line.upper().startswith('"STARTTLS"') for line in offers):
        raise Refused("the server does not offer STARTTLS")
    wire.command("STARTTLS")
    answer = wire.lines_until(done)[-1]
    _demand(answer.upper().startswith("OK"), answer)


def ftp(wire: Wire, host: str) -> None:
    """RFC 4217 4."""
    wire.reply("220")
    wire.command("AUTH TLS")
    wire.reply("234")


def nntp(wire: Wire, host: str) -> None:
    """RFC 4642 2.2."""
    greeting = wire.line()
    _demand(greeting[:3] in ("200", "201"), greeting)
    wire.command("STARTTLS")
    answer = wire.line()
    _demand(answer[:3] == "382", answer)


# LDAPMessage { messageID 1, [APPLICATION 23] { requestName [0] StartTLS } } in BER.
_LDAP_START_TLS = b"1.3.6.1.4.1.1466.20037"
_LDAP_REQUEST = (
    b"\x30\x1d\x02\x01\x01\x77\x18\x80" + bytes([len(_LDAP_START_TLS)]) + _LDAP_START_TLS
)
_LDAP_LIMIT = 65536  # bytes of a response
_BER_SEQUENCE, _BER_ENUMERATED, _LDAP_EXTENDED_RESPONSE = 0x30, 0x0A, 0x78


def ldap(wire: Wire, host: str) -> None:
    """RFC 4511 4.14: an extended operation, success is resultCode 0."""
    wire.send(_LDAP_REQUEST)
    header = wire.read(2)
    _demand(header[0] == _BER_SEQUENCE, header.decode("latin-1"))
    length = header[1]
    if length & 0x80:  # long form: the low bits count the bytes of the length (X.690 8.1.3.5)
        length = int.from_bytes(wire.read(length & 0x7F), "big")
    _demand(length <= _LDAP_LIMIT, "a message of unlikely length")
    message = wire.read(length)
    # messageID is INTEGER 1; then the response's tag and length, then the resultCode.
    id_end = 2 + message[1] if len(message) > 1 else 0
    _demand(message[id_end : id_end + 1] == bytes([_LDAP_EXTENDED_RESPONSE]), "no LDAP response")
    long_form = message[id_end + 1] & 0x80 if len(message) > id_end + 1 else 0
    at = id_end + 2 + (message[id_end + 1] & 0x7F if long_form else 0)
    result = message[at : at + 3]
    _demand(result[:2] == bytes([_BER_ENUMERATED, 1]) and len(result) == 3, "no LDAP result")
    if result[2] != 0:
        raise Refused(f"the server refused StartTLS with LDAP result {result[2]}")


def postgres(wire: Wire, host: str) -> None:
    """PostgreSQL's SSLRequest (protocol documentation, "SSL Session Encryption")."""
    wire.send(struct.pack("!II", 8, 80877103))
    answer = wire.read(1)
    if answer == b"N":
        raise Refused("the server does not offer TLS")
    _demand(answer == b"S", answer.decode("latin-1"))


_MYSQL_PROTOCOL_41, _MYSQL_SSL, _MYSQL_SECURE_CONNECTION = 0x200, 0x800, 0x8000
_MYSQL_UTF8, _MYSQL_MAX_PACKET = 33, 1 << 24


def mysql(wire: Wire, host: str) -> None:
    """MySQL's SSLRequest packet, in answer to protocol 10's handshake packet."""
    header = wire.read(4)
    payload = wire.read(int.from_bytes(header[:3], "little"))
    if payload[:1] == b"\xff":
        raise Refused(f"the server answered {_quote(payload[3:])}")
    _demand(payload[:1] == b"\x0a", payload.decode("latin-1"))
    # After the version's NUL: thread id (4), salt (8), a zero byte, then the low flags (2).
    flags_at = payload.find(b"\0") + 14
    flags = int.from_bytes(payload[flags_at : flags_at + 2], "little")
    if not flags & _MYSQL_SSL:
        raise Refused("the server does not offer TLS")
    wanted = _MYSQL_PROTOCOL_41 | _MYSQL_SSL | _MYSQL_SECURE_CONNECTION
    body = struct.pack("<IIB23x", wanted, _MYSQL_MAX_PACKET, _MYSQL_UTF8)
    wire.send(len(body).to_bytes(3, "little") + bytes([header[3] + 1 & 0xFF]) + body)


def _xmpp(wire: Wire, host: str, namespace: str) -> None:
    wire.send(
        f"<?xml version='1.0'?><stream:stream xmlns='{namespace}' version='1.0' "
        f"xmlns:stream='http://etherx.jabber.org/streams' to='{html.escape(host)}'>".encode()
    )
    features = b""
    while not features.endswith((b"</stream:features>", b"<stream:features/>", b"/stream:stream>")):
        features += wire.read_until(b">", _STREAM_LIMIT - len(features))
    if b"urn:ietf:params:xml:ns:xmpp-tls" not in features:
        raise Refused("the server does not offer STARTTLS")
    wire.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    answer = wire.read_until(b">", _STREAM_LIMIT)
    _demand(answer.lstrip().startswith(b"<proceed"), answer.decode("latin-1"))


def xmpp(wire: Wire, host: str) -> None:
    """RFC 6120 5, client to server."""
    _xmpp(wire, host, "jabber:client")


def xmpp_server(wire: Wire, host: str) -> None:
    """RFC 6120 5, server to server."""
    _xmpp(wire, host, "jabber:server")


class Protocol(NamedTuple):
    """How a protocol comes to TLS, and the port it does that on by default."""

    upgrade: Callable[[Wire, str], None]
    port: int


PROTOCOLS: dict[str, Protocol] = {
    "ftp": Protocol(ftp, 21),
    "imap": Protocol(imap, 143),
    "ldap": Protocol(ldap, 389),
    "lmtp": Protocol(lmtp, 24),
    "mysql": Protocol(mysql, 3306),
    "nntp": Protocol(nntp, 119),
    "pop3": Protocol(pop3, 110),
    "postgres": Protocol(postgres, 5432),
    "sieve": Protocol(sieve, 4190),
    "smtp": Protocol(smtp, 25),
    "xmpp": Protocol(xmpp, 5222),
    "xmpp-server": Protocol(xmpp_server, 5269),
}

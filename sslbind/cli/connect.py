"""`python -m sslbind connect HOST[:PORT]`: one handshake, and all that can be learnt from it."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import math
import select
import socket
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import sslbind
from sslbind.cli import report, starttls
from sslbind.cli.report import Failure, field, heading

_HTTPS = 443
_USAGE = 2  # exit status
_TICKET_WAIT = 0.5  # seconds in which a server on a usual line has sent its tickets
_VERSIONS = {
    "1.0": sslbind.TLSVersion.TLSv1,
    "1.1": sslbind.TLSVersion.TLSv1_1,
    "1.2": sslbind.TLSVersion.TLSv1_2,
    "1.3": sslbind.TLSVersion.TLSv1_3,
}
# What OpenSSL says, depending on its version and on the bytes, when they are not TLS.
_NOT_TLS = {
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "UNKNOWN_PROTOCOL",
    "WRONG_VERSION_NUMBER",
}


class Target(NamedTuple):
    """Where to connect: a name or an address without brackets, and the port if one was given."""

    host: str
    port: int | None


def add_parser(commands: Any) -> None:
    """Add the command's arguments to the main parser's `commands`."""
    parser = commands.add_parser("connect", help="print a report of the handshake with a server")
    add = parser.add_argument
    add("target", type=_target, metavar="HOST[:PORT]", help="an IPv6 address as [::1]:443")
    add("--cafile", metavar="FILE", help="trust only these CAs (PEM)")
    add("--servername", metavar="NAME", help="ask for this name, and verify it, instead of HOST")
    add("--insecure", action="store_true", help="do not verify the certificate")
    add("--alpn", type=_alpn, metavar="A,B", help="application protocols to offer: h2,http/1.1")
    add(
        "--starttls",
        choices=sorted(starttls.PROTOCOLS),
        metavar="PROTOCOL",
        help="ask for TLS in plaintext first: " + ", ".join(sorted(starttls.PROTOCOLS)),
    )
    add("--cert", metavar="FILE", help="client certificate chain (PEM)")
    add("--key", metavar="FILE", help="its private key, where --cert does not hold it")
    add("--min-version", choices=list(_VERSIONS), help="lowest TLS version to accept")
    add("--max-version", choices=list(_VERSIONS), help="highest TLS version to accept")
    add(
        "--timeout",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="longest wait for any answer of the server (default: %(default)g)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report and return 0, or raise Failure where the peer was not verified."""
    context = _context(args)
    print(f"{report.printable(args.target.host)} port {_port(args)}")
    try:
        with _connection(args, context) as (conn, address):
            refusal = _settle(conn)
            _show(args, conn, address, "not checked (--insecure)" if args.insecure else "verified")
    except sslbind.SSLCertVerificationError as error:
        verdict = f"{error.verify_message.rstrip('.')} (code {error.verify_code})"
        _show_unverified(args, context, f"FAILED: {verdict}")
        raise Failure(f"certificate verification failed: {verdict}") from None
    if refusal is not None:
        raise Failure(f"the server refused after the handshake: {report.reason(refusal)}")
    return 0


def _target(text: str) -> Target:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or rest[:1] not in ("", ":"):
            raise argparse.ArgumentTypeError(f"not HOST[:PORT]: {text!r}")
        separator, port = rest[:1], rest[1:]
    elif text.count(":") > 1:  # an IPv6 address without brackets leaves no room for a port
        host, separator, port = text, "", ""
    else:
        host, separator, port = text.partition(":")
    if not host:
        raise argparse.ArgumentTypeError(f"no host in {text!r}")
    return Target(host, _port_number(port) if separator else None)


def _port_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535):
        raise argparse.ArgumentTypeError(f"not a port from 1 to 65535: {text!r}")
    return int(text)


def _alpn(text: str) -> list[str]:
    protocols = text.split(",")
    if not all(p.isascii() and 1 <= len(p) <= 255 for p in protocols):  # RFC 7301 3.1
        raise argparse.ArgumentTypeError("names of 1 to 255 ASCII characters, between commas")
    return protocols


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86400 or math.isnan(value):
        raise argparse.ArgumentTypeError("seconds above 0, at most a day")
    return value


def _port(args: argparse.Namespace) -> int:
    default = starttls.PROTOCOLS[args.starttls].port if args.starttls else _HTTPS
    return args.target.port or default


def _context(args: argparse.Namespace) -> Any:
    """Return the client context the arguments ask for; Failure names the file at fault."""
    if args.key and not args.cert:
        raise Failure("--key needs --cert", _USAGE)
    with _file_errors("CA file", args.cafile):
        context = sslbind.create_default_context(cafile=args.cafile)
    if args.insecure:
        _disable_verification(context)
    if args.alpn:
        context.set_alpn_protocols(args.alpn)
    if args.cert:
        with _file_errors("client certificate", args.cert, args.key):
            context.load_cert_chain(args.cert, args.key, password=_ask_password)
    _limit_versions(context, args.min_version, args.max_version)
    return context


def _disable_verification(context: Any) -> None:
    context.check_hostname = False
    context.verify_mode = sslbind.CERT_NONE


def _limit_versions(context: Any, lowest: str | None, highest: str | None) -> None:
    if lowest and highest and lowest > highest:
        raise Failure("--min-version is above --max-version", _USAGE)
    if (highest or "1.3") < "1.2":
        # OpenSSL 3 allows SHA-1, which these versions sign with, at level 0 only
        # (SSL_CTX_set_security_level(3)); their default floor in Python is TLS 1.2.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        lowest = lowest or highest
    if lowest:
        context.minimum_version = _VERSIONS[lowest]
    if highest:
        context.maximum_version = _VERSIONS[highest]


def _ask_password() -> str:
    try:
        return getpass.getpass("Pass phrase of the private key: ")
    except EOFError:
        raise Failure("the private key needs a pass phrase", _USAGE) from None


@contextlib.contextmanager
def _file_errors(what: str, *paths: str | None) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        names = " and ".join(path for path in paths if path)
        raise Failure(f"cannot use the {what} {names}: {report.reason(error)}", _USAGE) from None


@contextlib.contextmanager
def _connection(args: argparse.Namespace, context: Any) -> Iterator[tuple[Any, str]]:
    """Connect, ask for TLS where --starttls says so, shake hands.

    Yields the TLS socket and the peer's address, which is asked for while the peer is there.

    A certificate that fails verification leaves as SSLCertVerificationError, all else as Failure.
    """
    with _open(args) as plain:
        try:
            address = "{} port {}".format(*plain.getpeername()[:2])
            if args.starttls:
                protocol = starttls.PROTOCOLS[args.starttls]
                protocol.upgrade(starttls.Wire(plain), args.servername or args.target.host)
            conn = context.wrap_socket(plain, server_hostname=args.servername or args.target.host)
        except sslbind.SSLCertVerificationError:
            raise
        except starttls.Refused as refused:
            raise Failure(f"--starttls {args.starttls}: {refused}") from None
        except (OSError, ValueError) as error:
            raise Failure(_explain(error)) from None
        with conn:
            yield conn, address


def _open(args: argparse.Namespace) -> socket.socket:
    host, port = args.target.host, _port(args)
    try:
        return socket.create_connection((host, port), timeout=args.timeout)
    except UnicodeError:
        raise Failure(f"not a valid host name: {host}", _USAGE) from None
    except socket.gaierror as error:
        raise Failure(f"cannot resolve {host}: {report.reason(error)}") from None
    except OSError as error:
        raise Failure(f"cannot connect to {host} port {port}: {report.reason(error)}") from None


def _explain(error: Exception) -> str:
    text = f"TLS handshake failed: {report.reason(error)}"
    if getattr(error, "reason", None) in _NOT_TLS:
        text += "; the server does not speak TLS on this port (perhaps it needs --starttls)"
    return text


def _settle(conn: Any) -> Exception | None:
    """Take in what a TLS 1.3 server sends once we are done: tickets, or a refusal.

    Only there can a server refuse a client certificate, or its absence, after the client's
    handshake has ended (RFC 8446 4.4.2.4). Returns that error, or None.
    """
    if conn.version() != "TLSv1.3":
        return None
    conn.setblocking(False)
    deadline = time.monotonic() + _TICKET_WAIT
    try:
        while not _has_ticket(conn) and _readable(conn, deadline - time.monotonic()):
            with contextlib.suppress(sslbind.SSLWantReadError):
                conn.recv(1)
                break  # application data or the end: no ticket will come before we speak
    except OSError as error:
        return error
    return None


def _readable(conn: Any, seconds: float) -> bool:
    return bool(seconds > 0 and select.select([conn], [], [], seconds)[0])


def _has_ticket(conn: Any) -> bool:
    session = conn.session
    return session is not None and session.has_ticket


def _show_unverified(args: argparse.Namespace, context: Any, verdict: str) -> None:
    """Connect again without verification and print what the server presents."""
    _disable_verification(context)
    try:
        with _connection(args, context) as (conn, address):
            _settle(conn)
            _show(args, conn, address, verdict)
    except Failure as failure:
        field("chain", f"(not available: {failure})")


def _show(args: argparse.Namespace, conn: Any, address: str, verdict: str) -> None:
    heading("Handshake")
    field("address", address)
    report.connection(conn)
    field(
        "ALPN", conn.selected_alpn_protocol() or ("(none agreed)" if args.alpn else "(not asked)")
    )
    field("session ticket", _ticket(conn))

    heading("Verification")
    field("name", args.servername or args.target.host)
    field("trust", args.cafile or "the system's CAs")
    field("result", verdict)

    verified = verdict == "verified"
    heading(f"Chain, {'as verified' if verified else 'as the server sent it'}, leaf first")
    # The back's objects know their fields; the public methods return DER only.
    back = conn._sslobj
    chain = back.get_verified_chain() if verified else back.get_unverified_chain()
    for place, certificate in enumerate(chain or ()):
        print(f"  certificate {place}")
        report.certificate(certificate.get_info(), indent=4)


def _ticket(conn: Any) -> str:
    if not _has_ticket(conn):
        return "none"
    return f"yes, for {conn.session.ticket_lifetime_hint} s"

"""How the commands print: headings, aligned fields, certificates, and errors of one line."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

import sslbind

_FIELD_WIDTH = 15  # columns, so that values start below one another
_DAY = 86400  # seconds

# CPython ends its messages with the line of its C file, which says nothing to a user.
_C_LOCATION = re.compile(r"\s*\(_ssl\.c:\d+\)$")


class Failure(Exception):
    """Ends a command: `str()` is one line for stderr, `status` the exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(one_line(message))
        self.status = status


def heading(text: str) -> None:
    """Print a title that stands apart from the fields below it."""
    print(f"\n{printable(text)}")


def field(name: str, value: object, indent: int = 2) -> None:
    """Print one `name  value` line, values aligned."""
    print(f"{' ' * indent}{name:<{_FIELD_WIDTH}} {printable(str(value))}")


def printable(text: str) -> str:
    """Return `text` with control characters escaped: a peer chooses what a certificate says."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """Return `text` as one printable line."""
    return printable(" ".join(text.split()))


def reason(error: BaseException) -> str:
    """Return what an exception says, without its errno and without a C source location."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return _C_LOCATION.sub("", one_line(str(text)))


def connection(sock: Any) -> None:
    """Print version, cipher, group and application protocol of a finished handshake."""
    name, _, bits = sock.cipher()
    field("version", sock.version())
    field("cipher", f"{name}, {bits} bits")
    field("group", group(sock))


def group(sock: Any) -> str:
    """Return the name of the key exchange group, or the reason why it is not known."""
    try:
        return sock.group() or "none (no key exchange by group)"
    except NotImplementedError:
        return "(needs OpenSSL 3.2)"


def certificate(info: Mapping[str, Any], indent: int = 2) -> None:
    """Print subject, issuer, validity and names of a certificate in `getpeercert()`'s form."""
    field("subject", name(info.get("subject", ())), indent)
    field("issuer", name(info.get("issuer", ())), indent)
    field("valid from", info.get("notBefore", "?"), indent)
    field("valid to", _expiry(info.get("notAfter", "?")), indent)
    field("names", alternative_names(info.get("subjectAltName", ())), indent)


def _expiry(not_after: str) -> str:
    try:
        left = sslbind.cert_time_to_seconds(not_after) - time.time()
    except ValueError:
        return not_after
    days = int(abs(left) // _DAY)
    return f"{not_after}  ({f'{days} days left' if left >= 0 else f'expired {days} days ago'})"


def name(rdns: Iterable[Iterable[Iterable[str]]]) -> str:
    """Return a distinguished name as `key=value, key=value`."""
    pairs = (f"{key}={value}" for rdn in rdns for key, value in rdn)
    return ", ".join(pairs) or "(empty)"


def alternative_names(names: Iterable[Iterable[Any]]) -> str:
    """Return a subjectAltName as `kind:value, kind:value`."""
    return ", ".join(f"{kind}:{_plain(value)}" for kind, value in names) or "(none)"


def _plain(value: Any) -> str:
    # A directory name is a distinguished name within the list.
    return value if isinstance(value, str) else name(value)

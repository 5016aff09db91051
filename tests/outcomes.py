"""What a call did, in a form that two modules can be compared by."""

from __future__ import annotations

import platform
import re
import ssl
import sys
import warnings
from typing import NamedTuple

import pytest

import sslbind

PYPY = platform.python_implementation() == "PyPy"

# CPython's own ssl is the oracle from 3.10 on. 3.9 differs from all that came later in many small
# ways, and PyPy's module has faults of its own: there the tests judge sslbind alone.
ORACLE = not PYPY and sys.version_info >= (3, 10)

# OpenSSL's words for a certificate that is not valid yet.
NOT_YET_VALID = "certificate is not yet valid"
if sslbind.OPENSSL_VERSION_INFO >= (3, 6):
    NOT_YET_VALID += " or the system clock is incorrect"

# CPython ends its messages with the line of its C source; PyPy has no such line to show.
_PLACE = re.compile(r" \(_ssl\.c:\d+\)")
_PREFIX = re.compile(r"^_ssl\.c:\d+: ")
# A socket's text names its module, descriptor and ports: no two are alike.
_SOCKET = re.compile(r"<[\w.]*SSLSocket [^>]*>|<class '[\w.]*SSLSocket'>")
# How an argument's type is refused is worded by each interpreter's argument parser, differently
# from version to version: of such an error only the class is part of the contract.
_PARSER = (TypeError, OverflowError, AttributeError)
_EMBEDDED_NUL = re.compile(r"embedded null (byte|character)")
_DETAILS = ("errno", "strerror", "library", "reason", "verify_code", "verify_message")


def allow_other_words(told, expected) -> None:
    """End the test, as one that may fail, if only an oracle with another OpenSSL differs.

    OpenSSL 4.0 has new words for alerts, SSL_get_error(3) other answers once a connection has
    failed, and neither SSLv3 nor its predecessor's hello.
    """
    major = sslbind.OPENSSL_VERSION_INFO[0]
    if told != expected and ssl.OPENSSL_VERSION_INFO[0] != major:
        pytest.xfail(f"this is OpenSSL {major}, the oracle's is not")


class Outcome(NamedTuple):
    """Either a value (`error` is empty) or an exception's class names, details and text."""

    value: object = None
    error: str = ""
    bases: tuple[str, ...] = ()
    args: object = ()
    details: tuple[tuple[str, object], ...] = ()
    text: str = ""


def plain(thing):
    """Return `thing` without source lines and socket addresses, inside tuples too."""
    if isinstance(thing, str):
        thing = _PLACE.sub("" if PYPY else " (_ssl.c:N)", thing)
        thing = _PREFIX.sub("" if PYPY else "_ssl.c:N: ", thing)
        return _SOCKET.sub("<SSLSocket>", _EMBEDDED_NUL.sub("embedded NUL", thing))
    if isinstance(thing, tuple):
        return tuple(plain(part) for part in thing)
    return thing


def failure(exc: BaseException) -> Outcome:
    """Return what a caller may rely on in an exception."""
    if isinstance(exc, _PARSER):
        return Outcome(error=type(exc).__name__)
    if isinstance(exc, UnicodeError):
        return Outcome(error="UnicodeError")  # the codecs' classes and words vary even more
    details = tuple((name, plain(getattr(exc, name, "absent"))) for name in _DETAILS)
    bases = tuple(base.__name__ for base in type(exc).__mro__)
    return Outcome(None, type(exc).__name__, bases, plain(exc.args), details, plain(str(exc)))


def outcome(call, *args, **kwargs) -> Outcome:
    """Return what `call` gave or raised. Warnings are another test's business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Outcome(call(*args, **kwargs))
        except Exception as exc:
            return failure(exc)


def brief(told) -> object:
    """Return an outcome, or a list of them, as plain data that any interpreter can compare."""
    if isinstance(told, Outcome):
        if not told.error:
            return {"value": repr(told.value)}
        error = "TimeoutError" if told.error == "timeout" else told.error  # its name in 3.9
        details = dict(told.details)
        shown = [details.get(name) for name in _DETAILS[2:]]
        return {"error": error, "args": repr(bare(told.args)), "details": shown}
    if isinstance(told, (list, tuple)):
        return [brief(one) for one in told]
    return repr(told)


def bare(thing):
    """Return `thing` without any mark of a source line."""
    if isinstance(thing, str):
        return thing.replace(" (_ssl.c:N)", "").replace("_ssl.c:N: ", "")
    return tuple(map(bare, thing)) if isinstance(thing, tuple) else thing

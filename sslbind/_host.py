"""The interpreter's own `ssl`, as far as sslbind has to know it: a few classes and nothing else.

Libraries test ``isinstance(sock, ssl.SSLSocket)`` and ``isinstance(ctx, ssl.SSLContext)`` against
the stdlib's classes, often captured when they were imported. So our socket derives from the
stdlib's socket class and our context answers for the stdlib's context class. No behaviour is
inherited: `_socket.SSLSocket` defines every method that touches TLS itself.

Where there is no such class (an interpreter built without OpenSSL, or sslbind having taken the
place of `ssl` before it was ever imported) plain `socket.socket` is the base and contexts answer
for nothing but their own class.
"""

from __future__ import annotations

import socket
import sys
from types import ModuleType

__all__ = ["PlainSocket", "SocketBase", "host_asn1", "host_context", "host_paths", "own_class"]


def _stdlib() -> ModuleType | None:
    """Return the interpreter's own ssl module, or None if there is none to be had."""
    try:
        import ssl as module
    except ImportError:
        return None
    # Posing as ssl, or ssl only half imported: it is its classes that are needed, not its name.
    if module is sys.modules.get(__package__) or not hasattr(module, "create_default_context"):
        return None
    return module


def own_class(name: str) -> type[Any] | None:
    """Return the stdlib's class `name`, or None; eventlet and others replace it by a subclass."""
    for cls in getattr(getattr(_stdlib(), name, None), "__mro__", ()):
        if cls.__module__ == "ssl" and cls.__name__ == name:
            return cls  # type: ignore[no-any-return]
    return None


def _plain_class() -> type[socket.socket]:
    """Return the interpreter's socket class, also when eventlet has put its own in its place."""
    for cls in getattr(own_class("SSLSocket"), "__mro__", ()):
        if cls.__module__ == "socket":
            return cls  # type: ignore[no-any-return]
    return socket.socket


host_context: type[Any] | None = own_class("SSLContext")
host_asn1: type[Any] | None = own_class("_ASN1Object")
host_paths: type[Any] | None = own_class("DefaultVerifyPaths")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    PlainSocket = socket.socket
    SocketBase = socket.socket
else:
    PlainSocket = _plain_class()
    SocketBase = own_class("SSLSocket") or PlainSocket

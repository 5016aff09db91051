"""Sockets of green threads: their wait must not happen in C, which would stop all the others.

gevent and eventlet have TLS sockets of their own, which wait in their event loops and need of a
context only its back. A context that is handed one of their plain sockets gives back one of
those, as their own contexts do.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["wrap_green"]

# Library: its module, its class of TLS sockets, and the name of that one's argument `session`.
_CLASSES = {
    "gevent": ("gevent.ssl", "SSLSocket", "_session"),
    "eventlet": ("eventlet.green.ssl", "GreenSSLSocket", "session"),
}


def wrap_green(context: Any, sock: Any, session: Any, **options: Any) -> Any:
    """Return the TLS socket of the library that `sock` belongs to, or None if of neither.

    Args: options: the others of `SSLContext.wrap_socket`. Raises: as that.
    """
    found = _CLASSES.get(type(sock).__module__.partition(".")[0])
    if found is None:
        return None
    module, name, session_argument = found
    __import__(module)
    cls = getattr(sys.modules[module], name)
    return cls(sock=sock, _context=context, **{session_argument: session}, **options)

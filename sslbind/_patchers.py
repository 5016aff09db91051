"""Libraries that put classes of their own into `ssl`, and how they are moved to another `ssl`.

gevent and eventlet keep a cooperative copy of `ssl`, truststore a context class; each is built on
the classes that `ssl` had when it was imported, and patches that very module. On another `ssl`
they have to be imported once more, since their classes cannot change their bases.
"""

from __future__ import annotations

import socket
import sys
from collections import namedtuple
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType

from ._host import PlainSocket

__all__ = ["PATCHERS", "Patcher", "plain_sockets"]


@contextmanager
def plain_sockets() -> Iterator[None]:
    """Have the interpreter's class as `socket.socket`, for modules that derive theirs from it.

    What eventlet puts there is no socket, and has to be out of the way again for such an import.
    """
    patched = socket.socket
    vars(socket)["socket"] = PlainSocket
    try:
        yield
    finally:
        vars(socket)["socket"] = patched


class Patcher(namedtuple("Patcher", "module mark")):
    """A module that patches `ssl`, and the attribute of `ssl` that tells whether it has."""

    __slots__ = ()

    @property
    def package(self) -> str:
        """The name of the library."""
        return str(self.module.partition(".")[0])

    def loaded(self) -> ModuleType | None:
        """Return the module as it is now, or None if nobody has imported it."""
        return sys.modules.get(self.module)

    def family(self) -> dict[str, ModuleType]:
        """Return the module and its submodules, by name."""
        prefix = self.module + "."
        return {
            name: module
            for name, module in list(sys.modules.items())
            if name == self.module or name.startswith(prefix)
        }

    def is_in(self, target: ModuleType) -> bool:
        """Return whether `target`, a module in the place of `ssl`, is patched now."""
        mine = getattr(self.loaded(), self.mark, None)
        return mine is not None and getattr(target, self.mark, None) is mine

    def names(self) -> Iterable[str]:
        """Return the attributes of `ssl` that patching replaces."""
        module = self.loaded()
        for listing in ("__implements__", "__patched__"):  # gevent's, eventlet's
            names: Iterable[str] | None = getattr(module, listing, None)
            if names is not None:
                return [name for name in names if getattr(module, name, None) is not None]
        return [self.mark]

    def import_again(self, made: dict[str, ModuleType] | None = None) -> None:
        """Import the module and its submodules afresh, on what is `ssl` now.

        Args:   made: what an earlier import on the same `ssl` gave, to be used again.
        Raises: what the import raises; the old modules are back in `sys.modules` then.
        """
        old = self.family()
        for name in old:
            del sys.modules[name]
        try:
            sys.modules.update(made or {})
            with plain_sockets():
                __import__(self.module)
                module = sys.modules[self.module]
        except BaseException:
            sys.modules.update(old)
            raise
        parent, _, leaf = self.module.rpartition(".")
        if parent:
            setattr(sys.modules[parent], leaf, module)

    def patch(self, target: ModuleType) -> None:
        """Do to `target` what the library's own patching does to `ssl`."""
        module = self.loaded()
        for name in self.names():
            setattr(target, name, getattr(module, name))
        # It also looks after the copies that urllib3 and requests keep of the class.
        inject = getattr(module, "inject_into_ssl", None)
        if inject is not None:
            inject()


# truststore last: its class derives from the one that gevent or eventlet has put in place.
PATCHERS = (
    Patcher("gevent.ssl", "SSLSocket"),
    Patcher("eventlet.green.ssl", "SSLSocket"),
    Patcher("truststore", "SSLContext"),
)

"""Whole programs: `sslbind` in the place of `ssl`, or below it, and everything put back again.

An import only looks into ``sys.modules``, so what is imported later is easy. What was imported
earlier holds references of three kinds:

* the module itself (``import ssl``): found in the globals of every module, and exchanged there;
* modules of gevent, eventlet and truststore that are built on `ssl`: see `_patchers`;
* functions and classes (``from ssl import SSLContext``), classes derived from them, and contexts:
  these cannot be exchanged safely, and are named in one warning.

All that is exchanged is noted down, and undoing it leaves alone what somebody else has changed
since.
"""

from __future__ import annotations

import _thread
import os
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from . import _ssl
from ._patchers import PATCHERS, Patcher, plain_sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["InstallWarning", "Installation", "install", "install_by_environment", "uninstall"]

#: The environment variable that the wheel's .pth file looks for.
VARIABLE = "SSLBIND_INSTALL"

_PLACES = ("front", "back")
_ABSENT: Any = object()

# Whoever has taken one of these from `ssl` makes its contexts by the module it was taken from.
_MAKERS = (
    "SSLContext",
    "_create_default_https_context",
    "_create_stdlib_context",
    "_create_unverified_context",
    "create_default_context",
    "get_server_certificate",
    "wrap_socket",
)
# sslbind's own classes answer for the stdlib's; a second Lib/ssl.py knows only its own.
_CHECKED_BY_BACK = ("Purpose", "SSLObject", "SSLSocket")
# What programs replace in `ssl` to change everybody's TLS, and what Lib/ssl.py has there.
_SETTINGS = {
    "SSLContext": "SSLContext",
    "SSLSocket": "SSLSocket",
    "create_default_context": "create_default_context",
    "_create_default_https_context": "create_default_context",
}

_lock = _thread.RLock()
_installations: list[Installation] = []
# Patchers' modules upon what was installed at a place. Names taken then belong to these still.
_built: dict[tuple[str, Patcher], dict[str, ModuleType]] = {}


class InstallWarning(RuntimeWarning):
    """`install` could not replace something, or the switch in the environment is not understood."""


class Installation:
    """What `install` returns: a context manager, at whose end that installation is undone.

    Entering gives the module that `import ssl` now finds.
    """

    def __init__(self, switch: _Switch) -> None:
        self._switch = switch

    @property
    def place(self) -> str:
        """ "front" or "back"."""
        return self._switch.place

    def __enter__(self) -> ModuleType:
        return sys.modules["ssl"]

    def __exit__(self, *exc_info: object) -> None:
        with _lock:
            if self in _installations:
                _remove(self)

    def __repr__(self) -> str:
        state = "in effect" if self in _installations else "undone"
        return f"<sslbind installation, {self.place}, {state}>"


def install(place: str = "front") -> Installation:
    """Let this process use sslbind wherever it uses `ssl`.

    With "front", sslbind takes the place of `ssl`. With "back", it takes that of the C module
    `_ssl` alone, and the interpreter's own Lib/ssl.py is imported once more, on top of it.

    Modules that did ``import ssl`` before are given the new module, in whatever global holds the
    old one. gevent, eventlet and truststore may patch `ssl` before or after. What cannot be
    replaced goes on with the old module: names taken by ``from ssl import SSLContext``, classes
    derived from those, and contexts (asyncio refuses these from now on). If globals of any module
    hold such, one InstallWarning names them. Install first, then import the rest. (gevent's own
    MonkeyPatchWarning, if it patches after this, names modules of sslbind, to no harm.)

    Installations nest: each needs its own `uninstall`, or end of ``with sslbind.install():``,
    and the first one counts. Any thread may call this.

    Args:    place: "front" or "back".
    Returns: an Installation, a context manager.
    Raises:  ValueError: another place. RuntimeError: installed at the other place already.
             InstallWarning: only if warnings are made errors; nothing is installed then.
    """
    if place not in _PLACES:
        raise ValueError(f"place must be 'front' or 'back', not {place!r}")
    with _lock:
        switch = _installations[0]._switch if _installations else _switch_to(place)
        if switch.place != place:
            raise RuntimeError(f"sslbind is installed at the {switch.place}: uninstall() first")
        installation = Installation(switch)
        _installations.append(installation)
        return installation


def uninstall() -> None:
    """Undo the latest `install` that is in effect; with the first of them, `ssl` is back.

    Every module gets back what `install` exchanged in it, and modules that were imported in
    between get the stdlib's `ssl` for what they imported as such; only a global called `sslbind`
    is left alone. Names that they took from `ssl` stay sslbind's, which go on working. Patches
    that gevent, eventlet or truststore made in between are made in the stdlib's `ssl` too.

    Raises: RuntimeError: sslbind is not installed.
    """
    with _lock:
        if not _installations:
            raise RuntimeError("sslbind is not installed")
        _remove(_installations[-1])


def install_by_environment() -> None:
    """Install as SSLBIND_INSTALL says: the .pth file of the wheel calls this if it is set.

    "1" and "front", or "back"; "0" and "" do nothing. Any other value makes an InstallWarning,
    and `ssl` stays the stdlib's: a slip of the pen must not keep every Python from starting.
    """
    value = os.environ.get(VARIABLE, "")
    if value in ("", "0"):
        return
    place = "front" if value == "1" else value
    if place not in _PLACES:
        warnings.warn(
            f"{VARIABLE}={value!r} is none of 'front', 'back', '1' and '0': "
            "the standard library's ssl stays in use",
            InstallWarning,
            stacklevel=2,
        )
        return
    if not _installations:  # site may read a .pth file twice
        install(place)


def _switch_to(place: str) -> _Switch:
    """Make the switch, all of it or nothing."""
    switch = _Switch(place)
    try:
        switch.make()
        switch.warn()
    except BaseException:
        switch.undo()
        raise
    return switch


def _remove(installation: Installation) -> None:
    """Take an installation off the list; with the last one, put everything back."""
    _installations.remove(installation)
    if not _installations:
        installation._switch.undo()


class _Changes:
    """Entries of dictionaries that were exchanged, with what they were before."""

    def __init__(self) -> None:
        self._made: list[tuple[dict[str, Any], str, Any, Any]] = []

    def note(self, namespace: dict[str, Any], name: str, old: Any) -> None:
        """Remember that an entry, which has its new value by now, was `old`."""
        new = namespace.get(name, _ABSENT)
        if new is not old:
            self._made.append((namespace, name, old, new))

    def set(self, namespace: dict[str, Any], name: str, value: Any) -> None:
        """Exchange an entry."""
        old = namespace.get(name, _ABSENT)
        namespace[name] = value
        self.note(namespace, name, old)

    def undo(self) -> None:
        """Put back every entry that is still as it was set here."""
        while self._made:
            namespace, name, old, new = self._made.pop()
            if namespace.get(name, _ABSENT) is not new:
                continue
            if old is _ABSENT:
                namespace.pop(name, None)
            else:
                namespace[name] = old


class _Switch:
    """The change from one `ssl` to another, and back."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._changes = _Changes()
        self._old: dict[str, Any] = {name: sys.modules.get(name) for name in ("ssl", "_ssl")}
        self._new = {"ssl": _target(place), "_ssl": _ssl}
        self._target = self._new["ssl"]
        # Modules that have a new version, by the identity of the old one.
        self._exchanged = {
            id(old): self._new[name] for name, old in self._old.items() if old is not None
        }
        # Functions and classes of patchers likewise, which only their own package may hold.
        self._exchanged_within: dict[int, tuple[str, Any]] = {}
        # Globals that held our modules before, which are nobody's business.
        self._held_before: set[tuple[int, str]] = set()
        self._held: dict[str, list[str]] = {}

    def make(self) -> None:
        """Exchange the modules, then all references to them; find what cannot be exchanged."""
        for name, module in self._new.items():
            self._changes.set(sys.modules, name, module)
        carried = [patcher for patcher in PATCHERS if self._move(patcher)]
        self._exchange_references()
        self._overridden = _overridden(self._old["ssl"], carried)

    def undo(self) -> None:
        """Put back all that `make` exchanged, and move what patched `ssl` in between."""
        stdlib = self._old["ssl"]
        loaded = [patcher for patcher in PATCHERS if patcher.loaded() is not None]
        patching = [patcher for patcher in loaded if patcher.is_in(self._target)]
        for patcher in loaded:
            _built[self.place, patcher] = patcher.family()
        self._changes.undo()
        if stdlib in (None, self._target):
            return
        for patcher in loaded:
            if patcher.loaded() is _built[self.place, patcher][patcher.module]:
                patcher.import_again()  # it was first imported in between
            if patcher in patching:
                patcher.patch(stdlib)
        self._give_back(loaded)

    def _give_back(self, loaded: list[Patcher]) -> None:
        """Exchange what modules that were imported in between hold, too.

        Else asyncio, for one, would go on with our MemoryBIO and be given the stdlib's contexts.
        """
        back = {id(new): sys.modules.get(name, _ABSENT) for name, new in self._new.items()}
        for patcher in loaded:
            for name, module in _built[self.place, patcher].items():
                back[id(module)] = sys.modules.get(name, _ABSENT)
        for _, namespace in _namespaces():
            for attr, value in list(namespace.items()):
                old = back.get(id(value), _ABSENT)
                mine = attr == __package__ or (id(namespace), attr) in self._held_before
                if old is not _ABSENT and not mine:
                    namespace[attr] = old

    def warn(self) -> None:
        """Warn once of everything that goes on with the old `ssl`, if there is any."""
        complaints = []
        if self._held:
            held = (f"{name} ({', '.join(sorted(attrs))})" for name, attrs in self._held.items())
            complaints.append(
                "it came after these took names from ssl, or made contexts, which go on with the "
                f"standard library's TLS: {'; '.join(sorted(held))}"
            )
        if self._overridden:
            complaints.append(
                f"changes made to ssl itself are left behind: {', '.join(self._overridden)}"
            )
        if complaints:
            text = f"sslbind.install(): {'. And '.join(complaints)}. Install sslbind first."
            warnings.warn(text, InstallWarning, stacklevel=4)

    def _move(self, patcher: Patcher) -> bool:
        """Build a patcher's modules anew on the new `ssl`; return whether it patched the old."""
        if patcher.loaded() is None or self._old["ssl"] in (None, self._target):
            return False
        patched = patcher.is_in(self._old["ssl"])
        old = patcher.family()
        parent, _, leaf = patcher.module.rpartition(".")
        patcher.import_again(_built.get((self.place, patcher)))
        for name, module in old.items():
            self._changes.note(sys.modules, name, module)
            if name in sys.modules:
                self._exchanged[id(module)] = sys.modules[name]
        if parent:
            self._changes.note(vars(sys.modules[parent]), leaf, old[patcher.module])
        for name in patcher.names():
            value = vars(old[patcher.module]).get(name)
            if value is not None:
                new = getattr(patcher.loaded(), name)
                self._exchanged_within[id(value)] = (patcher.package, new)
        if patched:
            patcher.patch(self._target)
        return patched

    def _exchange_references(self) -> None:
        """Exchange modules in the globals of all others; note who holds what cannot be."""
        hers = _Belongings(self._old["ssl"], self.place)
        for name, namespace in _namespaces():
            for attr, value in list(namespace.items()):
                package, new = self._exchanged_within.get(id(value), ("", None))
                if id(value) in self._exchanged:
                    self._changes.set(namespace, attr, self._exchanged[id(value)])
                elif package and name.partition(".")[0] == package:
                    self._changes.set(namespace, attr, new)
                elif value is self._target or value is _ssl:
                    self._held_before.add((id(namespace), attr))
                elif hers.include(value):
                    self._held.setdefault(name, []).append(attr)


class _Belongings:
    """Tells what makes connections by a certain `ssl`, wherever it is kept."""

    def __init__(self, module: ModuleType | None, place: str) -> None:
        names = _MAKERS + (_CHECKED_BY_BACK if place == "back" else ())
        found = [getattr(module, name, None) for name in names if module is not _front()]
        self._kept = [value for value in found if value is not None]  # an id needs its object
        self._ids = {id(value) for value in self._kept}
        self._contexts = [
            cls
            for cls in getattr(getattr(module, "SSLContext", None), "__mro__", ())
            if cls.__module__ == "ssl" and cls.__name__ == "SSLContext"
        ]

    def include(self, value: Any) -> bool:
        """Return whether `value` is a maker, a class of contexts, or a context."""
        # type(), not isinstance(), which would ask lazy objects and our own contexts.
        cls = type(value)
        lineage = value.__mro__ if issubclass(cls, type) else cls.__mro__
        return id(value) in self._ids or any(base in lineage for base in self._contexts)


def _overridden(stdlib: ModuleType | None, carried: list[Patcher]) -> list[str]:
    """Return the attributes that some program has replaced in `ssl`, other than by `carried`."""
    if stdlib is None or stdlib is _front():
        return []
    known = {patcher.package for patcher in carried}
    found = []
    for name, given in _SETTINGS.items():
        value = getattr(stdlib, name, None)
        home = str(getattr(value, "__module__", ""))
        original = home == "ssl" and getattr(value, "__name__", "") == given
        if value is not None and not original and home.partition(".")[0] not in known:
            found.append(name)
    return found


def _namespaces() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the globals of every module but our own."""
    modules = list(sys.modules.items())
    ours = (__package__, f"{__package__}.")
    seen = {id(vars(mod)) for name, mod in modules if name == ours[0] or name.startswith(ours[1])}
    for name, module in modules:
        try:
            # Not vars(), which makes a lazy module load itself.
            namespace = object.__getattribute__(module, "__dict__")
        except AttributeError:
            continue
        if id(namespace) not in seen and isinstance(namespace, dict):
            seen.add(id(namespace))
            yield name, namespace


def _front() -> ModuleType:
    """Return the public module."""
    return sys.modules[__package__]


def _target(place: str) -> ModuleType:
    """Return the module that is to be `ssl`."""
    if place == "back":
        return _import_upon_back()
    front = _front()
    for name in dir(front):  # gevent copies its globals, which shall all be there
        getattr(front, name)
    return front


@cache  # classes are the same when it is installed again
def _import_upon_back() -> ModuleType:
    """Return Lib/ssl.py, imported once more, with our `_ssl` below it.

    Raises: ImportError: what was found as `ssl` does not use `_ssl`.
    """
    kept: dict[str, ModuleType] = {
        name: sys.modules.pop(name) for name in ("ssl", "_ssl") if name in sys.modules
    }
    sys.modules["_ssl"] = _ssl
    try:
        with plain_sockets():
            __import__("ssl")
            module = sys.modules["ssl"]
    finally:
        for name in ("ssl", "_ssl"):
            sys.modules.pop(name, None)
        sys.modules.update(kept)
    if getattr(module, "_ssl", None) is not _ssl:
        raise ImportError(f"{module!r} does not use _ssl", name="ssl")
    return module

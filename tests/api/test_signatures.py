"""The comparison of signatures sees a difference; and the interpreter's own modules are a subset.

The files beside this one tell of five versions. Here the interpreter that runs the tests is asked:
every method of its `_ssl` and `ssl` takes the same calls as sslbind's, the mark "/" included.
"""

from __future__ import annotations

import _ssl
import inspect
import ssl

import pytest
from outcomes import ORACLE, PYPY
from signatures import faults, of_function, of_text

import sslbind
import sslbind._ssl

PAIRS = {"_ssl": (_ssl, sslbind._ssl), "ssl": (ssl, sslbind)}
# Defaults that 3.10 changed; PyPy says nothing true about its functions written with builtinify.
CHANGED = {
    "SSLContext.__new__: protocol",
    "get_server_certificate: ssl_version",
    "_create_unverified_context: protocol",
    "_create_unverified_context: cert_reqs",
    "_create_stdlib_context: protocol",
    "_create_stdlib_context: cert_reqs",
}


@pytest.mark.parametrize(
    ("theirs", "word"),
    [
        ("(self, a, b=1)", "missing"),
        ("(self, b, /)", "called"),
        ("(self, a=1, /)", "by default"),
        ("(self, a, /, *, c)", "missing"),
        ("(self, a, /, *rest)", "not taken"),
        ("(self, a)", "positional-only"),
        ("(self)", "demanded"),
    ],
)
def test_a_difference_is_seen(theirs, word):
    """Each way in which a signature can fall short of another is found."""
    found = faults(of_text("(self, a, /)"), of_text(theirs))
    if word == "called":  # a positional-only name is nobody's business
        assert not found
    else:
        assert [f for f in found if word in f], found


def test_more_is_no_difference():
    """What may be left out does not matter."""
    assert not faults(of_text("(a, b=1, *, c=2)"), of_text("(a)"))


def methods():
    """Yield (module, qualified name, theirs, ours) of everything that has a signature."""
    for label, (theirs, ours) in PAIRS.items():
        for name, found in vars(theirs).items():
            own = getattr(ours, name, None)
            if name.startswith("__") or own is None or found is own:
                continue
            if inspect.isclass(found) and found.__module__ in ("ssl", "_ssl"):
                for member, method in vars(found).items():
                    if callable(method) or isinstance(method, (classmethod, staticmethod)):
                        yield label, f"{name}.{member}", getattr(found, member), own, member
            elif inspect.isroutine(found) and found.__module__ in ("ssl", "_ssl"):
                yield label, name, found, own, None


def text_of(function):
    """Return the parameters of the interpreter's function, or None where it cannot say."""
    text = getattr(function, "__text_signature__", None)
    if text:
        return None if text == "($self, /, *args, **kwargs)" else of_text(text)
    try:
        return of_function(function)
    except (TypeError, ValueError):
        return None


def cases():
    for label, name, theirs, own, member in methods():
        known = text_of(theirs)
        # CPython 3.11 and later: what enum makes of a class is not of its author's writing.
        if known is None or (member or "").startswith("__") or member == "_new_member_":
            continue
        yield pytest.param(name, known, own, member, id=f"{label}-{name}")


@pytest.mark.skipif(PYPY, reason="PyPy's own functions do not tell what they take")
@pytest.mark.parametrize(("name", "theirs", "own", "member"), cases())
def test_takes_what_the_interpreters_takes(name, theirs, own, member):
    """Names, order, defaults and the kinds of parameters are those of this interpreter's module."""
    ours = of_function(own if member is None else getattr(own, member))
    assert not [f for f in faults(ours, theirs) if f"{name}: {f.split(':')[0]}" not in CHANGED]


@pytest.mark.skipif(not ORACLE, reason="this interpreter's own ssl is no oracle")
def test_enough_is_compared():
    """The comparison above does not pass by having nothing to compare."""
    assert len(list(cases())) > 120

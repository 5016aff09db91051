"""`help()` is complete: what each public name takes, returns and raises, and where to read on."""

from __future__ import annotations

import enum
import inspect
import re

import pytest

import sslbind
import sslbind._ssl

# Classes that users get or make; the last three under names of the back, whose methods SSLContext
# has by inheritance and older Pythons return.
CLASSES = [
    *("SSLContext", "SSLSocket", "SSLObject", "MemoryBIO", "SSLSession", "DefaultVerifyPaths"),
    *("Options", "VerifyFlags", "VerifyMode", "TLSVersion", "AlertDescription", "SSLErrorNumber"),
    *("Purpose", "_SSLMethod", "_ASN1Object", "_SSLContext", "Certificate"),
]
# A page of a manual, an RFC, a PEP, or another name of ours that says it.
SOURCE = re.compile(r"\w\([1235678]\)|\bRFC \d|\bPEP \d|`\w|\bas SSL\w+\.\w+|\bas \w+\.\w+\.\w+")


def named():
    """Yield (name, object, what holds it in a class) of all that help() is asked about."""
    for name in sorted(sslbind.__all__):
        found = getattr(sslbind, name)
        if inspect.isfunction(found) and found.__module__.startswith(("sslbind", "_ssl")):
            yield name, found, None
    for name in CLASSES:
        cls = getattr(sslbind, name, None) or getattr(sslbind._ssl, name)
        if cls.__module__ == "ssl" and issubclass(cls, enum.Enum):
            continue  # the stdlib's own
        yield name, cls, None
        for member, held in vars(cls).items():
            target = held.fget if isinstance(held, property) else getattr(held, "__func__", held)
            if not member.startswith("_") and inspect.isroutine(target):
                yield f"{name}.{member}", target, held


ALL = [pytest.param(*case, id=case[0]) for case in named()]
CALLED = [case for case in ALL if not isinstance(case.values[2], property)]
ROUTINES = [case for case in CALLED if inspect.isroutine(case.values[1])]
FUNCTIONS = [case for case in ROUTINES if inspect.isfunction(case.values[1])]  # not those in C


def words(target) -> str:
    """Return the docstring; without one there is nothing to check."""
    return inspect.cleandoc(target.__doc__ or "")


@pytest.mark.parametrize(("name", "target", "held"), ALL)
def test_says_something(name, target, held):
    """Every class, function, method and property begins with a sentence."""
    first = words(target).partition("\n")[0]
    assert len(first) > 10
    assert first[0].isupper() or first[0] in "`\"'"


@pytest.mark.parametrize(("name", "target", "held"), ROUTINES)
def test_says_what_it_takes(name, target, held):
    """Every parameter is in the docstring, unless "others" are those of a function it names."""
    text = words(target)
    taken = [p for p in inspect.signature(target).parameters if p not in ("self", "cls")]
    missing = [p for p in taken if not re.search(rf"\b{p}\b", text) and p not in ("args", "kwargs")]
    assert not missing or "others:" in text


@pytest.mark.parametrize(("name", "target", "held"), FUNCTIONS)
def test_says_what_it_returns(name, target, held):
    """A function that returns something says so."""
    if target.__annotations__.get("return") not in (None, "None", "NoReturn"):
        assert re.search(r"\breturns?\b", words(target), re.IGNORECASE)


@pytest.mark.parametrize(("name", "target", "held"), FUNCTIONS)
def test_says_what_it_raises(name, target, held):
    """A function whose own body raises says which classes."""
    source = inspect.getsource(target)
    for error in re.findall(r"\braise (?:_errors\.)?(\w+)\(", source):
        if error[0].isupper():
            assert error in words(target)


@pytest.mark.parametrize(("name", "target", "held"), ALL)
def test_says_where_to_read_on(name, target, held):
    """A page of OpenSSL's manual, an RFC, a PEP, or another function of the package."""
    assert SOURCE.search(words(target))


def test_enough_is_asked():
    """The tests above do not pass by having nothing to look at."""
    assert len(ALL) > 130 and len(ROUTINES) > 90 and len(FUNCTIONS) > 80

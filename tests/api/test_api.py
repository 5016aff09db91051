"""Every name of `ssl` from Python 2.7.18 to 3.15, and of `_ssl` from 3.9 on, is there.

The JSON files beside this one were written from the real modules: kinds, signatures, members and
values. Whatever call one of those versions takes, sslbind takes, on every interpreter; where
their defaults differ the newest is right.
"""

from __future__ import annotations

import enum
import inspect
import json
import re
import sys
from pathlib import Path

import pytest
from signatures import faults, of_function, of_text

import sslbind
import sslbind._ssl

HERE = Path(__file__).parent
VERSIONS = ("2.7.18", "3.9", "3.11", "3.13", "3.15")
NEWEST = VERSIONS[-1]

# Helpers of Lib/ssl.py itself that no user has a use for, and names that it only imports.
NOT_SURFACE = {
    "_Enum",
    "_IntEnum",
    "_IntFlag",
    "_TLSv1_IF_EXISTS",
    "_delegate_methods",
    "_fileobject",
    "_get_https_context_factory",
    "_https_verify_envvar",
    "_import_symbols",
    "_nid2obj",
    "_simple_enum",
    "_txt2obj",
}
# Private members of 2.7's socket class, which is another one since Python 3.
NOT_MEMBERS = {"_sock"}
# Functions of other modules, and what enum makes of a class: the interpreter's own signatures.
NOT_SIGNATURES = {"create_connection", "closing", "namedtuple", "Purpose"}
# A private parameter for partial wildcards, which no longer match.
GONE = {("2.7.18", "_dnsname_match", "max_wildcards")}
# What depends on the OpenSSL in use or on how it was built, and NPN, which only 2.7 had.
NOT_VALUES = re.compile(
    r"OPENSSL_VERSION|_OPENSSL_API_VERSION|HAS_(NPN|SSLv3|TLSv1|PSK)|_CIPHERS$|_PROTOCOL_NAMES$"
    r"|_to_codes$|_to_names$|_GLOBAL_DEFAULT_TIMEOUT$"
)
# A default that a later version changed, by (version, function, parameter). 2.7 wrote numbers
# where later ones have members of enums; the numbers are the same.
CHANGED = {
    ("3.9", "SSLContext.__new__", "protocol"),
    ("3.9", "get_server_certificate", "ssl_version"),
    ("3.9", "_create_unverified_context", "protocol"),
    ("3.9", "_create_stdlib_context", "protocol"),
    ("3.9", "_create_unverified_context", "cert_reqs"),
    ("3.11", "_create_unverified_context", "cert_reqs"),
    ("2.7.18", "get_server_certificate", "ssl_version"),
    ("2.7.18", "_create_stdlib_context", "protocol"),
    ("2.7.18", "_create_stdlib_context", "cert_reqs"),
    ("2.7.18", "_create_unverified_context", "protocol"),
    ("2.7.18", "_create_unverified_context", "cert_reqs"),
}


def entries():
    """Yield (id, version, module, name, what the file says)."""
    for version in VERSIONS:
        data = json.loads((HERE / f"ssl-{version}.json").read_text(encoding="utf-8"))
        for path, entry in data.items():
            prefix, _, rest = path.partition(".")
            if prefix in ("ssl", "_ssl"):
                module, name = (sslbind._ssl if prefix == "_ssl" else sslbind), rest
            else:
                module, name = sslbind, path
            if module is sslbind and name in NOT_SURFACE:
                continue
            yield pytest.param(version, module, name, entry, id=f"{version}-{path}")


def numbered(parameters):
    """Return parameters with the numbers that 2.7 has in the place of members."""
    numbers = {n: str(int(v)) for n, v in vars(sslbind).items() if isinstance(v, int)}
    return [p._replace(default=numbers.get(p.default, p.default)) for p in parameters]


def keyword_only(parameters, ours):
    """Return parameters as Python 3 has them; in Python 2 none could be keyword-only."""
    later = {p.name for p in ours if p.kind == p.kind.KEYWORD_ONLY}
    return [p._replace(kind=p.kind.KEYWORD_ONLY) if p.name in later else p for p in parameters]


def check_signature(version, name, function, text):
    """Our function takes every call that the one with this signature takes."""
    ours = of_function(function)
    theirs = [p for p in of_text(text) if (version, name, p.name) not in GONE]
    if version == "2.7.18":
        ours, theirs = numbered(ours), keyword_only(numbered(theirs), ours)
    found = [f for f in faults(ours, theirs) if (version, name, f.split(":")[0]) not in CHANGED]
    assert not found, name


def check_member(version, cls, member, described):
    """A member of a class is of the kind, and has the signature, that a file describes."""
    found = inspect.getattr_static(cls, member)
    kind, _, text = described.partition(" ")
    if issubclass(cls, enum.Enum):
        return  # 3.9's Purpose; its methods are those of enum
    if kind == "property":
        assert not inspect.isfunction(found), member
        return
    if kind != "method":
        return
    # "(*args, **kwargs)" is what the files have where Python could not tell, and for classes.
    if text.startswith("(") and not text.startswith("(*args"):
        # Of what C makes, the class has the signature.
        function = cls if inspect.isbuiltin(found) else getattr(cls, member)
        check_signature(version, f"{cls.__name__}.{member}", function, text)


def check_value(found, entry, name):
    """A constant has the type and the value that a file gives it."""
    value, kind = entry["value"], entry["type"]
    if kind in ("dict", "frozendict"):
        assert found  # "(large)"
    elif isinstance(value, int):
        assert found == value
        assert kind in ("int", type(found).__name__)
    else:
        assert repr(found) == value
        assert type(found).__name__ == kind


def check_enum(found, entry):
    """An enumeration has these bases and at least these members."""
    assert entry["bases"][0] in [base.__name__ for base in found.__mro__]
    for member, value in entry["members"].items():
        assert member in found.__members__
        told = found[member].value
        assert (told if isinstance(value, int) else repr(told)) == value, member


@pytest.mark.parametrize(("version", "module", "name", "entry"), entries())
def test_entry(version, module, name, entry):
    """The name exists, with the members, signature and value that its version gives it."""
    if name == "PROTOCOL_SSLv3" and not sslbind.HAS_SSLv3:
        pytest.skip("this OpenSSL was built without SSLv3")
    assert hasattr(module, name)
    found = getattr(module, name)
    kind = entry["kind"]
    if kind == "enum":
        check_enum(found, entry)
    elif kind == "class":
        assert inspect.isclass(found)
        members = entry["members"]
        if isinstance(members, list):  # 2.7's file has no more than the names
            members = dict.fromkeys(members, "")
        for member, described in members.items():
            if member not in NOT_MEMBERS:
                assert hasattr(found, member), member
                check_member(version, found, member, described)
    elif kind == "exception":
        assert [base.__name__ for base in found.__mro__[1:]] == entry["bases"]
    elif kind == "function":
        assert callable(found)
        if entry["signature"] and name not in NOT_SIGNATURES:
            check_signature(version, name, found, entry["signature"])
    elif kind == "data" and not NOT_VALUES.search(name):
        check_value(found, entry, name)
    elif version == "2.7.18":
        check_kind(found, kind)


def check_kind(found, kind):
    """2.7's file says of a constant only what it is."""
    kinds = {"int": int, "long": int, "bool": bool, "str": str, "list": list, "tuple": tuple}
    if kind in kinds:
        assert isinstance(found, kinds[kind])
    elif kind == "type":
        assert inspect.isclass(found)
    elif kind == "builtin_function_or_method":
        assert callable(found)


def test_all_versions_are_held_against_us():
    """The files are complete: the oldest and the newest name that each version brought is there."""
    counted = dict.fromkeys(VERSIONS, 0)
    for case in entries():
        counted[case.values[0]] += 1
    assert counted == {"2.7.18": 116, "3.9": 259, "3.11": 267, "3.13": 266, "3.15": 274}


def test_what_cannot_be_loaded_is_not_there(monkeypatch):
    """Names that are loaded when asked for are none in a chroot, as far as hasattr() can tell."""
    assert sslbind.closing
    monkeypatch.delattr(sslbind, "closing")
    monkeypatch.setitem(sys.modules, "contextlib", None)
    assert not hasattr(sslbind, "closing")

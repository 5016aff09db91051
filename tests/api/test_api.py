"""Every name of `ssl` from Python 2.7.18 to 3.15, and of `_ssl` from 3.9 on, is there.

The JSON files beside this one were written from the real modules: kinds, signatures, members and
values. Where versions differ the newest is right (3.15); an older one still has to find its names.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

import sslbind
import sslbind._ssl

HERE = Path(__file__).parent
VERSIONS = ("2.7.18", "3.9", "3.11", "3.13", "3.15")
NEWEST = VERSIONS[-1]

# Helpers of Lib/ssl.py itself that no user has a use for, and names that it only imports.
NOT_SURFACE = {
    "_Enum",
    "_GiveupOnSSLSendfile",
    "_IntEnum",
    "_IntFlag",
    "_SSLv2_IF_EXISTS",
    "_TLSv1_IF_EXISTS",
    "_check_sslobject_params",
    "_delegate_methods",
    "_fileobject",
    "_get_https_context_factory",
    "_https_verify_envvar",
    "_import_symbols",
    "_nid2obj",
    "_simple_enum",
    "_sslcopydoc",
    "_txt2obj",
    "closing",
}
# Private members of 2.7's socket class, which is another one since Python 3.
NOT_MEMBERS = {"_sock", "_windows_cert_stores", "_load_windows_store_certs"}
# Functions of other modules, whose signatures are the interpreter's own.
NOT_SIGNATURES = {"create_connection"}
# What depends on the OpenSSL in use, or on how it was built.
NOT_VALUES = re.compile(r"OPENSSL_VERSION|_OPENSSL_API_VERSION|HAS_|_DEFAULT_CIPHERS|_CIPHERS$")


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


def signature(function):
    """Return a signature as text, without annotations and addresses."""
    found = inspect.signature(function)
    empty = inspect.Parameter.empty
    bare = [p.replace(annotation=empty) for p in found.parameters.values()]
    text = str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return normal(text)


def normal(text):
    text = re.sub(r"<object object at 0x\w+>", "<object>", text)
    text = text.replace("$self", "self").replace("(self, /", "(self").replace("(self, )", "(self)")
    return re.sub(r"format=[\w.]+", "format=PEM", text)


def parameters(text):
    """Split a signature into its parameters, without the marks that only C functions have."""
    inner = normal(text).strip()[1:-1]
    inner = re.sub(r"<Purpose[^>]*>", "PURPOSE", inner)
    return [p.strip() for p in inner.split(", ") if p.strip() not in ("", "/")]


def check_member(cls, member, described, newest):
    found = inspect.getattr_static(cls, member)
    kind, _, text = described.partition(" ")
    if kind == "property":
        assert not inspect.isfunction(found), member
    elif newest and text.startswith("(") and not text.startswith("(*args"):
        if isinstance(found, (classmethod, staticmethod)):
            found = getattr(cls, member)
        if member not in ("__new__", "__init__"):
            assert parameters(signature(found)) == parameters(text), member


@pytest.mark.parametrize(("version", "module", "name", "entry"), entries())
def test_entry(version, module, name, entry):
    """The name exists, with the members, signature and value that its version gives it."""
    if name == "PROTOCOL_SSLv3" and not sslbind.HAS_SSLv3:
        pytest.skip("this OpenSSL was built without SSLv3")
    assert hasattr(module, name)
    found = getattr(module, name)
    newest = version == NEWEST
    kind = entry["kind"]
    if kind == "enum":
        for member, value in entry["members"].items():
            assert member in found.__members__
            if isinstance(value, int):
                assert found[member].value == value, member
    elif kind == "class":
        assert inspect.isclass(found)
        members = entry["members"]
        if isinstance(members, list):  # 2.7's file has no more than the names
            members = dict.fromkeys(members, "")
        for member, described in members.items():
            if member not in NOT_MEMBERS:
                assert hasattr(found, member), member
                check_member(found, member, described, newest)
    elif kind == "exception":
        assert issubclass(found, Exception)
    elif kind == "function":
        assert callable(found)
        if newest and entry["signature"] and name not in NOT_SIGNATURES:
            assert parameters(signature(found)) == parameters(entry["signature"])
    elif entry.get("type") == "int" and not NOT_VALUES.search(name):
        assert found == entry["value"]


@pytest.mark.parametrize("name", sorted(sslbind.__all__))
def test_documented(name):
    """`help()` has something to say about every public class, method, property and function."""
    found = getattr(sslbind, name)
    if inspect.isclass(found) and found.__module__.startswith("sslbind"):
        assert found.__doc__
        for member, value in vars(found).items():
            target = value.fget if isinstance(value, property) else value
            target = getattr(target, "__func__", target)
            if not member.startswith("_") and inspect.isfunction(target):
                assert target.__doc__, member
    elif inspect.isfunction(found):
        assert found.__doc__

"""What type checkers are told of the enumerations, which are made at import, is what is there."""

from __future__ import annotations

import ast
import enum
from pathlib import Path

import pytest

from sslbind import _enums

STUB = ast.parse(Path(_enums.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))


def assigned(body) -> dict[str, object]:
    """Return the names that a body assigns or declares, with their values where these are plain."""
    found = {}
    for node in body:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        try:
            value = ast.literal_eval(node.value)
        except ValueError:
            value = ...
        found.update({target.id: value for target in targets})
    return found


MODULE = assigned(STUB.body)
CLASSES = {node.name: assigned(node.body) for node in STUB.body if isinstance(node, ast.ClassDef)}
ENUMS = [
    name
    for name, found in vars(_enums).items()
    if isinstance(found, enum.EnumMeta) and found.__module__ == _enums.__name__
]


@pytest.mark.parametrize("name", ENUMS)
def test_members(name):
    """Every member of a class is in the stub, under its number."""
    members = getattr(_enums, name).__members__
    assert set(members) <= set(CLASSES[name])
    for key, member in members.items():
        if isinstance(member, int):
            assert CLASSES[name][key] == member.value, key


def test_names():
    """Every name that the module offers is in the stub, and offered there."""
    assert set(_enums.__all__) <= set(MODULE["__all__"])
    assert set(_enums.__all__) <= set(MODULE) | set(CLASSES)
    assert set(MODULE["__all__"]) <= set(MODULE) | set(CLASSES)

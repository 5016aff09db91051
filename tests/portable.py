"""Run the tests as an interpreter does that has no native.c: on the classes of _portable.py.

PYTHONPATH=tests python -m pytest -p portable tests
"""

from __future__ import annotations

from importlib.machinery import ExtensionFileLoader

_create_module = ExtensionFileLoader.create_module


def _without_native(self, spec):
    if spec.name.endswith("._native"):
        raise ImportError("left out, to test what does without it")
    return _create_module(self, spec)


ExtensionFileLoader.create_module = _without_native

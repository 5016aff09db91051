"""Signatures as data: of texts, of functions, and whether one takes every call of another."""

from __future__ import annotations

import ast
import enum
import inspect
import re
from typing import NamedTuple


class Parameter(NamedTuple):
    """A parameter; `kind` is that of `inspect.Parameter`, `default` a text or None for none."""

    name: str
    kind: inspect._ParameterKind
    default: str | None


P = inspect.Parameter
_RECEIVERS = ("self", "cls", "_self")


def _text(default: object) -> str:
    """Return a default in words that two modules and all interpreters share."""
    if isinstance(default, enum.Enum):
        return str(default.name)
    if type(default) is object:
        return "<object>"
    return repr(default)


def of_function(function) -> list[Parameter]:
    """Return the parameters of a function, without self and cls."""
    found = inspect.signature(function).parameters.values()
    return _bare(
        Parameter(p.name, p.kind, None if p.default is P.empty else _text(p.default)) for p in found
    )


def of_text(text: str) -> list[Parameter]:
    """Return the parameters in a text such as "(self, /, a, b=<Enum.NAME: 1>)"."""
    text = re.sub(r"\$\w+(, /(?=[,)]))?(, )?", "", text.strip())  # a C function's receiver
    text = re.sub(r"<object object at 0x\w+>", "'<object>'", text)
    text = re.sub(r"<\w+\.(\w+): (?:[^<>]|<[^<>]*>)*>", r"'<\1>'", text)
    text = re.sub(r"\b_ssl\.ENCODING_PEM\b|\bEncoding\.PEM\b", "1", text)
    arguments = ast.parse(f"def f{text}: pass").body[0].args  # type: ignore[attr-defined]
    positional = [(a.arg, P.POSITIONAL_ONLY) for a in arguments.posonlyargs]
    positional += [(a.arg, P.POSITIONAL_OR_KEYWORD) for a in arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults))
    defaults += [_default(node) for node in arguments.defaults]
    found = [Parameter(*pair, default) for pair, default in zip(positional, defaults)]
    if arguments.vararg:
        found.append(Parameter(arguments.vararg.arg, P.VAR_POSITIONAL, None))
    for argument, node in zip(arguments.kwonlyargs, arguments.kw_defaults):
        found.append(Parameter(argument.arg, P.KEYWORD_ONLY, node and _default(node)))
    if arguments.kwarg:
        found.append(Parameter(arguments.kwarg.arg, P.VAR_KEYWORD, None))
    return _bare(found)


def _default(node: ast.expr) -> str:
    if isinstance(node, ast.Call):  # 2.7's Purpose, which had no name of its own there
        arguments = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
        return {"serverAuth": "SERVER_AUTH", "clientAuth": "CLIENT_AUTH"}[arguments["shortname"]]
    value = ast.literal_eval(node)
    if isinstance(value, str) and value.startswith("<"):
        return value if value == "<object>" else value.strip("<>")
    return repr(value)


def _bare(parameters) -> list[Parameter]:
    found = list(parameters)
    return found[1:] if found and found[0].name in _RECEIVERS else found


def faults(ours: list[Parameter], theirs: list[Parameter]) -> list[str]:
    """Return why `ours` is no superset of `theirs`: nothing, if it takes the same calls.

    Each of their parameters is ours, by the same name or place and with the same default. What
    is positional-only there is so here; more parameters are fine if they may be left out.
    """
    found = []
    places = (P.POSITIONAL_ONLY, P.POSITIONAL_OR_KEYWORD)
    our_places = [p for p in ours if p.kind in places]
    their_places = [p for p in theirs if p.kind in places]
    by_name = {p.name: p for p in ours}
    for index, their in enumerate(theirs):
        if their.kind in (P.VAR_POSITIONAL, P.VAR_KEYWORD):
            if not any(p.kind == their.kind for p in ours):
                found.append(f"{their.name}: not taken")
            continue
        if their in their_places:
            own = our_places[index] if index < len(our_places) else None
        else:
            own = by_name.get(their.name)
        if own is None:
            found.append(f"{their.name}: missing")
        elif their.name != own.name and their.kind != P.POSITIONAL_ONLY:
            found.append(f"{their.name}: called {own.name}")
        elif their.kind != own.kind:
            found.append(f"{their.name}: {own.kind.description}, not {their.kind.description}")
        elif their.default != own.default:
            found.append(f"{their.name}: {own.default} by default, not {their.default}")
    names = {p.name for p in theirs}
    for index, own in enumerate(ours):
        extra = index >= len(their_places) if own in our_places else own.name not in names
        if extra and own.default is None and own.kind not in (P.VAR_POSITIONAL, P.VAR_KEYWORD):
            found.append(f"{own.name}: demanded, and unknown there")
    return found

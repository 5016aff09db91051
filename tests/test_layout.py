"""The few rules about where things live whose breach is a bug. Structure only, no size police."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
C_FOLDER = ROOT / "src" / "_sslbind"
PACKAGE = ROOT / "sslbind"

if not C_FOLDER.is_dir():
    pytest.skip("the sources are not beside the tests", allow_module_level=True)

C_FILES = sorted(C_FOLDER.glob("*.[ch]"))
NATIVE = sorted((C_FOLDER / "cpython").glob("*.[ch]"))
MODULES = sorted(PACKAGE.glob("*.py"))

COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\"", re.DOTALL)


def code(path: Path) -> str:
    """Return a C file without its comments and strings."""
    return COMMENT.sub(" ", path.read_text())


def names_in(path: Path) -> set[str]:
    """Return the identifiers that the code of a C file uses."""
    return set(re.findall(r"[A-Za-z_]\w*", code(path)))


def each(paths):
    """Parametrize over files, named as themselves."""
    return pytest.mark.parametrize("path", paths, ids=[path.name for path in paths])


@each([path for path in [*C_FILES, *NATIVE] if path.name != "compat.h"])
def test_only_compat_knows_versions(path):
    """OpenSSL's version macros stand in compat.h and nowhere else."""
    macros = {"OPENSSL_VERSION_NUMBER", "OPENSSL_VERSION_PREREQ", "OPENSSL_VERSION_MAJOR"}
    lines = [line for line in code(path).splitlines() if line.lstrip().startswith("#")]
    assert not macros & set(re.findall(r"\w+", "\n".join(lines)))


@each([path for path in [*C_FILES, *NATIVE] if path.name not in ("errors.c", "compat.h")])
def test_only_errors_reads_errors(path):
    """`SSL_get_error` and the error queue are read in errors.c and nowhere else."""
    readers = {
        name
        for name in names_in(path)
        if name == "SSL_get_error" or re.fullmatch(r"ERR_(get|peek)_\w*error\w*", name)
    }
    assert not readers


@each(C_FILES)
def test_no_python_in_c(path):
    """The C layer knows nothing of an interpreter, so that PyPy works; cpython/ is apart."""
    assert not re.findall(r"^\s*#\s*include\s*[<\"]Python", path.read_text(), re.MULTILINE)
    assert not [name for name in names_in(path) if re.match(r"Py[A-Z_]\w*", name)]


@each(NATIVE)
def test_native_is_only_a_way_across(path):
    """What is for CPython calls nothing of OpenSSL, and of CPython only the stable ABI."""
    names = names_in(path)
    assert not [name for name in names if re.match(r"(SSL|BIO|X509|EVP|ERR|CRYPTO)_\w", name)]
    assert "#define Py_LIMITED_API 0x03090000" in (path.parent / "native.h").read_text()
    assert (path.name == "native.h") == ("#include <Python.h>" in path.read_text())


@each([C_FOLDER / "api.h", C_FOLDER / "upcalls.h"])
def test_declarations_are_plain(path):
    """What cffi parses has no preprocessor lines and no types of OpenSSL."""
    text = code(path)
    assert not [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert not re.findall(r"\b(?:SSL|SSL_CTX|X509|BIO|EVP_\w+)\b\s*\*", text)


def prototypes(path: Path) -> dict[str, bool]:
    """Return each function that a header declares, and whether a comment stands before it.

    A comment may speak for a run of prototypes that no empty line separates.
    """
    found, covered = {}, False
    for block in re.split(r"\n\s*\n", path.read_text()):
        covered = "/*" in block
        for name in re.findall(r"\b(sb_\w+)\s*\([^;{]*\)\s*;", COMMENT.sub(" ", block)):
            found[name] = covered
    return found


def test_every_prototype_has_a_contract():
    """The contract of a C function stands above its prototype in api.h."""
    bare = [name for name, commented in prototypes(C_FOLDER / "api.h").items() if not commented]
    assert bare == []


def test_every_prototype_is_defined_once():
    """Each function of api.h has one definition."""
    text = "\n".join(code(path) for path in C_FILES if path.suffix == ".c")
    for name in prototypes(C_FOLDER / "api.h"):
        assert len(re.findall(rf"^{name}\(", text, re.MULTILINE)) == 1, name


def tree_of(path: Path) -> ast.Module:
    """Return a Python file as a syntax tree."""
    return ast.parse(path.read_text())


def upcalls() -> dict[str, str]:
    """Return the functions that C may call, with what they return."""
    text = code(C_FOLDER / "upcalls.h")
    return {name: kind for kind, name in re.findall(r"\b(\w+)\s+\**(sb_py_\w+)\s*\(", text)}


def test_every_upcall_is_registered_and_fails_closed():
    """Each function that C may call is in _hooks.py, with the code to return when it fails.

    cffi's own default is 0, which is success to an SNI callback.
    """
    defined = {
        node.name: node
        for node in ast.walk(tree_of(PACKAGE / "_hooks.py"))
        if isinstance(node, ast.FunctionDef)
    }
    assert upcalls()
    assert set(upcalls()) <= set(defined)
    for name, kind in upcalls().items():
        options = defined[name].decorator_list[0].keywords
        failing = next(option.value for option in options if option.arg == "failing")
        nothing = isinstance(failing, ast.Constant) and failing.value is None
        assert nothing == (kind == "void"), name


def test_only_hooks_registers():
    """`def_extern` stands in _hooks.py, at one place."""
    places = [
        path.name
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr == "def_extern"
    ]
    assert places == ["_hooks.py"]


@each([path for path in MODULES if path.name != "_ffi.py"])
def test_only_ffi_imports_the_binary(path):
    """The compiled module is imported by _ffi.py and nobody else."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            assert "_sslbind" not in [node.module, *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            assert not any(alias.name.endswith("_sslbind") for alias in node.names)


def uses_of_lib(path: Path) -> set[str]:
    """Return the functions that a module takes from `lib`."""
    return {
        node.attr
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "lib"
    }


@each(MODULES)
def test_python_calls_only_our_functions(path):
    """Python calls no function of OpenSSL, only ours."""
    assert [name for name in uses_of_lib(path) if not name.lower().startswith("sb_")] == []


FRONT = ("__init__.py", "_socket.py", "_object.py", "_errors.py", "_hooks.py", "_enums.py")


@each([PACKAGE / name for name in FRONT if (PACKAGE / name).exists()])
def test_front_does_not_reach_into_c(path):
    """The front, the errors and the hooks do not call C."""
    assert uses_of_lib(path) == set()


# Lower numbers may not import higher ones. Modules that are not named here are free.
LAYERS = {
    "_version": 0,
    "_ffi": 1,
    "_hooks": 2,
    "_errors": 2,
    "_constants": 2,
    "_portable": 3,
    "_pump": 3,
    "_bio": 4,
    "_session": 4,
    "_certs": 4,
    "_conn": 5,
    "_ctx": 6,
    "_ssl": 7,
    "_enums": 8,
    "_defaults": 8,
    "_object": 9,
    "_socket": 9,
    "_context": 10,
    "__init__": 11,
}


def imported_at_once(path: Path) -> set[str]:
    """Return the siblings that a module imports when it is imported itself."""
    found = set()
    for node in tree_of(path).body:
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return found


@each([path for path in MODULES if path.stem in LAYERS])
def test_layers_point_one_way(path):
    """A module imports only from its own layer or from those below it."""
    mine = LAYERS[path.stem]
    upward = {name for name in imported_at_once(path) if LAYERS.get(name, 0) > mine}
    assert upward == set()


PYTHON = [path for folder in ("sslbind", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]


@each(PYTHON)
def test_files_say_what_they_are(path):
    """Every Python file opens with a docstring, and postpones its annotations."""
    tree = tree_of(path)
    if not tree.body:
        return
    assert ast.get_docstring(tree)
    futures = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    if any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in tree.body):
        assert any(node.module == "__future__" for node in futures)


@each([path for path in PYTHON if path.name.startswith("test_")])
def test_tests_do_not_sleep(path):
    """Tests wait for events, never for time to pass."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and node.attr == "sleep":
            raise AssertionError(f"{path.name}:{node.lineno} sleeps")

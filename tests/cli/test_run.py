"""`python -m sslbind run`: programs run as Python itself runs them, only with another `ssl`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile

import pytest

DEADLINE = 60  # seconds for one run of a program

SHOW = """
import os, sys
def show():
    import ssl
    main = sys.modules["__main__"]
    print(ssl.__name__, sys.argv[1:], os.environ.get("SSLBIND_INSTALL"))
    print(sys.argv[0], __file__, sys.path[0], sep="|")
    print(__name__, __package__, __spec__ and __spec__.name, type(__loader__).__name__)
    print(vars(main) is globals(), isinstance(__builtins__, type(sys)))
    try:
        import beside
        print("beside")
    except ImportError:
        print("alone")
show()
"""


def python(*arguments, cwd, **options):
    """Run an interpreter in a folder; return the finished process."""
    # Found by name, not by folder: whence `-m` and sys.path[0] are to be the program's.
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
    environment = {k: v for k, v in os.environ.items() if k != "SSLBIND_INSTALL"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**environment, "PYTHONPATH": path},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        **options,
    )


@pytest.fixture
def program(tmp_path):
    """Write a program, with a module beside it, and return where."""

    def write(text, name="here/program.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / "beside.py").write_text("")
        return path

    return write


def both(tmp_path, *command, options=()):
    """Run a command by Python and by us; return what both print, apart from what is to differ."""
    plain = python(*options, *command, cwd=tmp_path)
    ours = python(*options, "-m", "sslbind", "run", *command, cwd=tmp_path)
    assert plain.returncode == ours.returncode == 0, ours.stderr
    assert plain.stderr == ours.stderr == ""
    first, rest = plain.stdout.split("\n", 1)
    assert first.startswith("ssl ") and first.endswith(" None")
    expected = "sslbind " + first[len("ssl ") : -len("None")] + "front"
    assert ours.stdout.split("\n", 1) == [expected, rest]
    return ours.stdout


def test_a_script(program, tmp_path):
    """A script sees its arguments, options among them, its path and itself as Python shows them."""
    program(SHOW)
    out = both(tmp_path, "here/program.py", "-m", "--back", "-x", "", "a b")
    assert "['-m', '--back', '-x', '', 'a b']" in out and "beside" in out


def test_a_link_to_a_script(program, tmp_path):
    """The folder of the script is that of the file itself, not of a link to it."""
    program(SHOW)
    (tmp_path / "link.py").symlink_to(tmp_path / "here" / "program.py")
    assert "beside" in both(tmp_path, "link.py")


def test_a_module(program, tmp_path):
    """A module is found from the current folder, and gets what follows its name."""
    program(SHOW, "package/inner.py")
    both(tmp_path, "-m", "package.inner", "--back", "-m", "x")


def test_a_package(program, tmp_path):
    """Of a package, its __main__ is run."""
    program("print('initial')", "package/__init__.py")
    program(SHOW, "package/__main__.py")
    ours = python("-m", "sslbind", "run", "-m", "package", "a", cwd=tmp_path)
    plain = python("-m", "package", "a", cwd=tmp_path)
    assert ours.stdout == plain.stdout.replace("ssl [", "sslbind [").replace("None\n", "front\n", 1)


@pytest.mark.parametrize("kind", ("folder", "archive"))
def test_a_folder_and_an_archive(program, tmp_path, kind):
    """A folder or a zip archive runs by its __main__.py, and modules are found in it."""
    main = program(SHOW, "app/__main__.py")
    name = "app"
    if kind == "archive":
        name = "app.pyz"
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.write(main, "__main__.py")
            archive.write(main.parent / "beside.py", "beside.py")
    assert "beside" in both(tmp_path, name, "one")


def test_isolated(program, tmp_path):
    """With -I neither the current folder nor the script's own comes first on the path."""
    program(SHOW)
    start = (
        f"import sys; sys.path.extend({[p for p in sys.path if p]!r}); import runpy;"
        "runpy.run_module('sslbind', run_name='__main__', alter_sys=True)"
    )
    finished = python("-I", "-c", start, "run", "here/program.py", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[-1] == "alone"


def test_back(program, tmp_path):
    """--back replaces _ssl alone."""
    program("import ssl, _ssl, sys; print(ssl.__name__, _ssl.__name__, sys.argv)")
    finished = python("-m", "sslbind", "run", "--back", "here/program.py", "--back", cwd=tmp_path)
    assert finished.stdout == "ssl sslbind._ssl ['here/program.py', '--back']\n", finished.stderr


@pytest.mark.parametrize("place", ("front", "back"))
def test_the_programs_of_the_stdlib(pki, tmp_path, place):
    """The whole of what the tests of install() do runs as a program too."""
    options = ["--back"] if place == "back" else []
    command = ["-m", "switched", "ours", pki.ca, pki.server.both]
    finished = python("-m", "sslbind", "run", *options, *command, cwd=tmp_path)
    assert finished.stdout == "done\n", finished.stderr


@pytest.mark.parametrize(
    "end, status, said",
    (
        ("raise SystemExit(7)", 7, ""),
        ("raise SystemExit('bye')", 1, "bye\n"),
        ("raise SystemExit", 0, ""),
        ("raise OSError(5, 'no')", 1, None),
        ("raise BrokenPipeError", 1, None),
        ("def f():\n    raise ValueError('x')\nf()", 1, None),
        ("import beside, nowhere", 1, None),
        ("1 +", 1, None),
        ("raise KeyboardInterrupt", -signal.SIGINT, None),
        ("sys.excepthook = lambda *a: print(a[0].__name__, a[2].tb_lineno)\n1/0", 1, ""),
        ("import atexit; atexit.register(lambda: print(sys.modules['__main__'].x))\nx = 3", 0, ""),
    ),
)
def test_the_end(program, tmp_path, end, status, said):
    """Exit status, output and traceback at the end of a program are Python's."""
    program(f"import sys\n{end}\n")
    plain = python("here/program.py", cwd=tmp_path)
    ours = python("-m", "sslbind", "run", "here/program.py", cwd=tmp_path)
    assert (ours.returncode, ours.stdout, ours.stderr) == (
        plain.returncode,
        plain.stdout,
        plain.stderr,
    )
    assert ours.returncode == status or sys.implementation.name == "pypy"
    assert said is None or ours.stderr == said


def test_children_are_told(program, tmp_path):
    """The environment of what the program starts has the switch on."""
    program("import os; print(os.environ['SSLBIND_INSTALL'])")
    finished = python("-m", "sslbind", "run", "--back", "here/program.py", cwd=tmp_path)
    assert finished.stdout == "back\n"


@pytest.mark.parametrize(
    "command, words",
    (
        ([], "a script, or -m and a module"),
        (["--back"], "a script, or -m and a module"),
        (["-m"], "a script, or -m and a module"),
        (["nothing.py"], "can't open file 'nothing.py'"),
        (["empty"], "can't find '__main__' module in 'empty'"),
        (["-m", "nothing"], "no module named nothing"),
        (["-m", "nothing.at.all"], "no module named nothing"),
        (["-m", "empty"], "no module named empty.__main__"),
        (["-m", "sys"], "no code object available for sys"),
        (["--nonsense", "x.py"], "--nonsense"),
    ),
)
def test_no_such_program(fails, tmp_path, command, words):
    """What cannot be run is said in one line, with Python's own status 2."""
    (tmp_path / "empty").mkdir()
    line = fails(python("-m", "sslbind", "run", *command, cwd=tmp_path), status=2)
    assert words in line


def test_the_other_place_is_taken(fails, program, tmp_path):
    """Where the switch says front, --back cannot be had."""
    program("")
    start = (
        "import sslbind; sslbind.install(); import runpy;"
        "runpy.run_module('sslbind', run_name='__main__', alter_sys=True)"
    )
    line = fails(python("-c", start, "run", "--back", "here/program.py", cwd=tmp_path), status=2)
    assert "installed at the front" in line

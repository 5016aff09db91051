"""`install` and `uninstall`: a whole process on sslbind, and back, in every order of imports."""

from __future__ import annotations

import ast
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cffi
import pytest
from scripts import run_script

import sslbind
import sslbind._install

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("front", "back")

STRICT = """
import sys, warnings
import sslbind
warnings.simplefilter("error", sslbind.InstallWarning)
def fails(kind, function, *args):
    try:
        function(*args)
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")
"""

# Has taken by name what cannot be exchanged any more.
TAKERS = """
import types
def module(name, code):
    sys.modules[name] = types.ModuleType(name)
    exec(code, vars(sys.modules[name]))
    return sys.modules[name]
module("plain", "import ssl, socket")
module("guard", "from ssl import SSLSocket, SSLError, TLSVersion, Purpose, OP_ALL, CERT_NONE")
module("maker", "from ssl import create_default_context as make, SSLContext")
module("child", "import ssl\\nclass Mine(ssl.SSLContext): pass")
module("owner", "import ssl\\nDEFAULT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)")
"""
INDENTED_TAKERS = TAKERS.replace("\n", "\n        ")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("order", ("earlier", "later"))
def test_the_stdlib_uses_it(pki, place, order):
    """http.client, urllib, smtplib and asyncio talk by sslbind, whenever they were imported.

    Without a warning, since nothing is lost; and by the stdlib's ssl before and after.
    """
    body = """
        place, order, ca, chain = sys.argv[1:]
        if order == "earlier":
            import switched
            switched.check_all(False, ca, chain)
        sslbind.install(place)
        import switched
        switched.check_all(True, ca, chain)
        sslbind.uninstall()
        switched.check_all(False, ca, chain)
        print("done")
    """
    assert run(body, place, order, pki.ca, pki.server.both) == "done\n"


def run(body: str, *args: str) -> str:
    """Run a test's body in a process of its own, where an InstallWarning is an error."""
    return run_script(STRICT + inspect.cleandoc(body), *args)


@pytest.mark.parametrize("place", PLACES)
def test_everything_is_put_back(place):
    """At the end every module's globals, and the table of modules, are what they were."""
    body = """
        import asyncio, http.client, smtplib, ssl, urllib.request, _ssl
        place, = sys.argv[1:]
        sslbind.install(place); sslbind.uninstall()  # what is made once is made

        def state():
            found = {name: id(module) for name, module in sys.modules.items()}
            for name, module in sys.modules.items():
                found.update({(name, attr): id(value) for attr, value in vars(module).items()})
            return found

        stdlib = [ssl, _ssl]
        before = state()
        with sslbind.install(place) as module:
            import ssl as now, _ssl as now_c
            assert now is module is sys.modules["ssl"] is http.client.ssl is asyncio.sslproto.ssl
            assert (module is sslbind) == (place == "front") and module is not stdlib[0]
            assert now_c is sslbind._ssl is module._ssl is sys.modules["_ssl"] is _ssl
            from ssl import SSLContext
            assert SSLContext.__mro__[1] is sslbind._ssl._SSLContext
            del now, now_c, module, SSLContext
        after = state()
        assert sys.modules["ssl"] is stdlib[0] is ssl and sys.modules["_ssl"] is stdlib[1]
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        assert changed <= {("__main__", "before")}, changed
        print("done")
    """
    assert run(body, place) == "done\n"


@pytest.mark.parametrize("place", PLACES)
def test_what_came_too_early_is_named(place):
    """One InstallWarning names makers, subclasses and contexts, and who holds them."""
    body = f"""
        {INDENTED_TAKERS}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sslbind.install(*sys.argv[1:])
        warning, = caught
        assert warning.category is sslbind.InstallWarning and warning.filename == "<string>"
        print(warning.message)
        import plain
        assert plain.ssl is sys.modules["ssl"]
    """
    said = run(body, place)
    named = "child (Mine); {}maker (SSLContext, make); owner (DEFAULT)."
    # A second Lib/ssl.py does not know the first one's sockets and purposes.
    assert named.format("guard (Purpose, SSLSocket); " if place == "back" else "") in said
    assert "plain" not in said


def test_a_warning_made_an_error_changes_nothing():
    """Where InstallWarning is an error, install() raises it and nothing is installed."""
    body = f"""
        {INDENTED_TAKERS}
        import ssl, plain
        assert "maker" in fails(sslbind.InstallWarning, sslbind.install)
        assert sys.modules["ssl"] is ssl is plain.ssl and ssl.__name__ == "ssl"
        assert "not installed" in fails(RuntimeError, sslbind.uninstall)
        print("done")
    """
    assert run(body) == "done\n"


@pytest.mark.parametrize(
    "change",
    (
        "ssl._create_default_https_context = ssl._create_unverified_context",
        "ssl.create_default_context = lambda *args: None",
        "ssl.SSLContext = type('Other', (ssl.SSLContext,), {})",
    ),
)
def test_changes_to_ssl_itself_are_named(change):
    """A program that has changed `ssl` for everybody is told that sslbind is as it was made."""
    body = f"""
        import ssl
        {change}
        print(fails(sslbind.InstallWarning, sslbind.install))
    """
    name = change.split()[0].partition(".")[2]
    assert f"changes made to ssl itself are left behind: {name}." in run(body)


def test_lazy_modules_stay_asleep():
    """Looking for references makes no lazy module load itself."""
    body = """
        import importlib.util
        spec = importlib.util.find_spec("colorsys")
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules["colorsys"] = module
        spec.loader.exec_module(module)
        with sslbind.install():
            pass
        assert "rgb_to_hsv" not in object.__getattribute__(module, "__dict__")
        assert module.rgb_to_hsv
        print("done")
    """
    assert run(body) == "done\n"


def test_later_changes_are_respected():
    """What somebody else has exchanged since stays; sslbind's own name stays; names keep working.

    A module that came in between has `ssl` for its `ssl` afterwards.
    """
    body = f"""
        {INDENTED_TAKERS.replace("module(", "# module(").replace("def # module", "def module")}
        import http.client, smtplib, ssl
        stdlib = [ssl]
        before = module("before", "import sslbind as tls")
        installation = sslbind.install()
        http.client.ssl = None
        between = module("between", "import ssl, ssl as alias, sslbind")
        between.context = between.ssl.SSLContext(between.ssl.PROTOCOL_TLS_CLIENT)
        sslbind.uninstall()
        assert http.client.ssl is None and smtplib.ssl is stdlib[0]
        assert between.ssl is between.alias is stdlib[0]
        assert between.sslbind is before.tls is sslbind
        assert isinstance(between.context, between.ssl.SSLContext)
        print("done")
    """
    assert run(body) == "done\n"


def test_installations_nest():
    """Each install needs its own end; the place cannot change meanwhile; ends come once."""
    body = """
        import ssl
        stdlib = [ssl]
        assert "not installed" in fails(RuntimeError, sslbind.uninstall)
        for wrong in ("side", "", None, 1, b"front"):
            assert "'front' or 'back'" in fails(ValueError, sslbind.install, wrong)
        assert sys.modules["ssl"] is stdlib[0]

        outer = sslbind.install()
        assert outer.place == "front" and "in effect" in repr(outer)
        with sslbind.install("front") as module:
            assert module is sslbind
            assert "front" in fails(RuntimeError, sslbind.install, "back")
        assert sys.modules["ssl"] is sslbind
        with outer:
            pass
        assert "undone" in repr(outer) and sys.modules["ssl"] is stdlib[0]
        with outer:  # over already
            pass
        try:
            with sslbind.install("back"):
                sslbind.uninstall()
                assert sys.modules["ssl"] is stdlib[0]
                first = sslbind.install()
                raise KeyError
        except KeyError:
            pass
        assert sys.modules["ssl"] is sslbind, "not the one that ended"
        second = sslbind.install()
        first.__exit__()
        assert sys.modules["ssl"] is sslbind
        second.__exit__()
        assert sys.modules["ssl"] is stdlib[0] is ssl
        print("done")
    """
    assert run(body) == "done\n"


def test_threads():
    """Threads that install and uninstall at once never see half of it, nor leave any behind."""
    body = """
        import http.client, ssl, threading
        stdlib = [ssl]
        barrier = threading.Barrier(6)
        errors = []
        def work():
            try:
                barrier.wait(20)
                for _ in range(25):
                    with sslbind.install() as module:
                        assert module is sslbind is sys.modules["ssl"] is http.client.ssl
                        assert sys.modules["_ssl"] is sslbind._ssl
            except BaseException as error:
                errors.append(error)
        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads: thread.start()
        for thread in threads: thread.join(50)
        assert errors == [], errors
        assert sys.modules["ssl"] is stdlib[0] is http.client.ssl is ssl
        assert "not installed" in fails(RuntimeError, sslbind.uninstall)
        print("done")
    """
    assert run(body) == "done\n"


@pytest.mark.parametrize("place", PLACES)
def test_an_interpreter_without_ssl(pki, place):
    """Where there is no ssl to replace there is one while sslbind is installed."""
    body = """
        import sys
        sys.modules["ssl"] = sys.modules["_ssl"] = None
        import sslbind
        place, ca, chain = sys.argv[1:]
        with sslbind.install(place):
            import switched
            assert switched.sockets(ca, chain) == {True}
        assert sys.modules["ssl"] is sys.modules["_ssl"] is None
        print("done")
    """
    assert run_script(inspect.cleandoc(body), place, pki.ca, pki.server.both) == "done\n"


def test_globals_are_all_there():
    """Who copies the globals of the new `ssl`, as gevent does, misses nothing."""
    body = """
        assert "_TLSAlertType" not in vars(sslbind)
        with sslbind.install() as module:
            assert set(dir(module)) == set(vars(module))
            assert "_TLSAlertType" in vars(module)
        print("done")
    """
    assert run(body) == "done\n"


def test_star_import_is_that_of_ssl():
    """`from ssl import *` gives what ssl has, and not install(), which has a docstring."""
    body = """
        sslbind.install()
        from ssl import *
        assert create_default_context is sslbind.create_default_context and SSLContext
        assert "install" not in globals()
        print("done")
    """
    assert run(body) == "done\n"
    for name in ("install", "uninstall", "InstallWarning"):
        assert name in dir(sslbind) and name not in sslbind.__all__
        assert getattr(sslbind, name).__doc__
        assert name in sslbind.__doc__
    assert issubclass(sslbind.InstallWarning, RuntimeWarning)


def switch_line() -> str:
    """Return the line of the .pth file, as setup.py has it."""
    if not (ROOT / "setup.py").exists():
        pytest.skip("not in a source tree")
    tree = ast.parse((ROOT / "setup.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "SWITCH":
            return ast.literal_eval(node.value)
    raise AssertionError("no SWITCH in setup.py")


def started_with(value, *options) -> list[str]:
    """Start an interpreter whose `site` reads the line twice; return what it says of `ssl`."""
    code = switch_line() * 2 + (
        "import sys\nearly = 'sslbind' in sys.modules\n"
        "import ssl, _ssl\nprint(early, ssl.__name__, _ssl.__name__)\n"
        "if early:\n"
        "    import sslbind._install as i\n    print(len(i._installations))\n"
    )
    path = f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\n"
    environment = {k: v for k, v in os.environ.items() if k != "SSLBIND_INSTALL"}
    if value is not None:
        environment["SSLBIND_INSTALL"] = value
    done = subprocess.run(
        [sys.executable, *options, "-c", path + code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "value, said",
    (
        (None, ["False ssl _ssl"]),
        ("", ["False ssl _ssl"]),
        ("0", ["False ssl _ssl"]),
        ("1", ["True sslbind sslbind._ssl", "1"]),
        ("front", ["True sslbind sslbind._ssl", "1"]),
        ("back", ["True ssl sslbind._ssl", "1"]),
    ),
)
def test_the_switch(value, said):
    """SSLBIND_INSTALL decides; unless it is on, sslbind is not even imported."""
    assert started_with(value) == said


def test_the_switch_with_a_wrong_value():
    """A value that means nothing makes a warning; the program runs, on the stdlib's ssl."""
    warning, *said = started_with("frnot")
    assert "InstallWarning: SSLBIND_INSTALL='frnot' is none of" in warning
    assert said[-2:] == ["True ssl _ssl", "0"]


def test_the_switch_is_environment():
    """-E and -I, which forbid to obey the environment, forbid this too."""
    assert started_with("front", "-E") == ["False ssl _ssl"]


@pytest.mark.slow
def test_the_switch_is_installed(tmp_path):
    """`pip install .` lays the switch where `site` looks for it, and it works from there."""
    if not (ROOT / "setup.py").exists() or os.environ.get("SSLBIND_SANITIZED"):
        pytest.skip("not in a source tree, or built with sanitizers")
    home = tmp_path / "venv"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "SSLBIND"))}

    def call(*command, **more):
        done = subprocess.run(
            [str(part) for part in command],
            env={**environment, **more},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    call(sys.executable, "-m", "venv", "--without-pip", home)
    python = home / "bin" / Path(sys.executable).name
    site = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    options = ("--no-deps", "--no-build-isolation", "--no-cache-dir", "--target", site)
    unbuilt = shutil.ignore_patterns(".git", ".venv*", "build", "*.so", "*.egg-info", "*.o")
    tree = shutil.copytree(ROOT, tmp_path / "tree", ignore=unbuilt)
    call(sys.executable, "-m", "pip", "install", *options, tree)
    # cffi from here; the name comes before that of the switch.
    Path(site, "aa-cffi.pth").write_text(f"{Path(cffi.__file__).parents[1]}\n")
    say = "import ssl, sys; print(ssl.__name__, 'sslbind' in sys.modules)"
    assert call(python, "-c", say) == "ssl False\n"
    assert call(python, "-c", say, SSLBIND_INSTALL="1") == "sslbind True\n"
    assert call(python, "-c", say, SSLBIND_INSTALL="back") == "ssl True\n"
    assert call(python, "-I", "-c", say, SSLBIND_INSTALL="1") == "ssl False\n"
    assert call(python, "-S", "-c", say, SSLBIND_INSTALL="1") == "ssl False\n"

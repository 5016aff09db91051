"""What `pip` and `python -m build` make of the tree: complete, and clear when it cannot be."""

from __future__ import annotations

import itertools
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CPYTHON = platform.python_implementation() == "CPython"
WHEEL = "-cp39-abi3-" if CPYTHON else "-pp{0}{1}-pypy{0}{1}_pp".format(*sys.version_info)
INITS = ["PyInit__native", "PyInit__sslbind"] if CPYTHON else ["_cffi_pypyinit__sslbind"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="not in a source tree"),
    pytest.mark.skipif(os.environ.get("SSLBIND_SANITIZED") is not None, reason="sanitized build"),
]

# Both modules, in one process, talk to each other in all four ways.
TALK = """
import importlib, itertools, socket, sys, threading
for name in sys.argv[3:]:
    importlib.import_module(name)
import ssl, sslbind

def talk(near, far):
    server = near.SSLContext(near.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(sys.argv[1])
    client = far.create_default_context(cafile=sys.argv[2])
    left, right = socket.socketpair()
    def serve():
        with server.wrap_socket(left, server_side=True) as sock:
            sock.sendall(b"hello")
    thread = threading.Thread(target=serve)
    thread.start()
    with client.wrap_socket(right, server_hostname="localhost") as sock:
        assert sock.recv(5) == b"hello"
    thread.join()

for near, far in itertools.product((ssl, sslbind), repeat=2):
    talk(near, far)
print(sslbind.__file__)
"""


@pytest.fixture
def tree(tmp_path) -> Path:
    """A copy of the tree without anything that was built in it."""
    built = shutil.ignore_patterns(
        ".git", ".venv*", ".*cache", "__pycache__", "build", "dist", "*.so", "*.egg-info", "*.o"
    )
    return Path(shutil.copytree(ROOT, tmp_path / "tree", ignore=built))


def run(*command, cwd, **environment) -> subprocess.CompletedProcess:
    """Run a command with environment variables of its own; stdout and stderr in one text."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SSLBIND_", "PYTHON"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**env, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )


def install(source, target, cwd, **environment) -> subprocess.CompletedProcess:
    """Install from a tree or a file into a directory, with what is installed here for building."""
    options = ("--no-deps", "--no-build-isolation", "--no-cache-dir", "--target", target)
    return run(sys.executable, "-m", "pip", "install", *options, source, cwd=cwd, **environment)


def binary(target: Path) -> Path:
    """The extension module in a directory that the package was installed into."""
    return next((target / "sslbind").glob("_sslbind.*so"))


def test_the_sdist_makes_the_wheel_and_the_wheel_works(tree, tmp_path, pki):
    """`python -m build` makes a complete sdist, of it alone a wheel, and that wheel runs."""
    built = run(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, tree, cwd="/"
    )
    assert built.returncode == 0, built.stdout
    (wheel,) = tmp_path.glob("*.whl")
    assert WHEEL in wheel.name
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {"build_ffi.py", "setup.py", "LICENSE", "README.md", "CONTRIBUTING.md"}
    for folder in ("src/_sslbind", "sslbind", "tests", "benchmarks"):
        files = (path for path in (tree / folder).rglob("*") if path.is_file())
        expected.update(str(path.relative_to(tree)) for path in files)
    assert expected <= names
    assert not [name for name in names if name.endswith((".so", ".o", ".pyc"))]

    target = tmp_path / "installed"
    assert install(wheel, target, "/").returncode == 0
    assert (target / "sslbind" / "py.typed").exists()
    talk = run(sys.executable, "-c", TALK, *files_of(pki), cwd="/", PYTHONPATH=str(target))
    assert talk.returncode == 0 and str(target) in talk.stdout, talk.stdout


def files_of(pki):
    """The server's chain and the CA's certificate, as TALK wants them."""
    return pki.server.both, pki.ca


def test_a_static_build_hides_openssl(tree, tmp_path, pki):
    """SSLBIND_OPENSSL_STATIC=1 exports what imports need, and lives beside other copies of OpenSSL.

    And after `pip install .` the clone itself can be imported from, static or not.
    """
    if shutil.which("nm") is None:
        pytest.skip("no nm here")
    target = tmp_path / "installed"
    done = install(".", target, tree, SSLBIND_OPENSSL_STATIC="1")
    if "no libssl.a" in done.stdout:
        pytest.skip("no static OpenSSL here")
    assert done.returncode == 0, done.stdout

    info = run(sys.executable, "-m", "sslbind", "info", cwd=tree)
    assert info.returncode == 0 and "OpenSSL" in info.stdout, info.stdout
    exported = run("nm", "-D", "--defined-only", binary(target), cwd="/").stdout.split()[2::3]
    assert sorted(exported) == INITS
    assert "libssl" not in run("ldd", binary(target), cwd="/").stdout
    for order in itertools.permutations(("_ssl", "sslbind", "cryptography.x509")):
        talk = run(
            sys.executable, "-c", TALK, *files_of(pki), *order, cwd="/", PYTHONPATH=str(target)
        )
        assert talk.returncode == 0 and str(target) in talk.stdout, (order, talk.stdout)


@pytest.mark.parametrize(
    "environment",
    ({"SSLBIND_OPENSSL_DIR": "/nonexistent"}, {"CC": "false", "LDSHARED": "false"}),
    ids=("prefix", "compiler"),
)
def test_missing_headers_end_in_one_sentence(tree, environment):
    """The last line of a build that finds no OpenSSL headers says what to install."""
    done = run(sys.executable, "setup.py", "build_ext", cwd=tree, **environment)
    assert done.returncode != 0
    assert "install libssl-dev (Debian, Ubuntu)" in done.stdout.splitlines()[-1]

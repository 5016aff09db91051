"""sslbind where the interpreter has no `_ssl`: as PyPy would ship it, and docs/pypy.md says how."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sslbind
from sslbind import _sslbind

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
DOC = ROOT / "docs" / "pypy.md"
BINARY = Path(_sslbind.__file__)

in_source_tree = pytest.mark.skipif(not DOC.exists(), reason="docs are not beside the tests")


def speak(how: str, pki, *args: str) -> str:
    """Run the child; return what it printed."""
    path = os.pathsep.join(
        entry for entry in sys.path if how != "vendored" or not same(entry, ROOT)
    )
    done = subprocess.run(
        [sys.executable, str(HERE / "no_ssl_child.py"), how, pki.ca, pki.server.both, *args],
        env={**os.environ, "PYTHONPATH": path},
        cwd=pki.folder,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def same(entry: str, folder: Path) -> bool:
    return Path(entry or ".").resolve() == folder


def usual_ciphers() -> str:
    """Return how the cipher list of CPython's own builds begins."""
    return "@SECLEVEL=2:" if sys.version_info >= (3, 10) else "DEFAULT:!aNULL:"


@pytest.mark.parametrize("how", ["back", "front"])
def test_all_the_tls_there_is(how, pki):
    """Without an `_ssl`, https works over sslbind in the place of `_ssl`, and of `ssl`."""
    told = speak(how, pki)
    assert told.startswith(f"{how} {sslbind.OPENSSL_VERSION} {usual_ciphers()}")


def blocks() -> list[str]:
    """Return the shell commands of docs/pypy.md, block by block."""
    return re.findall(r"^```sh\n(.*?)^```", DOC.read_text(encoding="utf-8"), re.S | re.M)


def follow(commands: str, folder: Path) -> None:
    """Run commands of the page in `folder`, with this interpreter as pypy3."""
    bin_folder = folder / "bin"
    if not bin_folder.exists():
        bin_folder.mkdir()
        pypy3 = bin_folder / "pypy3"
        pypy3.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        pypy3.chmod(0o755)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "SSLBIND"))}
    env.update(SSLBIND=str(ROOT), PATH=f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run(
        ["bash", "-euc", commands],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout


@in_source_tree
def test_taken_out_of_the_package(pki, tmp_path):
    """What docs/pypy.md takes is all that the back needs: it runs as `_ssl` without the rest."""
    *copying, build = blocks()
    assert "_ssl_build.py" in build
    follow("".join(copying), tmp_path)
    shutil.copy(BINARY, tmp_path / "lib_pypy" / "_sslbind")
    told = speak("vendored", pki, str(tmp_path / "lib_pypy"))
    assert told.startswith(f"vendored {sslbind.OPENSSL_VERSION} {usual_ciphers()}")


@in_source_tree
@pytest.mark.skipif(
    platform.python_implementation() != "PyPy", reason="the page is about how PyPy builds"
)
def test_built_as_the_page_says(pki, tmp_path):
    """The same with the binary built by the page's own command."""
    follow("".join(blocks()), tmp_path)
    built = list((tmp_path / "lib_pypy" / "_sslbind").glob("_sslbind.*so"))
    assert len(built) == 1
    speak("vendored", pki, str(tmp_path / "lib_pypy"))

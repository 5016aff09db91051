"""Running Python code of a test in a process of its own: for forks, signals, and crashes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

# The child gives up by itself before the parent does, and says where it hung.
_HEADER = """
import faulthandler
faulthandler.dump_traceback_later({limit}, exit=True)
"""


def run_script(body: str, *args: str, limit: float = 60.0) -> str:
    """Run `body` with `args` in a new interpreter; return its output; fail if it does."""
    code = _HEADER.format(limit=limit) + textwrap.dedent(body)
    path = os.pathsep.join([str(HERE), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        # PyPy's own choice goes by the machine, 240 MiB on a server, and would pass for a leak.
        env={"PYPY_GC_NURSERY": "4M", **os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=limit + 10,
    )
    report = f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, report
    return done.stdout


needs_preload = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("cc") is None,
    reason="needs a compiler, and LD_PRELOAD",
)


def preload(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let functions in C stand before those of libraries in later scripts; return their path."""
    built = str(folder / "preloaded.so")
    program = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", built, "-ldl"]
    subprocess.run(program, input=source, text=True, check=True)
    before = os.environ.get("LD_PRELOAD", "")  # a sanitizer's, which must come first
    monkeypatch.setenv("LD_PRELOAD", f"{before}:{built}".strip(":"))
    return built

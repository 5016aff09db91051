"""Running Python code of a test in a process of its own: for forks, signals, and crashes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

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
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=limit + 10,
    )
    report = f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, report
    return done.stdout

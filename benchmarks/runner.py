"""Lets the sides take turns at a row, each in its own process, and keeps what they say.

A batch of one side is followed at once by a batch of the next, and the order turns round every
time, so that what else the machine does falls on all alike. A ratio belongs to one such round.
After a few rounds new processes take over, since where memory came to lie is one process's luck,
and a matter of some per cent.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .scene import Scene, place
from .workloads import ROWS, Row

ROOT = Path(__file__).resolve().parent.parent
#: The C program is a side, too.
BARE = "bare C"
SIDES = ("ssl", "sslbind", "pyopenssl", BARE)
#: PyPy's own choice is half of the last cache. On a server that is more than a warm-up fills, and
#: who comes to the page faults of new memory, in place of TLS, is luck.
NURSERY = {"PYPY_GC_NURSERY": "4M"}


@dataclass(frozen=True)
class Effort:
    """How much time a row gets."""

    #: How often a side's process is started.
    processes: int
    #: Batches of each.
    rounds: int
    batch_seconds: float
    #: Seconds that a side works before it counts; a JIT wants more of it.
    warm_up: float

    @classmethod
    def of(cls, quick: bool, has_jit: bool, processes: int = 5) -> Effort:
        """Return the effort of a run."""
        if quick:
            return cls(1, 3, 0.002, 0.02)
        return cls(processes, 4, 0.03, 1.5 if has_jit else 0.1)


@dataclass
class Result:
    """What came of a row: each side's costs per unit (seconds or bytes), a round each."""

    key: str
    costs: dict[str, list[float]] = field(default_factory=dict)

    def median(self, side: str) -> float | None:
        """Return a side's median cost."""
        return statistics.median(self.costs[side]) if side in self.costs else None

    def ratios(self, over: str, under: str = "sslbind") -> list[float]:
        """Return cost of `over` / cost of `under`, round by round; empty if one is missing."""
        pairs = zip(self.costs.get(over, ()), self.costs.get(under, ()))
        return [one / other for one, other in pairs if other > 0]


class Worker:
    """A side's process for one row."""

    def __init__(self, side: str, row: Row, scene: Scene, python: str) -> None:
        tail = [row.key, scene.folder, str(scene.port)]
        program = [scene.program] if side == BARE else [python, "-m", "benchmarks.worker", side]
        self.side = side
        self.process = subprocess.Popen(
            [*program, *tail],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**NURSERY, **os.environ, "PYTHONPATH": str(ROOT)},
        )
        if not row.threaded:
            place(self.process, measured=True)
        self.answer = self._listen()

    def _listen(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"{self.side}: ended with status {self.process.wait()}")
        return line

    @property
    def supported(self) -> bool:
        """Has this side got the row?"""
        return self.answer.startswith("ready")

    def batch(self, count: int) -> tuple[float, float]:
        """Let it run `count` times; return cost and units."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        cost, units = self._listen().split()
        return float(cost), float(units)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def warm_up(worker: Worker, row: Row, effort: Effort) -> int:
    """Run a side until it is warm; return how many runs make a batch."""
    if row.batch is not None:
        worker.batch(row.batch)
        return row.batch
    wanted = effort.batch_seconds * row.stretch
    seconds = min(effort.warm_up, 0.1) if worker.side == BARE else effort.warm_up
    begin, count = time.monotonic(), 1
    while True:
        cost, _units = worker.batch(count)
        enough = cost >= wanted
        if enough and time.monotonic() - begin >= seconds:
            return max(1, round(count * wanted / cost))
        if not enough:
            count *= 2


def measure_row(
    row: Row, sides: Sequence[str], scene: Scene, python: str, effort: Effort
) -> Result:
    """Return what the sides that have the row need for it."""
    result = Result(row.key)
    processes, rounds = effort.processes * row.luck, effort.rounds
    if row.batch is not None:  # slow, or what is kept counts, and that shows in the long run only
        processes, rounds = 1, max(3, effort.processes)
    for turn in range(processes):
        with contextlib.ExitStack() as stack:
            workers = []
            for side in sides if turn % 2 == 0 else reversed(sides):
                worker = Worker(side, row, scene, python)
                stack.callback(worker.close)
                if worker.supported:
                    workers.append(worker)
            take_turns(workers, row, effort, rounds, result)
    return result


def take_turns(
    workers: list[Worker], row: Row, effort: Effort, rounds: int, result: Result
) -> None:
    """Add to `result` what the workers need for `row`, batch by batch."""
    counts = {worker.side: warm_up(worker, row, effort) for worker in workers}
    for _ in range(rounds):
        for worker in workers:
            cost, units = worker.batch(counts[worker.side])
            result.costs.setdefault(worker.side, []).append(float(f"{cost / units:.4g}"))
        workers.reverse()


def describe(python: str) -> dict[str, Any]:
    """Return the versions that the workers will run with."""
    code = (
        "import json, platform, ssl, sslbind, sys\n"
        "facts = {'implementation': platform.python_implementation(),"
        " 'version': platform.python_version(), 'ssl': ssl.OPENSSL_VERSION,"
        " 'sslbind': sslbind.OPENSSL_VERSION, 'sslbind_version': sslbind.__version__,"
        " 'machine': platform.system() + ' ' + platform.machine(),"
        " 'jit': hasattr(sys, 'pypy_version_info')}\n"
        "try:\n"
        "    import OpenSSL.SSL as pyopenssl\n"
        "except ImportError:\n"
        "    pass\n"
        "else:\n"
        "    facts['pyopenssl'] = pyopenssl.SSLeay_version(0).decode()\n"
        "print(json.dumps(facts))"
    )
    answer = subprocess.run(
        [python, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if answer.returncode:
        raise SystemExit(f"{python}: {answer.stderr.strip().splitlines()[-1]}")
    facts: dict[str, Any] = json.loads(answer.stdout)
    facts["commit"] = commit()
    return facts


def commit() -> str:
    """Return the commit that is measured, "unknown" outside of a clone."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        return answer.stdout.strip()
    return "unknown"


def select(words: Sequence[str]) -> list[Row]:
    """Return the rows whose key or name has one of the words; all for none."""
    found = [row for row in ROWS if not words or any(w in row.key or w in row.name for w in words)]
    if not found:
        raise SystemExit(f"no row has {' or '.join(words)} in its name")
    return found

"""The rows as a pytest-benchmark suite: every row on every side that has it.

    python -m pytest benchmarks --benchmark-timer=time.thread_time [-k recv]

All sides share this process, so the figures are rougher than those of ``python -m benchmarks``.
pytest-benchmark counts seconds; a row whose clock counts something else (memory, the time of an
import, several threads) has its cost per unit in ``extra_info``.
"""

from __future__ import annotations

import time

import pytest

from . import scene, sides, workloads
from .workloads import ROWS, Job, Row


@pytest.fixture(scope="session")
def stage():
    """Certificates and the peer."""
    with scene.make() as made:
        yield made


@pytest.fixture
def job(stage, row: Row, name: str):
    """The row's job on that side."""
    try:
        made = row.prepare(sides.make(name, stage))
    except sides.Unsupported as exc:
        pytest.skip(f"{name}: {exc}")
    yield made
    if made.close is not None:
        made.close()


@pytest.mark.parametrize("name", sides.SIDES)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_row(benchmark, job: Job, row: Row, name: str) -> None:
    benchmark.group = row.name
    if row.clock is not time.thread_time:
        cost, units = benchmark.pedantic(workloads.measure, args=(row, job, row.batch or 1))
        benchmark.extra_info["cost"] = cost / units
        assert units > 0
    elif job.before is None:
        benchmark(job.run)
    else:
        benchmark.pedantic(job.run, setup=job.before, rounds=50, warmup_rounds=5)

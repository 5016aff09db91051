"""The benchmarks run, measure what they say, and write what they found."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import instructions, report, runner, scene, workloads
from benchmarks.runner import BARE, Result

ROOT = Path(__file__).resolve().parent.parent
FACTS = {
    "implementation": "CPython",
    "version": "3.11.7",
    "ssl": "OpenSSL 3.0.22 25 Aug 2026",
    "sslbind": "OpenSSL 3.0.22 25 Aug 2026",
    "machine": "Linux x86_64",
    "jit": False,
    "commit": "abc1234",
}
#: A profile of one of our functions (10 + 5), which calls OpenSSL (900), and of the driver (70).
PROFILE = """\
desc: Trigger: Client Request: 20 something
ob=/x/instructions
fl=/src/io.c
fn=sb_conn_read
12 10
cob=/lib/libssl.so
cfn=SSL_read_ex
calls=1 0
12 900
fi=/src/internal.h
13 5
fl=/x/instructions.c
fn=count
14 70
ob=/lib/libssl.so
fl=???
fn=SSL_read_ex
0 900
"""

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="bare.c needs a compiler")


def result(key: str, **costs: list[float]) -> Result:
    """Return a row's result; `bare` stands for the C program."""
    return Result(key, {BARE if side == "bare" else side: cost for side, cost in costs.items()})


@needs_compiler
def test_the_command_writes_a_table(tmp_path, capsys):
    """Two rows, three sides, in pairs: a table with all of it, headed by the command."""
    base = tmp_path / "deep" / "quick"
    arguments = ["--quick", "--sides", f"ssl,sslbind,{BARE}", "--out", str(base), "object_64_more"]
    assert command.main([*arguments, "send_256k"]) == 0
    printed = capsys.readouterr().out
    text = base.with_suffix(".md").read_text(encoding="utf-8")
    assert f"python -m benchmarks --quick --sides 'ssl,sslbind,{BARE}'" in text
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")][1:]
    assert [row[0].strip() for row in rows] == ["SSLObject 64 B, read(262144)", "sendall(262144)"]
    for row in rows:
        assert row[0].strip() in printed
        stdlib, sslbind, ratio, _spread, _target, _met, bare, distance, other = row[1:]
        for cost in (stdlib, sslbind, bare):
            assert re.match(r" [\d.]+ µs ", cost)
        assert float(ratio.strip(" *")) > 0 and float(distance) > 0 and not other.strip()
    assert base.with_suffix(".json").exists()


@needs_compiler
def test_every_row_runs_on_every_side():
    """The pytest suite, each operation once, with no time taken."""
    pytest.importorskip("pytest_benchmark", reason="the suite needs pytest-benchmark")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "benchmarks", "--benchmark-disable"]
        + ["-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 2 * len(workloads.ROWS) - 2


def test_rows_are_explained_and_known_to_c():
    """README.md has a line for each row, bare.c no row that is not one."""
    lines = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").splitlines()
    explained = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert [row.name for row in workloads.ROWS] == explained[1:]
    keys = re.findall(r'^    \{"(\w+)", ', (ROOT / "benchmarks" / "bare.c").read_text(), re.M)
    assert keys and set(keys) <= set(workloads.BY_KEY)


def test_what_comes_before_a_run_is_not_measured():
    """Only `run` moves the result, and the units are those of all runs."""
    now = [0.0]

    def pass_time(seconds: float) -> None:
        now[0] += seconds

    row = workloads.Row("x", "x", lambda side: job, clock=lambda: now[0])
    job = workloads.Job(lambda: pass_time(2.0), lambda: pass_time(100.0), units=4)
    assert workloads.measure(row, job, 3) == (6.0, 12)
    job.before = None
    assert workloads.measure(row, job, 3) == (6.0, 12)


@pytest.mark.parametrize(
    ("key", "batches"),
    [("send_64", [[7] * 4] * 10), ("idle_memory", [[40] * 5] * 2)],
)
def test_processes_take_over_from_one_another(monkeypatch, key, batches):
    """Five processes a side; but only one with as many batches, if its memory shall grow."""
    workers = []

    class FakeWorker:
        supported = True

        def __init__(self, side, row, stage, python):
            self.side, self.batches, self.open = side, [], True
            assert sum(worker.open for worker in workers) < 2
            workers.append(self)

        def batch(self, count):
            self.batches.append(count)
            return 1.0, 2

        def close(self):
            self.open = False

    monkeypatch.setattr(runner, "Worker", FakeWorker)
    monkeypatch.setattr(runner, "warm_up", lambda worker, row, effort: row.batch or 7)
    effort = runner.Effort.of(quick=False, has_jit=False, processes=5)
    row = workloads.BY_KEY[key]
    measured = runner.measure_row(row, ("ssl", "sslbind"), None, "python", effort)
    assert [worker.batches for worker in workers] == batches
    assert not any(worker.open for worker in workers)
    assert measured.costs == dict.fromkeys(
        ("ssl", "sslbind"), [0.5] * (sum(map(len, batches)) // 2)
    )


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs sched_setaffinity(2) and two processors",
)
def test_what_is_measured_has_a_processor_of_its_own():
    """And what it talks to the others, whatever their numbers are."""
    *others, last = sorted(os.sched_getaffinity(0))
    for measured, expected in ((True, {last}), (False, set(others))):
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            scene.place(process, measured)
            assert os.sched_getaffinity(process.pid) == expected


@pytest.mark.parametrize(("key", "placed"), [("send_64", [True]), ("two_threads", [])])
def test_rows_of_several_threads_have_all_processors(monkeypatch, key, placed):
    """The others stay where they are put."""
    seen = []
    monkeypatch.setattr(runner, "place", lambda process, measured: seen.append(measured))
    monkeypatch.setattr(runner.Worker, "_listen", lambda self: "unsupported")
    worker = runner.Worker("ssl", workloads.BY_KEY[key], scene.Scene("", 0), sys.executable)
    worker.close()
    assert seen == placed


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ({"ssl": [2.0, 2.0, 2.0], "sslbind": [1.0, 1.0, 1.0]}, "yes"),
        ({"ssl": [1.2, 1.2, 1.2], "sslbind": [1.0, 1.0, 1.0]}, "no"),
        ({"ssl": [1.2, 1.2, 2.0, 2.0, 1.0], "sslbind": [1.0] * 5}, "within spread"),
        ({"ssl": [2.0] * 3, "sslbind": [1.0] * 3, "bare": [0.9] * 3}, "no: above C"),
        ({"ssl": [2.0] * 3, "sslbind": [1.0] * 3, "bare": [1.1] * 3}, "yes"),
    ],
)
def test_verdicts(costs, expected):
    """sendall(262144) wants 1.3, and not to need more than C."""
    row = workloads.BY_KEY["send_256k"]
    assert report.verdict(row, result("send_256k", **costs), FACTS) == expected


def test_the_readme_keeps_what_is_around_the_table(tmp_path):
    """Only what is between the marks is replaced, again and again; without marks, nothing."""
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{report.BEGIN}\nold\n{report.END}\nbelow\n", encoding="utf-8")
    results = [result("send_64", ssl=[2.0], sslbind=[1.0])]
    for _ in range(2):
        report.into_readme(readme, results, FACTS, "python -m benchmarks", "chart.png")
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("above\n") and text.endswith("\nbelow\n") and "old" not in text
    assert text.count("| sendall(64) |") == text.count("(chart.png)") == 1
    readme.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError):
        report.into_readme(readme, results, FACTS, "", "")
    assert readme.read_text(encoding="utf-8") == "no marks"


def test_the_project_readme_has_the_marks():
    """`--readme` finds its place."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.index(report.BEGIN) < text.index(report.END)


def test_rows_are_chosen_by_words():
    """A word is looked for in keys and names; one that fits nothing is an error."""
    assert [row.key for row in runner.select(["send_64", "SSLContext"])] == [
        "new_context",
        "send_64",
    ]
    assert len(runner.select([])) == len(workloads.ROWS)
    with pytest.raises(SystemExit, match="no row"):
        runner.select(["nonsense"])


@needs_compiler
def test_the_driver_of_instructions_fits_the_package(tmp_path):
    """It compiles against today's functions, where valgrind's header is."""
    probe = tmp_path / "probe.c"
    probe.write_text("#include <valgrind/callgrind.h>\n", encoding="ascii")
    if subprocess.run(["cc", "-fsyntax-only", probe], capture_output=True).returncode:
        pytest.skip("no header of valgrind's here")
    flags = [f"-I{instructions.PACKAGE}", *scene.openssl_flags()]
    done = subprocess.run(
        ["cc", "-fsyntax-only", "-Wall", "-Werror", *flags, instructions.DRIVER],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_instructions_are_the_package_s_own():
    """Neither the callee's cost nor the driver's is counted; inlined lines are."""
    assert instructions.own_cost(PROFILE.splitlines(), "/x/instructions") == 15


def test_instructions_may_not_grow():
    """More than 5 % over the record, no record, and no count are each a failure."""
    record = {"a": 100.0, "b": 100.0, "gone": 1.0}
    wrong = instructions.check({"a": 105.0, "b": 105.1, "new": 1.0}, record)
    assert [line.split(":")[0] for line in wrong] == ["gone", "b", "new"]


def test_the_record_of_instructions_is_readable():
    """It names its compiler and OpenSSL, and has a count for each operation."""
    where, counts = instructions.read_record()
    assert "OpenSSL" in where
    assert len(counts) > 10 and min(counts.values()) > 0

"""The tables of docs/compatibility.md, written by a run of the ecosystem tests.

A table stands between two HTML comments that name the interpreter. A run rewrites the rows of its
own interpreter for the files that it ran. Rows are libraries, columns ways of use.
"""

from __future__ import annotations

import platform
import sys
from collections import defaultdict
from importlib import metadata
from pathlib import Path

COLUMNS = ("context", "install")


def interpreter() -> str:
    """Return the name that the marks of this interpreter's table bear, such as CPython 3.11."""
    return f"{platform.python_implementation()} {sys.version_info[0]}.{sys.version_info[1]}"


def version(library: str) -> str:
    """Return the installed version of a distribution; "Python" is the interpreter itself."""
    return platform.python_version() if library == "Python" else metadata.version(library)


class Recorder:
    """A pytest plugin: gathers what passed, and writes the table when the run has ended."""

    def __init__(self, page: Path) -> None:
        self._page = page
        self._results = defaultdict(lambda: defaultdict(list))
        self._missing = {}

    def pytest_runtest_logreport(self, report):
        """Note the outcome of one test for its library and way of use."""
        noted = dict(report.user_properties).get("compatibility")
        if noted and (report.when == "call" or report.outcome != "passed"):
            (library, way), subject = noted, _subject(report.nodeid)
            self._results[subject, library][way].append(report)

    def pytest_collectreport(self, report):
        """Note why a whole file was skipped."""
        if report.skipped and "test_eco_" in report.nodeid:
            self._missing[_subject(report.nodeid)] = _reason(report)

    def pytest_sessionfinish(self):
        """Rewrite this interpreter's table."""
        rows = {subject: self._row(subject, library) for subject, library in self._results}
        for subject, reason in self._missing.items():
            rows[subject] = f"| {subject} | | {reason} | |"
        text = self._page.read_text(encoding="utf-8")
        rows = {**rows_of(text, interpreter()), **rows}
        lines = [row for _, row in sorted(rows.items())]
        self._page.write_text(replace(text, interpreter(), _table(lines)), encoding="utf-8")

    def _row(self, subject, library):
        results = self._results[subject, library]
        cells = [_cell(results[way]) for way in COLUMNS]
        return f"| {subject} | {library} {version(library)} | {' | '.join(cells)} |"


def _subject(nodeid: str) -> str:
    """Return what a file is about: `test_eco_http_client.py` is about http_client."""
    return Path(nodeid.partition("::")[0]).stem.replace("test_eco_", "", 1)


def _reason(report) -> str:
    where = report.longrepr
    return str(where[2] if isinstance(where, tuple) else where).replace("Skipped: ", "")


def _cell(reports) -> str:
    if not reports:
        return "–"
    failed = [report for report in reports if report.failed]
    if failed:
        return f"**{len(failed)} of {len(reports)} failed**"
    passed = [report for report in reports if report.passed]
    skipped = sorted({_reason(report) for report in reports if report.skipped})
    return "; ".join([f"{len(passed)} passed"] * bool(passed) + skipped)


def _table(rows) -> str:
    import sslbind

    said = f"{platform.python_implementation()} {platform.python_version()}"
    if hasattr(sys, "pypy_version_info"):
        said = f"PyPy {'.'.join(map(str, sys.pypy_version_info[:3]))} (Python {said.split()[1]})"
    head = f"{said}, {sslbind.OPENSSL_VERSION}, sslbind {sslbind.__version__}, {sys.platform}:"
    title = "| library | version | context | install |\n|---|---|---|---|"
    return "\n".join([head, "", title, *rows])


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- table: {name} -->", f"<!-- end: {name} -->"


def rows_of(text: str, name: str) -> dict[str, str]:
    """Return the rows of the table for the interpreter `name`, each by its subject."""
    begin, end = _marks(name)
    inner = text.partition(begin)[2].partition(end)[0]
    rows = [line for line in inner.splitlines() if line.startswith("| ")]
    return {row.split("|")[1].strip(): row for row in rows[1:]}


def replace(text: str, name: str, table: str) -> str:
    """Return the page `text` with another table for the interpreter `name`.

    Raises: ValueError: the page has no marks for it.
    """
    begin, end = _marks(name)
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"no {begin} with its end in the page")
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"

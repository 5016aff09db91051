"""``python -m benchmarks``: measure, print, and write the table and the chart."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import report, runner, scene
from .runner import ROOT, Result


def options(arguments: list[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "rows", nargs="*", metavar="WORD", help="only rows that have it in the name"
    )
    parser.add_argument("--quick", action="store_true", help="a rough look, in seconds")
    parser.add_argument(
        "--processes",
        type=int,
        default=5,
        metavar="N",
        help="how many a side and row, one after another; --quick: one (default: %(default)s)",
    )
    parser.add_argument("--list", action="store_true", help="print the rows and end")
    parser.add_argument("--python", default=sys.executable, help="the interpreter to measure")
    parser.add_argument("--sides", default=",".join(runner.SIDES), help="default: %(default)s")
    parser.add_argument("--out", metavar="NAME", help="write NAME.md, .png and .json")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md, too")
    args = parser.parse_args(arguments)
    args.sides = args.sides.split(",")
    if not set(args.sides) <= set(runner.SIDES):
        parser.error(f"the sides are {', '.join(runner.SIDES)}")
    if args.processes < 1:
        parser.error("there must be a process")
    if args.readme and not args.out:
        parser.error("--readme shows the chart of --out")
    return args


def write(
    base: Path, results: list[Result], facts: dict[str, Any], command: str, readme: bool
) -> None:
    """Write the files of a run, and README's part of it."""
    base.parent.mkdir(parents=True, exist_ok=True)
    raw = [{"command": command, **facts}, *(asdict(one) for one in results)]
    lines = ",\n".join(json.dumps(one) for one in raw)
    base.with_name(base.name + ".json").write_text(f"[{lines}]\n")
    picture = base.with_name(base.name + ".png")
    chart = picture.name if report.draw(results, facts, picture) else ""
    if not chart:
        print("no chart: matplotlib is not installed", file=sys.stderr)
    text = report.document(results, facts, command, chart)
    base.with_name(base.name + ".md").write_text(text, encoding="utf-8")
    if readme:
        where = picture.resolve().relative_to(ROOT).as_posix() if chart else ""
        report.into_readme(ROOT / "README.md", results, facts, command, where)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    args = options(arguments)
    rows = runner.select(args.rows)
    if args.list:
        print("\n".join(f"{row.key:24}{row.name}" for row in rows))
        return 0
    facts = runner.describe(args.python)
    effort = runner.Effort.of(args.quick, facts["jit"], args.processes)
    command = shlex.join(["python", "-m", "benchmarks", *(arguments or sys.argv[1:])])
    results = []
    print(report.heading(facts))
    with scene.make() as stage:
        for row in rows:
            result = runner.measure_row(row, args.sides, stage, args.python, effort)
            results.append(result)
            print(report.line(row, result, facts), flush=True)
    if args.out:
        write(Path(args.out), results, facts, command, args.readme)
    return 0


if __name__ == "__main__":
    sys.exit(main())

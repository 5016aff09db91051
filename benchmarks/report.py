"""From results to a Markdown table and a chart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .runner import BARE, Result
from .workloads import BY_KEY, Row

BEGIN, END = "<!-- speed: made by python -m benchmarks -->", "<!-- /speed -->"
#: What a cost is shown in.
UNITS = {"us": (1e6, "µs"), "KiB": (1 / 1024, "KiB")}


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def target_of(row: Row, facts: dict[str, Any]) -> float:
    """Return the ratio that a row is to reach on this interpreter."""
    return row.pypy_target if facts["jit"] else row.target


def number(value: float) -> str:
    """Return three figures of it."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cost(result: Result, side: str, unit: str) -> str:
    """Return a side's median cost with its unit, or nothing."""
    value = result.median(side)
    scale, name = UNITS[unit]
    return "" if value is None else f"{number(value * scale)} {name}"


def verdict(row: Row, result: Result, facts: dict[str, Any]) -> str:
    """Say whether a row reaches its target: by its median, or by no more than its spread."""
    ratios = result.ratios("ssl")
    if not ratios:
        return ""
    _low, middle, high = quartiles(ratios)
    wanted = target_of(row, facts)
    bare = result.ratios(BARE)
    if row.beat_c and not facts["jit"] and bare and statistics.median(bare) < 1:
        return "no: above C"
    if middle >= wanted:
        return "yes"
    return "within spread" if high >= wanted else "no"


def line(row: Row, result: Result, facts: dict[str, Any]) -> str:
    """Return a row for the terminal."""
    ratios = result.ratios("ssl")
    middle = number(statistics.median(ratios)) if ratios else ""
    ours = cost(result, "sslbind", row.unit)
    theirs = cost(result, "ssl", row.unit)
    return f"{row.name:52}{theirs:>12}{ours:>12}{middle:>8}  {verdict(row, result, facts)}"


def table(results: Sequence[Result], facts: dict[str, Any]) -> str:
    """Return the Markdown table."""
    lines = [
        "| work | ssl | sslbind | ratio | quartiles | target | met | bare C | sslbind / C "
        "| pyOpenSSL / sslbind |",
        "|---|--:|--:|--:|:-:|--:|:-:|--:|--:|--:|",
    ]
    for result in results:
        row = BY_KEY[result.key]
        ratios = result.ratios("ssl")
        low, middle, high = map(number, quartiles(ratios)) if ratios else ("", "", "")
        bare = result.ratios(BARE)
        other = result.ratios("pyopenssl")
        cells = [
            row.name,
            cost(result, "ssl", row.unit),
            cost(result, "sslbind", row.unit),
            f"**{middle}**" if middle else "",
            f"{low}–{high}" if low else "",
            f"≥ {number(target_of(row, facts))}",
            verdict(row, result, facts),
            cost(result, BARE, row.unit),
            number(1 / statistics.median(bare)) if bare and statistics.median(bare) else "",
            number(statistics.median(other)) if other else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def heading(facts: dict[str, Any]) -> str:
    """Return what was measured, in a line."""
    linked = facts["ssl"].rsplit(" ", 3)[0]
    text = f"{facts['implementation']} {facts['version']}, {linked}, {facts['machine']}"
    if facts["sslbind"] != facts["ssl"]:
        text += f"; sslbind with {facts['sslbind'].rsplit(' ', 3)[0]}"
    return text


def rival(facts: dict[str, Any]) -> list[str]:
    """Return what must be known of pyOpenSSL's column, a paragraph at most."""
    if "pyopenssl" not in facts:
        return []
    return [f"pyOpenSSL runs on an OpenSSL of its own: {facts['pyopenssl']}."]


def picture(chart: str) -> list[str]:
    """Return the chart's paragraph, or none."""
    return [f"![The ratios as a chart]({chart})"] if chart else []


def document(results: Sequence[Result], facts: dict[str, Any], command: str, chart: str) -> str:
    """Return the Markdown file of a run."""
    reached = [verdict(BY_KEY[result.key], result, facts) for result in results]
    parts = [
        f"# {heading(facts)}",
        f"Made by `{command}` at commit {facts['commit']}.",
        "Ratio: cost with the stdlib's ssl / cost with sslbind, the median of interleaved rounds; "
        "more than 1 means that sslbind needs less. Costs are medians, of processor time unless "
        "the row says elapsed or memory. [What the rows mean](../README.md#the-rows).",
        table(results, facts),
        f"{reached.count('yes')} of {len(results)} rows reach their target"
        f" ({reached.count('within spread')} more within their spread).",
    ]
    parts += [*rival(facts), *picture(chart)]
    return "\n\n".join(parts) + "\n"


def draw(results: Sequence[Result], facts: dict[str, Any], path: Path) -> bool:
    """Draw the ratios as bars; return whether matplotlib is there to do it."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [result for result in results if result.ratios("ssl")][::-1]
    figure, axes = pyplot.subplots(figsize=(9, 1.6 + 0.28 * len(shown)), layout="constrained")
    lowest, highest = [1.0], [1.0]
    for place, result in enumerate(shown):
        row = BY_KEY[result.key]
        low, middle, high = quartiles(result.ratios("ssl"))
        wanted = target_of(row, facts)
        color = "#2a9d6f" if middle >= wanted else "#d08a2e" if middle >= 1 else "#c0443c"
        lowest.append(low)
        highest += [high, wanted]
        axes.barh(place, middle - 1, left=1, height=0.7, color=color)
        axes.plot([low, high], [place, place], color="#333333", linewidth=1)
        axes.plot([wanted, wanted], [place - 0.4, place + 0.4], color="#1f4e79", linewidth=2)
        axes.annotate(
            number(middle),
            (max(high, 1, wanted if wanted < 1.6 * max(high, 1) else 0), place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(range(len(shown)), [BY_KEY[result.key].name for result in shown], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(min(0.5, 0.9 * min(lowest)), 1.6 * max(highest))
    axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.axvline(1, color="#333333", linewidth=0.8)
    axes.margins(y=0.01)
    axes.set_xlabel(
        "cost with ssl / cost with sslbind, log scale; thin line: quartiles; blue: the target"
    )
    axes.set_title(heading(facts), fontsize=10)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True


def into_readme(
    readme: Path, results: Sequence[Result], facts: dict[str, Any], command: str, chart: str
) -> None:
    """Replace what stands between the two marks. Raises: ValueError: there are none."""
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{readme} has no {BEGIN} and {END}")
    parts = [f"{heading(facts)}:", table(results, facts), *rival(facts), *picture(chart)]
    parts.append(f"```sh\n{command}\n```")
    new = "\n\n".join(parts)
    readme.write_text(f"{before}{BEGIN}\n\n{new}\n\n{END}{after}", encoding="utf-8")

"""One row of one side, in a process of its own: no side sees what another did to the process.

    python -m benchmarks.worker SIDE ROW FOLDER PORT

Prints ``ready VERSION`` or ``unsupported: WHY``; then, for each number of runs that stdin has,
what they cost (seconds or bytes) and how many units they were. ``bare.c`` talks the same way.
"""

from __future__ import annotations

import os
import sys

from . import sides, workloads
from .scene import Scene


def main() -> None:
    """Take orders until stdin ends."""
    name, key, folder, port = sys.argv[1:]
    row = workloads.BY_KEY[key]
    try:
        side = sides.make(name, Scene(folder, int(port)))
        job = row.prepare(side)
    except sides.Unsupported as exc:
        print(f"unsupported: {exc}", flush=True)
        return
    print("ready", flush=True)
    for line in sys.stdin:
        cost, units = workloads.measure(row, job, int(line))
        print(f"{cost!r} {units!r}", flush=True)
    os._exit(0)  # a loop and its connections need no farewell


if __name__ == "__main__":
    main()

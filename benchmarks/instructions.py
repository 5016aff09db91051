"""Count the instructions that the package's C part needs for its operations, with callgrind.

    python -m benchmarks.instructions            print them
    python -m benchmarks.instructions --check    exit 1 if one is more than 5 % over its record
    python -m benchmarks.instructions --record   write them down in instructions.txt

What OpenSSL and the C library do is left out, so the figure is ours alone and the same on every
machine; another compiler or release of OpenSSL makes another, and is not compared. Needs
``valgrind`` and the extra ``benchmark``.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import scene

HERE = Path(__file__).resolve().parent
RECORD = HERE / "instructions.txt"
DRIVER = HERE / "instructions.c"
PACKAGE = HERE.parent / "src" / "_sslbind"
TOLERANCE = 0.05


def build(output: str) -> None:
    """Compile the driver with the package's sources, optimised as an extension is."""
    sources = [str(DRIVER), *sorted(map(str, PACKAGE.glob("*.c")))]
    scene.build(output, "-g", "-fvisibility=hidden", f"-I{PACKAGE}", *sources)


def own_cost(lines: Iterable[str], program: str) -> int:
    """Return what a callgrind profile says of the package's own functions, callees left out.

    See: Callgrind Format Specification, valgrind's manual. ``fl`` and ``ob`` say whose a function
    is, ``fi`` and ``fe`` where inlined lines come from; after ``calls`` stands the callee's cost.
    """
    total, is_ours, is_callee = 0, False, False
    file = binary = ""
    for line in lines:
        key, _, value = line.rstrip("\n").partition("=")
        if key == "ob":
            binary = value
        elif key == "fl":
            file = value
        elif key == "fn":
            is_ours = binary == program and Path(file).name != DRIVER.name
        elif key == "calls":
            is_callee = True
        elif re.match(r"\d+ \d+$", key):
            if is_ours and not is_callee:
                total += int(key.split()[1])
            is_callee = False
    return total


def count() -> dict[str, float]:
    """Return instructions per operation. Raises: CalledProcessError: the driver failed."""
    counts = {}
    with tempfile.TemporaryDirectory(prefix="sslbind-instructions-") as folder:
        scene.make_certificates(folder)
        program = os.path.join(folder, "instructions")
        build(program)
        subprocess.run(
            [
                *("valgrind", "-q", "--tool=callgrind", "--collect-atstart=no"),
                *("--compress-strings=no", "--compress-pos=no"),
                f"--callgrind-out-file={folder}/profile",
                *(program, folder),
            ],
            check=True,
        )
        for path in Path(folder).glob("profile.*"):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            title = re.search(
                r"^desc: Trigger: Client Request: (\d+) (.+)$", "\n".join(lines), re.M
            )
            if title:
                counts[title[2]] = own_cost(lines, program) / int(title[1])
    return dict(sorted(counts.items()))


def surroundings() -> str:
    """Return what a count depends on besides the package: the compiler and OpenSSL's release."""
    compiler = subprocess.run(
        [*scene.compiler(), "--version"], capture_output=True, text=True, check=True
    )
    macro = subprocess.run(
        [*scene.compiler(), *scene.openssl_flags(), "-E", "-x", "c", "-"],
        input="#include <openssl/opensslv.h>\nOPENSSL_VERSION_MAJOR OPENSSL_VERSION_MINOR\n",
        capture_output=True,
        text=True,
        check=True,
    )
    release = ".".join(macro.stdout.split()[-2:])
    return f"{compiler.stdout.splitlines()[0]}; OpenSSL {release}; {os.uname().machine}"


def read_record() -> tuple[str, dict[str, float]]:
    """Return the surroundings and the counts that are written down."""
    lines = [line for line in RECORD.read_text(encoding="utf-8").splitlines() if line]
    rows = [line.rsplit(None, 1) for line in lines if not line.startswith("#")]
    return lines[0].lstrip("# "), {name: float(number) for name, number in rows}


def write_record(counts: Mapping[str, float]) -> None:
    """Write the counts down."""
    rows = [f"{name:36}{number:12.1f}" for name, number in counts.items()]
    RECORD.write_text(
        f"# {surroundings()}\n"
        "# Instructions per operation, the C part's own; python -m benchmarks.instructions\n"
        + "\n".join(rows)
        + "\n",
        encoding="utf-8",
    )


def check(counts: Mapping[str, float], recorded: Mapping[str, float]) -> list[str]:
    """Return what is wrong: operations that became dearer, came without a record, or are gone."""
    wrong = [f"{name}: no longer counted" for name in recorded if name not in counts]
    for name, number in counts.items():
        if name not in recorded:
            wrong.append(f"{name}: {number:.1f}, without a record")
        elif number > recorded[name] * (1 + TOLERANCE):
            wrong.append(f"{name}: {number:.1f}, recorded {recorded[name]:.1f}")
    return wrong


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="compare with instructions.txt")
    mode.add_argument("--record", action="store_true", help="write instructions.txt")
    args = parser.parse_args(arguments)
    where, recorded = read_record() if RECORD.exists() else ("", {})
    if args.check and where != surroundings():
        print(f"skipped: recorded with {where}; this is {surroundings()}")
        return 0
    counts = count()
    for name, number in counts.items():
        change = f"{number / recorded[name] - 1:+8.1%}" if recorded.get(name) else ""
        print(f"{name:36}{number:12.1f}{change}")
    if args.record:
        write_record(counts)
    wrong = check(counts, recorded) if args.check else []
    for line in wrong:
        print(f"FAILED: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

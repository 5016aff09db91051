"""The command line: arguments and exit statuses. Each command is a module of its own.

Exit statuses: 0 success; 1 the peer or the verification failed; 2 bad arguments, an
unreadable file or a missing extra; 130 interrupted. Errors are one line on stderr. A program
that `run` runs has its own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from sslbind._version import __version__
from sslbind.cli import connect, demo, info, run
from sslbind.cli.report import Failure, one_line, reason

_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command named by `argv` (default: the process's own) and return its exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.run is None:
        parser.print_help()
        return 0
    try:
        # A program's exceptions, streams and status are its own affair.
        status: int = args.run(args) if args.command == "run" else _guarded(args)
        return status
    except Failure as failure:
        sys.stdout.flush()
        print(f"sslbind {args.command}: {failure}", file=sys.stderr)
        return failure.status


def _guarded(args: argparse.Namespace) -> int:
    """Run a command of ours, whose errors are for its user to read."""
    # A certificate may name anything: what the terminal cannot show is escaped, not fatal.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (`| head`) went away; the interpreter's last flush
        # must not complain about it too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"sslbind {args.command}: {reason(error)}", file=sys.stderr)
        return 1


class _Parser(argparse.ArgumentParser):
    """Reports bad arguments in one line; the whole usage is for --help."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {one_line(message)} (see --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m sslbind",
        description="TLS for Python over this machine's OpenSSL: try it, ask it, debug a peer.",
    )
    parser.add_argument("--version", action="version", version=f"sslbind {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for module in (demo, connect, run, info):
        module.add_parser(commands)
    return parser

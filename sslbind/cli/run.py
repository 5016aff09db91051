"""`python -m sslbind run`: a program as Python would run it, with sslbind for its `ssl`."""

from __future__ import annotations

import argparse
import builtins
import importlib.util
import io
import os
import sys
import zipfile
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any, NamedTuple

from sslbind import install
from sslbind._install import VARIABLE
from sslbind.cli.report import Failure, reason

_USAGE = 2  # the status with which Python, too, ends when there is no such program


def add_parser(commands: Any) -> None:
    """Add the command's arguments to the main parser's `commands`."""
    parser = commands.add_parser(
        "run",
        help="run a program, unchanged, with sslbind for its ssl",
        usage="%(prog)s [-h] [--back] (SCRIPT | -m MODULE) [ARGUMENT ...]",
        description="Run a Python program with sslbind.install() done first. Python processes "
        f"that it starts do the same where sslbind is installed: {VARIABLE} is set for them.",
    )
    parser.add_argument(
        "--back",
        action="store_true",
        help="replace the C module _ssl only, and keep the interpreter's own ssl.py",
    )
    parser.add_argument(
        "-m",
        dest="module",
        nargs=argparse.REMAINDER,
        metavar="MODULE [ARGUMENT ...]",
        help="run a module as `python -m` does; what follows is the module's",
    )
    parser.add_argument(
        "script",
        nargs=argparse.REMAINDER,
        metavar="SCRIPT [ARGUMENT ...]",
        help="a file, a directory or a zip archive with a __main__.py",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Become the program; return 0 at its end.

    Its exceptions, SystemExit among them, are for the interpreter to deal with as ever.
    Raises: Failure: there is no such program, or sslbind cannot be installed.
    """
    command = args.script if args.module is None else args.module
    if not command:
        raise Failure("a script, or -m and a module, is needed (see --help)", _USAGE)
    place = "back" if args.back else "front"
    try:
        install(place)
    except RuntimeError as error:
        raise Failure(str(error), _USAGE) from error
    os.environ[VARIABLE] = place
    try:
        program = _script(command) if args.module is None else _module(command)
        main = program.become_main()
        exec(program.code, vars(main))
    except Failure:
        raise
    except BaseException:
        _hide_our_frames()
        raise
    return 0


class _Program(NamedTuple):
    """Code, and what its module `__main__` says of itself."""

    code: CodeType
    file: str | None
    spec: ModuleSpec | None
    loader: Any

    def become_main(self) -> ModuleType:
        """Make a new `__main__`. It stays when the program has ended: threads may need it."""
        main = ModuleType("__main__")
        main.__spec__ = self.spec
        main.__loader__ = self.loader
        main.__package__ = self.spec.parent if self.spec else None
        vars(main).update(__builtins__=builtins, __cached__=self.spec.cached if self.spec else None)
        if self.file is not None:
            main.__file__ = self.file
        sys.modules["__main__"] = main
        return main


def _script(command: list[str]) -> _Program:
    """Read a file, directory or zip archive as ``python SCRIPT`` does, and set argv and path."""
    path = command[0]
    file = os.path.abspath(path)
    sys.argv[:] = command
    if not os.path.isfile(path) or zipfile.is_zipfile(path):
        _put_first(file, always=True)
        spec = PathFinder.find_spec("__main__", [file])
        if spec is None:
            kind = "find '__main__' module in" if os.path.exists(path) else "open file"
            raise Failure(f"can't {kind} {path!r}", _USAGE)
        return _from_spec(spec)
    try:
        with io.open_code(file) as opened:
            source = opened.read()
    except OSError as error:
        raise Failure(f"can't open file {path!r}: {reason(error)}", _USAGE) from error
    _put_first(os.path.dirname(os.path.realpath(path)))
    code = compile(source, file, "exec", dont_inherit=True)
    return _Program(code, file, None, SourceFileLoader("__main__", file))


def _module(command: list[str]) -> _Program:
    """Find a module as ``python -m MODULE`` does, and set argv."""
    name = command[0]
    sys.argv[:] = ["-m", *command[1:]]
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name += ".__main__"
            spec = importlib.util.find_spec(name)
    except ValueError as error:  # such as __main__, which has no spec
        raise Failure(f"cannot run {name}: {reason(error)}", _USAGE) from error
    except ModuleNotFoundError as error:
        # A parent of it is missing; anything else is a fault of the program's own.
        if not f"{name}.".startswith(f"{error.name}."):
            raise
        spec = None
    if spec is None:
        raise Failure(f"no module named {name}", _USAGE)
    program = _from_spec(spec)
    sys.argv[0] = program.file or name
    return program


def _from_spec(spec: ModuleSpec) -> _Program:
    """Return the program that a module is.

    Raises: Failure: it has no Python code.
    """
    get_code = getattr(spec.loader, "get_code", None)
    code = None if get_code is None else get_code(spec.name)
    if code is None:
        raise Failure(f"no code object available for {spec.name}", _USAGE)
    return _Program(code, spec.origin if spec.has_location else None, spec, spec.loader)


def _put_first(folder: str, always: bool = False) -> None:
    """Put a folder at the head of `sys.path`, where `python -m` has put the current one.

    With -P and -I it has not, and there a script's own folder does not belong either.
    """
    if not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
        sys.path[0] = folder
    elif always:
        sys.path.insert(0, folder)


def _hide_our_frames() -> None:
    """Let the traceback of what is being raised begin with the program's own code."""
    hook = sys.excepthook

    def without_ours(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> Any:
        while trace is not None and trace.tb_frame.f_code is not run.__code__:
            trace = trace.tb_next
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        return hook(kind, error.with_traceback(trace), trace)

    sys.excepthook = without_ours

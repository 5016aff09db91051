"""The process of one ecosystem test: makes `ssl` what the way of use says, then calls the test.

    python child.py WAY BEFORE FILE FUNCTION FOLDER ARGUMENTS

BEFORE is a library that patches the standard library first, or nothing; FOLDER has the
certificates; ARGUMENTS is the JSON of the function's other arguments.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib.util
import json
import os
import sys

LIMIT = 120  # seconds until a hanging test says where it hangs, and ends
PATIENCE = 0.2  # seconds that threads are given to end
TASKS = "/proc/self/task"  # the threads that the kernel knows; on Linux only
SKIPPED = 77  # exit status; the last line of the output is the reason


def patch(library: str) -> None:
    """Let a library of green threads replace what blocks."""
    if library == "gevent":
        from gevent import monkey

        monkey.patch_all()
    elif library == "eventlet":
        # Its DNS imports dnspython, that httpx, that trio, which wants sockets with sendmsg().
        os.environ["EVENTLET_NO_GREENDNS"] = "yes"
        import eventlet

        eventlet.monkey_patch()


def load(path: str):
    """Return the module at `path`."""
    spec = importlib.util.spec_from_file_location("test_module", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def is_fit_to_exit() -> bool:
    """Give servers' threads the time to end: one that does so in exit() crashes now and then.

    OpenSSL clears up there, and a thread that ends frees its part of the same: OPENSSL_cleanup(3).
    It does so after its join() has returned. PyPy closes what it waits for when that is collected.
    Returns False if daemon threads alone stay: the interpreter waits for any other, and should
    that one hang, it has to be seen.
    """
    import threading  # not earlier: what patches it comes first
    import time

    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        gc.collect()
        if (len(os.listdir(TASKS)) if os.path.isdir(TASKS) else threading.active_count()) == 1:
            return True
        time.sleep(0.01)  # until the kernel has let a thread go there is nothing to wait on
    return not all(
        thread.daemon or thread is threading.main_thread() for thread in threading.enumerate()
    )


def main(way: str, before: str, path: str, name: str, folder: str, arguments: str) -> None:
    """Run one test function; what it raises ends the process."""
    import sslbind

    stdlib = sys.modules["ssl"]
    if way == "install":
        sslbind.install()
    patch(before)

    import asyncio
    import inspect
    from pathlib import Path

    import pytest
    from world import World

    test = getattr(load(path), name)
    world = World(way, Path(folder), sslbind, stdlib)
    try:
        done = test(world, **json.loads(arguments))
        if inspect.iscoroutine(done):
            asyncio.run(done)
    except pytest.skip.Exception as skipped:
        print(skipped)
        sys.exit(SKIPPED)
    world.check()
    if not is_fit_to_exit():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    main(*sys.argv[1:])

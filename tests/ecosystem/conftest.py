"""Tests that take `world` run in processes of their own, once per way of use.

Options:

    --way WAY              only this one: context, install; or stdlib, to try the tests themselves
    --compatibility FILE   rewrite this interpreter's table in docs/compatibility.md by the run
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import child
import compatibility
import pytest
from daemons import mariadb, postgres, redis_server  # noqa: F401  (fixtures)

HERE = Path(__file__).resolve().parent
WAYS = ("context", "install")
LIMIT = child.LIMIT + 30  # seconds; the child gives up by itself before


def pytest_addoption(parser):
    """Add the options above."""
    group = parser.getgroup("ecosystem")
    group.addoption("--way", choices=(*WAYS, "stdlib"), help="the only way of use to test")
    group.addoption("--compatibility", type=Path, metavar="FILE", help="the page to rewrite")


def pytest_configure(config):
    """Register the markers of these tests, and the writer of the page."""
    for line in (
        "library(name): the distribution that a test proves, or 'Python' for the stdlib's",
        "before(name): a library that patches the standard library before anything else",
        "ways(*names): the ways of use that exist, where it is not all",
    ):
        config.addinivalue_line("markers", line)
    page = config.getoption("--compatibility", None)
    if page is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(compatibility.Recorder(page), "compatibility")


def pytest_generate_tests(metafunc):
    """Repeat the tests that take `world` for each way of use."""
    if "world" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("ways")
    ways = marker.args if marker else WAYS
    only = metafunc.config.getoption("--way", None)
    if only is not None:
        none = pytest.mark.skipif(only not in (*ways, "stdlib"), reason=f"not by {only}")
        ways = [pytest.param(only, marks=none)]
    metafunc.parametrize("world", ways, indirect=True)


@pytest.fixture
def world(request, pki):
    """The way of use and the folder of the certificates; in the child it is a `World`."""
    return request.param, str(pki.folder)


def _marked(item, name):
    marker = item.get_closest_marker(name)
    return marker.args[0] if marker else ""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Note for the page which library and way of use a test is about."""
    if "world" in item.fixturenames:
        way = item.callspec.params["world"]
        item.user_properties.append(("compatibility", [_marked(item, "library"), way]))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run a test that takes `world` in a process of its own."""
    if "world" not in pyfuncitem.fixturenames:
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    way, folder = arguments.pop("world")
    path = os.pathsep.join([str(HERE), *filter(None, sys.path)])
    done = subprocess.run(
        [
            *(sys.executable, str(HERE / "child.py"), way, _marked(pyfuncitem, "before")),
            *(str(pyfuncitem.path), pyfuncitem.originalname, folder, json.dumps(arguments)),
        ],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    report = f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    if done.returncode == child.SKIPPED:
        pytest.skip(done.stdout.splitlines()[-1])
    assert done.returncode == 0, report
    return True

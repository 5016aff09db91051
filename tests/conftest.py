"""Fixtures that every test file shares.

The stdlib's `ssl` is the oracle: a test that takes `mod` runs on both modules, so what it says
about sslbind is first of all true of the stdlib.
"""

from __future__ import annotations

import importlib
import ssl

import pytest
from links import FAMILIES, VERSIONS, Link, Wire, shaken_pair
from outcomes import ORACLE
from pki import Pki

import sslbind

MODULES = {"sslbind": sslbind, "ssl": ssl} if ORACLE else {"sslbind": sslbind}


@pytest.fixture(scope="session")
def pki(tmp_path_factory) -> Pki:
    """The tests' certificates, made once per process."""
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(params=MODULES)
def mod(request):
    """The module under test, then the oracle."""
    return MODULES[request.param]


@pytest.fixture
def backend(mod):
    """The `_ssl` module below `mod`."""
    return importlib.import_module("sslbind._ssl" if mod is sslbind else "_ssl")


@pytest.fixture(params=VERSIONS)
def version(request) -> str:
    """A TLS version, by its name in `TLSVersion`."""
    return request.param


@pytest.fixture(params=FAMILIES)
def family(request) -> str:
    """The kind of socket below: the two differ in what the kernel can peek and discard."""
    return request.param


@pytest.fixture(params=("client", "server"))
def role(request) -> str:
    """The end that the module under test plays."""
    return request.param


@pytest.fixture
def link(pki):
    """A maker of `Link`s that closes them after the test."""
    made = []

    def make(*args, **kwargs):
        made.append(Link(args[0], pki, *args[1:], **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.__exit__()


@pytest.fixture
def wire(pki):
    """A maker of `Wire`s that closes them after the test."""
    made = []

    def make(*args, **kwargs):
        made.append(Wire(args[0], pki, *args[1:], **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.__exit__()


@pytest.fixture
def pair(pki):
    """A maker of two objects joined by memory BIOs, after their handshake."""

    def make(mod, version=None, **kwargs):
        return shaken_pair(mod, pki, version, **kwargs)

    return make

"""`sslbind.install()` beside eventlet's monkey-patching, whichever comes first."""

from __future__ import annotations

import pytest
from scripts import run_script

pytest.importorskip("eventlet", reason="eventlet is not installed")

# Steps of a program; the exchange needs both ends to give way to each other in one thread.
SCRIPT = """
import os, sys, warnings
os.environ["EVENTLET_NO_GREENDNS"] = "yes"  # with it, eventlet and trio cannot be in one process

order, place, ca, chain = sys.argv[1:]
def patch():
    import eventlet
    eventlet.monkey_patch()
def install():
    import sslbind
    warnings.simplefilter("error", sslbind.InstallWarning)
    sslbind.install(place)
def libraries():
    import switched
for step in order.split():
    globals()[step]()

import eventlet, eventlet.green.ssl, switched, sslbind
def start(function):
    job = eventlet.spawn(function)
    return job.wait

def check(ours):
    import ssl
    green = eventlet.green.ssl
    assert (ssl.SSLSocket, ssl.SSLContext) == (green.SSLSocket, green.SSLContext)
    if not ours and sys.implementation.name == "pypy":
        return  # its own ssl blocks in handshakes under eventlet, sslbind or not
    with eventlet.Timeout(switched.DEADLINE):
        assert switched.sockets(ca, chain, start) == {ours}
        for program in (switched.web, switched.mail):
            assert program(ca, chain) == {ours}, program

check(True)
sslbind.uninstall()
check(False)
with sslbind.install(place):
    check(True)
check(False)
print("done")
"""

ORDERS = (
    "patch libraries install",
    "patch install libraries",
    "install patch libraries",
)


@pytest.mark.parametrize("place", ("front", "back"))
@pytest.mark.parametrize("order", ORDERS)
def test_eventlet(pki, order, place):
    """Greenlets give way to each other over sslbind, and over the stdlib's ssl when it is back."""
    assert run_script(SCRIPT, order, place, pki.ca, pki.server.both) == "done\n"

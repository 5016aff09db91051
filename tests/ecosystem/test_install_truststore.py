"""`sslbind.install()` beside truststore's injection, whichever comes first."""

from __future__ import annotations

import sys

import pytest
from scripts import run_script

if sys.version_info < (3, 10):
    pytest.skip("truststore needs Python 3.10", allow_module_level=True)
pytest.importorskip("truststore", reason="truststore is not installed")

SCRIPT = """
import sys, warnings

order, place, ca, chain = sys.argv[1:]
def inject():
    import truststore
    truststore.inject_into_ssl()
def install():
    import sslbind
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", sslbind.InstallWarning)
        sslbind.install(place)
    # truststore forgets a second name that urllib3 has for the class, and urllib3 does not use.
    assert all(" TLS: urllib3.util (SSLContext). " in str(each.message) for each in caught)
def libraries():
    import switched
    try:
        import urllib3.util.ssl_
    except ImportError:
        pass
for step in order.split():
    globals()[step]()

import switched, sslbind, truststore

def check(ours):
    import ssl
    assert ssl.SSLContext is sys.modules["truststore"].SSLContext
    assert switched.sockets(ca, chain) == {ours}
    for program in (switched.streams, switched.web, switched.mail):
        assert program(ca, chain) == {ours}, program
    if "urllib3" in sys.modules:
        assert sys.modules["urllib3.util.ssl_"].SSLContext is ssl.SSLContext

check(True)
sslbind.uninstall()
check(False)
with sslbind.install(place):
    check(True)
check(False)
sys.modules["truststore"].extract_from_ssl()
import ssl
assert ssl.SSLContext.__module__ == "ssl"
print("done")
"""

ORDERS = (
    "inject libraries install",
    "libraries inject install",
    "inject install libraries",
    "install inject libraries",
    "install libraries inject",
)


@pytest.mark.parametrize("place", ("front", "back"))
@pytest.mark.parametrize("order", ORDERS)
def test_truststore(pki, order, place):
    """truststore's contexts are made of sslbind's, and of the stdlib's when these are back."""
    assert run_script(SCRIPT, order, place, pki.ca, pki.server.both) == "done\n"

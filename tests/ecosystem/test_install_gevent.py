"""`sslbind.install()` beside gevent's monkey-patching, whichever comes first."""

from __future__ import annotations

import pytest
from scripts import run_script

pytest.importorskip("gevent", reason="gevent is not installed")

# Steps of a program; the exchange needs both ends to give way to each other in one thread.
SCRIPT = """
import sys, warnings
warnings.filterwarnings("ignore", "Monkey-patching ssl after ssl", Warning)

order, place, ca, chain = sys.argv[1:]
def patch():
    from gevent import monkey
    monkey.patch_all()
def install():
    import sslbind
    warnings.simplefilter("error", sslbind.InstallWarning)
    sslbind.install(place)
def libraries():
    import switched
for step in order.split():
    globals()[step]()

import gevent, switched, sslbind
def start(function):
    job = gevent.spawn(function)
    return lambda: job.get(timeout=switched.DEADLINE)

def check(ours):
    import ssl
    assert (ssl.SSLSocket, ssl.SSLContext) == (gevent.ssl.SSLSocket, gevent.ssl.SSLContext)
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
    "libraries install patch",
)


@pytest.mark.parametrize("place", ("front", "back"))
@pytest.mark.parametrize("order", ORDERS)
def test_gevent(pki, order, place):
    """Greenlets give way to each other over sslbind, and over the stdlib's ssl when it is back."""
    assert run_script(SCRIPT, order, place, pki.ca, pki.server.both) == "done\n"


def test_gevent_unpatched(pki):
    """A gevent.ssl that patches nothing is built on sslbind as well, and its old self comes back.

    Contexts that were made with it before go on working: their module is left alone.
    """
    out = run_script(
        """
        import sys
        import gevent, gevent.ssl, gevent.socket, ssl
        import sslbind, sslbind._ssl
        ca, chain = sys.argv[1:]
        kept = [gevent.ssl]  # not as a global, where install() would exchange it

        def exchange(module, server):
            ours, theirs = gevent.socket.socketpair()
            client = module.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            client.load_verify_locations(ca)
            def serve():
                with server.wrap_socket(theirs, server_side=True) as conn:
                    conn.sendall(b"x" * 100_000)
            job = gevent.spawn(serve)
            with client.wrap_socket(ours, server_hostname="localhost") as conn:
                heard = b""
                while len(heard) < 100_000:
                    heard += conn.recv(65536)
                kind = type(conn._sslobj)
            job.get(timeout=20)
            return kind

        def server(module):
            context = module.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain)
            return context

        earlier = server(kept[0])
        with sslbind.install():
            assert gevent.ssl is sys.modules["gevent.ssl"] is not kept[0]
            assert exchange(gevent.ssl, server(gevent.ssl)) is sslbind._ssl._SSLSocket
            earlier.options |= ssl.OP_NO_COMPRESSION
            assert exchange(kept[0], earlier) is not sslbind._ssl._SSLSocket
            assert ssl.SSLContext is sslbind.SSLContext
            assert sslbind.SSLContext.__module__ == "sslbind._context"
        assert gevent.ssl is sys.modules["gevent.ssl"] is kept[0]
        print("done")
        """,
        pki.ca,
        pki.server.both,
    )
    assert out == "done\n"

"""A process whose interpreter has no `_ssl`: sslbind is all the TLS there is.

``no_ssl_child.py HOW CA SERVER [FOLDER]``, HOW being one of:

back      `sslbind._ssl` becomes `_ssl`, and the interpreter's own ssl.py runs on it
front     `sslbind` becomes `ssl`
vendored  FOLDER, first on sys.path, has an `_ssl` of its own, as docs/pypy.md makes it
"""

from __future__ import annotations

import faulthandler
import http.client
import http.server
import sys
import threading
import urllib.request

faulthandler.dump_traceback_later(60, exit=True)

BODY = bytes(range(256)) * 4096  # 1 MiB
HOW, CA, SERVER, *FOLDER = sys.argv[1:]

# http.client does without ssl where there is none; it is imported again once there is.
for name in ("ssl", "_ssl", "http.client", "urllib.request", "http.server"):
    sys.modules.pop(name, None)

if HOW == "vendored":
    sys.path.insert(0, FOLDER[0])
else:
    sys.modules["_ssl"] = None  # type: ignore[assignment]  # from now on, importing it fails
    if HOW == "back":
        import sslbind._ssl

        sys.modules["_ssl"] = sslbind._ssl
    else:
        import sslbind

        sys.modules["ssl"] = sslbind

import http.client  # noqa: E402
import http.server  # noqa: E402
import ssl  # noqa: E402
import urllib.request  # noqa: E402, F811


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every request with the same body."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *args):
        """Keep quiet."""


class Server(http.server.HTTPServer):
    """Serves one request after the other; a client that leaves early is no news."""

    def handle_error(self, request, client_address):
        """Keep quiet."""


def check_what_runs():
    """Fail unless it is sslbind that this process speaks TLS by."""
    back = sys.modules["_ssl"]
    front = ssl.SSLContext.__mro__[0].__module__
    if HOW == "front":
        assert back is None and ssl.__name__ == "sslbind", (back, ssl)
        assert type(ssl.create_default_context()).__module__ == "sslbind._context"
        return
    assert back.__name__ == ("sslbind._ssl" if HOW == "back" else "_sslbind._ssl"), back
    assert ssl._ssl is back and front == "ssl", (ssl._ssl, front)
    if HOW == "vendored":
        assert "sslbind" not in sys.modules


def check_errors():
    """Fail unless the exceptions are as CPython's."""
    error = ssl.SSLError(1, "text")
    assert str(error) == "text" and error.errno == 1
    assert not hasattr(error, "library")
    assert str(ssl.SSLError("alone")) == "('alone',)"
    assert issubclass(ssl.SSLCertVerificationError, (ssl.SSLError, ValueError))
    assert ssl.SSLError.__module__ == "ssl"


def check_https():
    """Fail unless a server and clients of the standard library talk HTTPS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SERVER)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_port
    trusting = ssl.create_default_context(cafile=CA)
    client = http.client.HTTPSConnection("localhost", port, context=trusting, timeout=20)
    for _ in range(2):
        client.request("GET", "/")
        assert client.getresponse().read() == BODY
    client.close()
    with urllib.request.urlopen(f"https://localhost:{port}", context=trusting, timeout=20) as file:
        assert file.read() == BODY
    try:
        http.client.HTTPSConnection("localhost", port, timeout=20).request("GET", "/")
    except ssl.SSLCertVerificationError as exc:
        assert exc.verify_code in (18, 19, 20) and exc.reason == "CERTIFICATE_VERIFY_FAILED"
    else:
        raise AssertionError("a stranger's certificate was accepted")
    server.shutdown()
    server.server_close()


check_what_runs()
check_errors()
check_https()
print(HOW, ssl.OPENSSL_VERSION, ssl._ssl._DEFAULT_CIPHERS)

"""The demo's HTTPS server and client: the stdlib's own, over sslbind.

Imported late: http.client looks for `ssl` once, when it is imported itself.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
from collections.abc import Iterator
from typing import Any

import sslbind

GREETING = b"Hello over sslbind.\n"
_TIMEOUT = 30  # seconds


class _Greeter(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection, and with it what the demo asks of it

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(GREETING)))
        self.end_headers()
        self.wfile.write(GREETING)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the demo's output to itself."""


@contextlib.contextmanager
def server(pem: str) -> Iterator[int]:
    """Serve HTTPS with the key and chain in the file `pem`; yields the port."""
    context = sslbind.SSLContext(sslbind.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Greeter) as httpd:
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield httpd.server_address[1]
        finally:
            httpd.shutdown()
            thread.join()


@contextlib.contextmanager
def client(host: str, port: int, cafile: str) -> Iterator[Any]:
    """An HTTPSConnection that trusts the CAs in `cafile` and nobody else, closed at the end."""
    context = sslbind.create_default_context(cafile=cafile)
    conn = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT, context=context)
    try:
        yield conn
    finally:
        conn.close()

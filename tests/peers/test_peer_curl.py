"""curl as the client of an HTTPS server over sslbind (http.server, unchanged)."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import random
import ssl
import subprocess
import sys
import threading

import pytest
from links import server_context as new_server

import sslbind

DEADLINE = 60  # seconds for one run of curl
BODY = random.Random(2).randbytes(1 << 20) * 50  # 50 MiB
DIGEST = hashlib.sha256(BODY).hexdigest()
CERTIFICATE_PROBLEM = 60  # curl's exit statuses (curl(1), EXIT CODES)


class Handler(http.server.BaseHTTPRequestHandler):
    """GET /large sends the body, GET /tls describes the connection, PUT returns a digest."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._answer(BODY if self.path == "/large" else self._description())

    def do_PUT(self):
        digest = hashlib.sha256()
        left = int(self.headers["Content-Length"])
        while left:
            piece = self.rfile.read(min(left, 1 << 20))
            left -= len(piece)
            digest.update(piece)
        self._answer(digest.hexdigest().encode())

    def _description(self):
        conn = self.connection
        subject = (conn.getpeercert() or {}).get("subject")
        return f"{conn.version()} {conn.selected_alpn_protocol()} {subject}".encode()

    def _answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """Shakes hands in each connection's own thread and keeps the errors it meets."""

    def __init__(self, context):
        super().__init__(("127.0.0.1", 0), Handler)
        self._context = context
        self.errors = []

    def finish_request(self, request, client_address):
        request.settimeout(DEADLINE)
        with self._context.wrap_socket(request, server_side=True) as conn:
            super().finish_request(conn, client_address)

    def handle_error(self, request, client_address):
        self.errors.append(sys.exc_info()[1])


@pytest.fixture
def https(server_context):
    """Start a server with the given context arguments; returns it, listening."""
    with contextlib.ExitStack() as stack:

        def start(alpn=(), context=None, **arguments):
            context = context or server_context(**arguments)
            if alpn:
                context.set_alpn_protocols(list(alpn))
            server = stack.enter_context(Server(context))
            # Joined by server_close, so that `errors` is complete by then.
            server.daemon_threads = False
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return server

        yield start


@pytest.fixture
def curl(program, pki):
    """Run curl against a server's path; returns the finished process."""
    path = program("curl")

    def run(server, *arguments, url="/tls", cafile=None):
        # -q first: no ~/.curlrc. The name resolves without asking anyone.
        port = server.server_address[1]
        command = [path, "-q", "--silent", "--show-error", "--noproxy", "*", "--http1.1"]
        command += ["--resolve", f"localhost:{port}:127.0.0.1", "--cacert", cafile or pki.ca]
        command += [*arguments, f"https://localhost:{port}{url}"]
        return subprocess.run(command, check=False, capture_output=True, timeout=DEADLINE)

    return run


def test_version(https, curl, version):
    """curl gets the version that the server allows."""
    finished = curl(https(version=version))
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.decode().startswith(version.replace("_", "."))


@pytest.mark.parametrize("highest", ["1.2", "1.3"])
def test_version_chosen_by_curl(https, curl, highest):
    """The server takes the version that curl allows."""
    finished = curl(https(), "--tls-max", highest)
    assert finished.stdout.decode().startswith(f"TLSv{highest}")


def test_alpn(https, curl, version):
    """curl offers http/1.1, and the server agrees."""
    finished = curl(https(version=version, alpn=["http/1.1"]))
    assert finished.stdout.decode().split()[1] == "http/1.1"


def test_large_download(https, curl, version):
    """50 MiB written by one sendall arrive whole."""
    finished = curl(https(version=version), url="/large")
    assert finished.returncode == 0, finished.stderr
    assert hashlib.sha256(finished.stdout).hexdigest() == DIGEST


def test_large_upload(https, curl, version, tmp_path):
    """50 MiB read through the socket's file arrive whole."""
    source = tmp_path / "body"
    source.write_bytes(BODY)
    finished = curl(https(version=version), "--upload-file", str(source), url="/upload")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.decode() == DIGEST


def test_keep_alive(https, curl, version):
    """Ten requests of one curl make one connection."""
    server = https(version=version)
    again = [f"https://localhost:{server.server_address[1]}/tls"] * 9
    finished = curl(server, "--write-out", "\n%{num_connects}\n", *again)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.decode().splitlines()[1::2] == ["1"] + ["0"] * 9


def test_unknown_ca(https, curl, pki, version):
    """A curl that trusts another CA goes away, and the server learns why, if curl says so.

    Some, as 8.23, look at the certificate after the handshake: the stdlib's server tells.
    """
    told = []
    for mod in (sslbind, ssl):
        server = https(context=new_server(mod, pki, version))
        finished = curl(server, cafile=pki.other_ca)
        server.server_close()
        assert finished.returncode == CERTIFICATE_PROBLEM
        told.append([(isinstance(e, ssl.SSLError), e.reason) for e in server.errors])
    assert told[0] == told[1]
    assert told[0] in ([(True, "TLSV1_ALERT_UNKNOWN_CA")], [])


def test_wrong_host(https, curl, pki, version):
    """A certificate for another name is refused by curl."""
    finished = curl(https(version=version, cert=pki.wrong_host))
    assert finished.returncode == CERTIFICATE_PROBLEM


def test_client_certificate(https, curl, pki, version):
    """The handler sees whose certificate curl brought."""
    server = https(version=version, client_ca=pki.ca)
    finished = curl(server, "--cert", pki.client.cert, "--key", pki.client.key)
    assert finished.returncode == 0, finished.stderr
    assert "'commonName', 'a client'" in finished.stdout.decode()


@pytest.mark.parametrize("leaf", [None, "unknown"])
def test_client_certificate_missing_or_unknown(https, curl, pki, version, leaf):
    """Without a certificate that the server trusts there is no answer."""
    server = https(version=version, client_ca=pki.ca)
    cert = getattr(pki, leaf) if leaf else None
    finished = curl(server, *(["--cert", cert.cert, "--key", cert.key] if cert else []))
    server.server_close()
    assert finished.returncode != 0
    assert finished.stdout == b""
    (error,) = server.errors
    assert isinstance(error, sslbind.SSLError)
    if leaf is None:
        assert error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    else:
        assert isinstance(error, sslbind.SSLCertVerificationError)

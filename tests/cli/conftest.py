"""The command line as a user runs it, and servers for it to look at."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import subprocess
import sys
import threading

import pytest

DEADLINE = 60  # seconds for one run of the program, and for any single socket operation


@pytest.fixture
def cli():
    """Run `python -m sslbind` with arguments; returns the finished process, its output as text."""

    def run(*arguments, prelude=None, **options):
        command = [sys.executable, "-m", "sslbind", *arguments]
        if prelude is not None:
            # The same program, in an interpreter where `prelude` has run before.
            start = "import runpy; runpy.run_module('sslbind', run_name='__main__')"
            command = [sys.executable, "-c", f"{prelude}; {start}", *arguments]
        return subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            **options,
        )

    return run


@pytest.fixture
def fails():
    """Assert that a run failed with a status and one line of error, and return that line."""

    def check(finished, status=1):
        assert "Traceback" not in finished.stderr
        assert finished.returncode == status, finished.stderr
        (line,) = finished.stderr.splitlines()
        return line

    return check


class Server(socketserver.ThreadingTCPServer):
    """Gives each accepted socket to `talk`, whose network errors are the client's business."""

    daemon_threads = True

    def __init__(self, talk, host):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), None)
        self._talk = talk

    def finish_request(self, request, client_address):
        request.settimeout(DEADLINE)
        with contextlib.suppress(OSError):
            self._talk(request)


@pytest.fixture
def serve():
    """Serve plain sockets with a function; returns the port."""
    with contextlib.ExitStack() as stack:

        def start(talk, host="127.0.0.1"):
            server = stack.enter_context(Server(talk, host))
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return server.server_address[1]

        yield start


@pytest.fixture
def shake(pki):
    """Make the server's part of a TLS connection, by the stdlib: shake hands, wait for the end."""

    def make(leaf=None, version=None, alpn=(), client_ca=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain((leaf or pki.server).both)
        if version is not None:
            context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)

        def talk(plain):
            with context.wrap_socket(plain, server_side=True) as conn:
                while conn.recv(4096):
                    pass

        return talk

    return make

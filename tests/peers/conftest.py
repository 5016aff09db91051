"""Contexts, programs and readiness for the tests against real peers on loopback.

Every program is optional: where it is missing, its tests are skipped with that reason.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sslbind

DEADLINE = 30  # seconds for a program to start and for any single socket operation
START_TRIES = 5  # a port that was free may be taken before the program binds it


@pytest.fixture
def client_context(pki):
    """Make a verifying client context, optionally of one version and with a certificate."""

    def make(version=None, cert=None):
        context = sslbind.create_default_context(cafile=pki.ca)
        _pin(context, version)
        if cert is not None:
            context.load_cert_chain(cert.both)
        return context

    return make


def _pin(context, version):
    if version is not None:
        context.minimum_version = context.maximum_version = sslbind.TLSVersion[version]


@pytest.fixture
def server_context(pki):
    """Make a server context, optionally of one version and asking for client certificates."""

    def make(version=None, cert=None, client_ca=None):
        context = sslbind.SSLContext(sslbind.PROTOCOL_TLS_SERVER)
        context.load_cert_chain((cert or pki.server).both)
        _pin(context, version)
        if client_ca is not None:
            context.verify_mode = sslbind.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        return context

    return make


@pytest.fixture
def serve_once(server_context):
    """Accept one TLS connection in a thread and give it to `talk`.

    Returns (port, future of the result of `talk`); errors of the handshake are in the future.
    """
    with contextlib.ExitStack() as stack:

        def start(talk, **context_arguments):
            context = context_arguments.pop("context", None) or server_context(**context_arguments)
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            listener.settimeout(DEADLINE)
            pool = stack.enter_context(ThreadPoolExecutor(1))
            return listener.getsockname()[1], pool.submit(_accept, listener, context, talk)

        yield start


def _accept(listener, context, talk):
    plain, _ = listener.accept()
    plain.settimeout(DEADLINE)
    with plain, context.wrap_socket(plain, server_side=True) as conn:
        return talk(conn)


@pytest.fixture(scope="session")
def program():
    """Return the path of a program, or skip the test."""

    def find(name):
        # Debian keeps daemons in directories that are not on every user's PATH.
        path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
        found = shutil.which(name, path=path)
        if found is None:
            pytest.skip(f"{name} is not installed")
        return found

    return find


@pytest.fixture(scope="session")
def daemon():
    """Start a listening program: `command(ports)` gives its argument list; returns the ports."""
    with contextlib.ExitStack() as stack:

        def start(command, log: Path, ports=1):
            for _ in range(START_TRIES):
                numbers = _free_ports(ports)
                with open(log, "wb") as out:
                    process = subprocess.Popen(
                        command(*numbers), stdin=subprocess.DEVNULL, stdout=out, stderr=out
                    )
                stack.callback(_stop, process)
                if all(_listening(process, number) for number in numbers):
                    return numbers
            raise AssertionError(f"{process.args[0]} does not start:\n{log.read_text()}")

        yield start


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [server.getsockname()[1] for server in servers]


def _listening(process, port):
    """Wait until `port` accepts; False once the process has ended."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.01)
            return False
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE).close()
            return True
    raise AssertionError(f"{process.args[0]} does not listen on port {port}")


def _stop(process):
    process.terminate()
    try:
        process.wait(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

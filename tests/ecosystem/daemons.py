"""Fixtures with servers that are programs: redis, PostgreSQL and MariaDB, each once per process.

A program that is not installed skips the tests that want it.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

DEADLINE = 60  # seconds for a program to be ready
PLACES = ("/usr/sbin", "/usr/local/sbin", *glob.glob("/usr/lib/postgresql/*/bin"))


def program(name: str) -> str:
    """Return the path of a program, or skip the test."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *PLACES]))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def free_port() -> int:
    """Return a port of the loopback that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(command, log: Path, port: int, **options):
    """Run a server until the end of the block; it listens when the block begins."""
    with open(log, "wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options
        )
    try:
        pause = threading.Event()
        while True:
            assert process.poll() is None, f"{command[0]} does not start:\n{log.read_text()}"
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=DEADLINE).close()
                break
            pause.wait(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(DEADLINE)


@pytest.fixture(scope="session")
def redis_server(pki, tmp_path_factory):
    """A redis-server that speaks TLS; its port."""
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    options = {
        "bind": "127.0.0.1",
        "port": 0,
        "tls-port": port,
        "tls-cert-file": pki.server.cert,
        "tls-key-file": pki.server.key,
        "tls-ca-cert-file": pki.ca,
        "tls-auth-clients": "no",
        "save": "",
        "dir": folder,
    }
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    with running([program("redis-server"), *words], folder / "log", port):
        yield port


@contextlib.contextmanager
def _owned_folder(user):
    """A directory that the user of a server can use; the server refuses to run as root."""
    folder = Path(tempfile.mkdtemp(prefix="sslbind-"))
    try:
        if user is not None:
            shutil.chown(folder, user, user)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_user(user):
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


def _postgres_user():
    """Return whom to run PostgreSQL as: Debian's user of it for root, else ourselves."""
    return "postgres" if os.getuid() == 0 else None


@pytest.fixture(scope="session")
def postgres(pki):
    """A PostgreSQL server that offers TLS; its port. User and database are `postgres`."""
    server, user, port = program("postgres"), _postgres_user(), free_port()
    with _owned_folder(user) as folder:
        data, certificate, key = folder / "data", folder / "server.crt", folder / "server.key"
        make = [program("initdb"), "-D", data, "-U", "postgres", "--auth=trust", "--no-sync"]
        subprocess.run(make, check=True, capture_output=True, timeout=DEADLINE, **_as_user(user))
        shutil.copy(pki.server.cert, certificate)
        shutil.copy(pki.server.key, key)
        key.chmod(0o600)
        if user is not None:
            shutil.chown(key, user, user)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": folder,
            "fsync": "off",
            "ssl": "on",
            "ssl_cert_file": certificate,
            "ssl_key_file": key,
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [server, "-D", data, *words]
        with running(command, folder / "log", port, cwd=folder, **_as_user(user)):
            yield port


@pytest.fixture(scope="session")
def mariadb(pki):
    """A MariaDB server that offers TLS; its port. There are no accounts: every user may enter."""
    server, port = program("mariadbd"), free_port()
    installer = program("mariadb-install-db")
    with _owned_folder(None) as folder:
        data = folder / "data"
        as_root = ["--user=root"] if os.getuid() == 0 else []
        make = [installer, "--no-defaults", f"--datadir={data}", *as_root]
        subprocess.run(make, check=True, capture_output=True, timeout=DEADLINE)
        command = [
            *(server, "--no-defaults", f"--datadir={data}", *as_root, "--skip-grant-tables"),
            *(f"--socket={folder}/socket", "--bind-address=127.0.0.1", f"--port={port}"),
            *("--skip-networking=0", "--max-allowed-packet=64M"),
            *(f"--ssl-cert={pki.server.cert}", f"--ssl-key={pki.server.key}"),
        ]
        with running(command, folder / "log", port):
            yield port

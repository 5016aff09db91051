"""What every measurement needs around it: certificates, the C program, and the peer it serves."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOST = "localhost"
SOURCE = Path(__file__).resolve().parent / "bare.c"


@dataclass(frozen=True)
class Scene:
    """A folder with ``ca.pem``, ``server.pem`` (chain and key) and the C program; a peer's port.

    The peer is the C program as a server. It obeys lines: ``send CHUNK TOTAL RATE`` (bytes a
    write, bytes, bytes per second or 0), ``sink TOTAL`` (answers ``.`` when it has them all),
    and ``GET /SIZE ...`` as an HTTP server would.
    """

    folder: str
    port: int

    @property
    def ca(self) -> str:
        """The path of the authority's certificate."""
        return os.path.join(self.folder, "ca.pem")

    @property
    def server(self) -> str:
        """The path of the server's chain with its key."""
        return os.path.join(self.folder, "server.pem")

    @property
    def program(self) -> str:
        """The path of the C program."""
        return os.path.join(self.folder, "bare")


def make_certificates(folder: str) -> None:
    """Write ``ca.pem`` and ``server.pem`` (P-256), from a throw-away authority."""
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(os.path.join(folder, "ca.pem"))
    leaf = authority.issue_cert(HOST)
    leaf.private_key_and_cert_chain_pem.write_to_path(os.path.join(folder, "server.pem"))


def openssl_flags() -> list[str]:
    """Return the compiler's options for OpenSSL, found as the package's own build finds it."""
    prefix = os.environ.get("SSLBIND_OPENSSL_DIR")
    if prefix:
        libraries = [str(Path(prefix) / name) for name in ("lib64", "lib")]
        paths = [flag for path in libraries for flag in (f"-L{path}", f"-Wl,-rpath,{path}")]
        return [f"-I{prefix}/include", *paths, "-lssl", "-lcrypto"]
    command = [*shlex.split(os.environ.get("PKG_CONFIG", "pkg-config")), "--cflags", "--libs"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        answer = subprocess.run([*command, "openssl"], capture_output=True, text=True, check=True)
        return shlex.split(answer.stdout)
    return ["-lssl", "-lcrypto"]


def compiler() -> list[str]:
    """Return the command of the C compiler."""
    return shlex.split(os.environ.get("CC", "cc"))


def build(output: str, *sources: str) -> None:
    """Compile C sources (options may stand among them). Raises: SystemExit: it cannot."""
    command = [*compiler(), "-O2", "-o", output, *sources, *openssl_flags(), "-lpthread"]
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        raise SystemExit(f"needs a C compiler and OpenSSL's headers: {exc}") from exc


def place(process: subprocess.Popen[str], measured: bool) -> None:
    """Keep what is measured on one processor, and what it talks to on the others.

    The scheduler's choice is luck that lasts as long as a process: two of one program differed by
    half. sched_setaffinity(2); where a system has no such call, or one processor, nothing happens.
    """
    if hasattr(os, "sched_setaffinity"):
        *others, last = sorted(os.sched_getaffinity(0))
        if others:
            os.sched_setaffinity(process.pid, [last] if measured else others)


@contextlib.contextmanager
def make() -> Iterator[Scene]:
    """Set the scene, and clear it away at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="sslbind-benchmarks-") as folder:
        make_certificates(folder)
        program = os.path.join(folder, "bare")
        build(program, str(SOURCE))
        # It ends when its standard input does, so even if this process is killed.
        with subprocess.Popen(
            [program, "serve", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as peer:
            assert peer.stdout is not None
            place(peer, measured=False)
            try:
                yield Scene(folder, int(peer.stdout.readline()))
            finally:
                peer.kill()

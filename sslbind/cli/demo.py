"""`python -m sslbind demo`: HTTPS, throughput and a rejected certificate, all on loopback.

Needs nothing but this machine: the certificates come from a throw-away CA (`trustme`).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import sslbind
from sslbind._version import __version__
from sslbind.cli import report
from sslbind.cli.report import Failure, field, heading

if TYPE_CHECKING:
    import trustme

_HOST = "localhost"
_ROUNDS = 3  # the best of three, interleaved: other work on the machine hits both sides alike


def add_parser(commands: Any) -> None:
    """Add the command's arguments to the main parser's `commands`."""
    parser = commands.add_parser(
        "demo", help="serve and fetch HTTPS on loopback, measure, reject a certificate"
    )
    parser.add_argument(
        "--size",
        type=_megabytes,
        default=100,
        metavar="MB",
        help="megabytes to move each way (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show everything; return 0, or raise Failure where a step did not do what it must."""
    has_stdlib = _stand_in_for_stdlib()
    ca, server_pem, stranger_pem = _certificates()
    print(
        f"sslbind {__version__} on {platform.python_implementation()} "
        f"{platform.python_version()}, {sslbind.OPENSSL_VERSION}"
    )
    with tempfile.TemporaryDirectory(prefix="sslbind-demo-") as folder:
        files = {"ca": ca, "server": server_pem, "stranger": stranger_pem}
        paths = {name: os.path.join(folder, f"{name}.pem") for name in files}
        for name, pem in files.items():
            with open(paths[name], "wb") as out:
                out.write(pem)
        _show_https(paths)
        _show_throughput(paths, args.size, has_stdlib)
        _show_rejection(paths)
    return 0


def _megabytes(text: str) -> int:
    size = int(text)
    if not 1 <= size <= 100_000:
        raise argparse.ArgumentTypeError("a number of megabytes from 1 to 100000")
    return size


def _stand_in_for_stdlib() -> bool:
    """Return whether the interpreter has `ssl`; if not, let others import sslbind by that name.

    Before anything imports http.client, which has no HTTPSConnection where `ssl` is missing.
    """
    try:
        import ssl  # noqa: F401
    except ImportError:
        sys.modules["ssl"] = sslbind
        return False
    return True


def _certificates() -> tuple[bytes, bytes, bytes]:
    """Return PEM bytes: the CA, a server certificate from it, one from a CA nobody trusts."""
    try:
        import trustme
    except ImportError:
        raise Failure(
            "needs the package trustme for its certificates: pip install 'sslbind[demo]'", 2
        ) from None
    ca = trustme.CA(organization_name="sslbind demo")
    return ca.cert_pem.bytes(), _server_pem(ca), _server_pem(trustme.CA())


def _server_pem(ca: trustme.CA) -> bytes:
    return ca.issue_cert(_HOST, "127.0.0.1").private_key_and_cert_chain_pem.bytes()


def _show_https(paths: dict[str, str]) -> None:
    from sslbind.cli import https

    heading("HTTPS with full verification: http.server and http.client over sslbind")
    with https.server(paths["server"]) as port, https.client(_HOST, port, paths["ca"]) as client:
        client.request("GET", "/")
        response = client.getresponse()
        body = response.read()
        field("request", f"GET https://{_HOST}:{port}/")
        field("response", f"{response.status} {response.reason}, {len(body)} bytes")
        if body != https.GREETING:
            raise Failure(f"the server's answer was altered: {body[:60]!r}")
        report.connection(client.sock)
        report.certificate(client.sock.getpeercert())
        field("verified", f"by the throw-away CA, for the name {_HOST}")


def _show_throughput(paths: dict[str, str], size: int, has_stdlib: bool) -> None:
    from sslbind.cli import throughput

    heading(f"Throughput: {size} MB each way between two processes, the best of {_ROUNDS} runs")
    modules = ["sslbind", "ssl"] if has_stdlib else ["sslbind"]
    best: dict[str, throughput.Rates] = {module: throughput.Rates(0.0, 0.0) for module in modules}
    with contextlib.ExitStack() as stack:
        ports = {
            module: stack.enter_context(throughput.peer(module, paths["server"], size))
            for module in modules
        }
        for turn in range(_ROUNDS):
            # Neither side always goes first.
            for module in modules[:: -1 if turn % 2 else 1]:
                rates = throughput.measure(module, paths["ca"], _HOST, ports[module], size)
                best[module] = throughput.Rates(*map(max, zip(best[module], rates)))
    _print_rates(best)


def _print_rates(best: dict[str, Any]) -> None:
    ours, theirs = best["sslbind"], best.get("ssl")
    print(f"  {'':<15} {'sslbind':>12} {'stdlib ssl':>12} {'ratio':>7}")
    for index, direction in enumerate(("to the server", "to the client")):
        row = f"  {direction:<15} {_rate(ours[index]):>12} "
        if theirs is None:
            print(f"{row}{'-':>12} {'-':>7}")
        else:
            print(f"{row}{_rate(theirs[index]):>12} {ours[index] / theirs[index]:>7.2f}")
    if theirs is None:
        print("  This interpreter's standard library has no ssl: nothing to compare with.")


def _rate(megabytes_per_second: float) -> str:
    return f"{megabytes_per_second:,.0f} MB/s"


def _show_rejection(paths: dict[str, str]) -> None:
    from sslbind.cli import https

    heading("A certificate from a CA that nobody trusts")
    with https.server(paths["stranger"]) as port, https.client(_HOST, port, paths["ca"]) as client:
        field("request", f"GET https://{_HOST}:{port}/")
        try:
            client.request("GET", "/")
        except sslbind.SSLCertVerificationError as error:
            field("rejected", f"{type(error).__name__}: {report.reason(error)}")
            field("because", f"{error.verify_message} (code {error.verify_code})")
            return
    raise Failure("the certificate of an unknown CA was accepted")

"""`python -m sslbind` itself: help, version, bad arguments."""

from __future__ import annotations

import pytest

from sslbind._version import __version__


def test_alone_it_prints_help(cli):
    """Without a command the user is told which there are."""
    finished = cli()
    assert finished.returncode == 0
    for word in ("usage:", "demo", "connect", "info"):
        assert word in finished.stdout


def test_version(cli):
    """--version names the package's version."""
    finished = cli("--version")
    assert (finished.returncode, finished.stdout) == (0, f"sslbind {__version__}\n")


@pytest.mark.parametrize("command", ["demo", "connect", "info"])
def test_every_command_has_help(cli, command):
    """--help of a command exits 0."""
    finished = cli(command, "--help")
    assert finished.returncode == 0
    assert "usage:" in finished.stdout


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["dance"], "dance"),
        (["--nonsense"], "--nonsense"),
        (["connect"], "HOST"),
        (["connect", ""], "no host"),
        (["connect", ":443"], "no host"),
        (["connect", "localhost:"], "not a port"),
        (["connect", "localhost:https"], "not a port"),
        (["connect", "localhost:0"], "not a port"),
        (["connect", "localhost:65536"], "not a port"),
        (["connect", "localhost:-1"], "not a port"),
        (["connect", "localhost:" + "9" * 5000], "not a port"),
        (["connect", "localhost:\u0664\u0664\u0663"], "not a port"),
        (["connect", "[::1"], "not HOST[:PORT]"),
        (["connect", "[::1]443"], "not HOST[:PORT]"),
        (["connect", "localhost", "--alpn", "h2,,http/1.1"], "1 to 255"),
        (["connect", "localhost", "--alpn", "x" * 256], "1 to 255"),
        (["connect", "localhost", "--starttls", "gopher"], "gopher"),
        (["connect", "localhost", "--timeout", "0"], "seconds"),
        (["connect", "localhost", "--timeout", "nan"], "seconds"),
        (["connect", "localhost", "--timeout", "inf"], "seconds"),
        (["connect", "localhost", "--timeout", "soon"], "soon"),
        (["connect", "localhost", "--max-version", "1.4"], "1.4"),
        (["connect", "localhost", "--min-version", "1.3", "--max-version", "1.2"], "above"),
        (["connect", "localhost", "--key", "x.pem"], "needs --cert"),
        (["demo", "--size", "0"], "1 to 100000"),
        (["demo", "--size", "-5"], "1 to 100000"),
        (["demo", "--size", "many"], "many"),
    ],
)
def test_bad_arguments(cli, fails, arguments, words):
    """A bad argument gives one line that names it, and status 2."""
    assert words in fails(cli(*arguments), status=2)

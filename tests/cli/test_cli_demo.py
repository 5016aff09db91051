"""`python -m sslbind demo`: with a small size, since what counts here is that it works."""

from __future__ import annotations

import re


def test_demo(cli):
    """It fetches, measures, rejects, and exits 0."""
    finished = cli("demo", "--size", "2")
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    for words in ("200 OK", "TLSv1.3", "DNS:localhost", "SSLCertVerificationError", "(code 20)"):
        assert words in finished.stdout


def test_throughput_of_both_sides(cli):
    """Both directions show both modules and their ratio."""
    output = cli("demo", "--size", "1").stdout
    row = r"  to the (server|client)\s+[\d,]+ MB/s\s+[\d,]+ MB/s\s+\d+\.\d\d"
    assert [found.group(1) for found in re.finditer(row, output)] == ["server", "client"]


def test_without_stdlib_ssl(cli):
    """Where the interpreter has no `ssl` it says so and does the rest."""
    finished = cli("demo", "--size", "1", prelude="import sys; sys.modules['_ssl'] = None")
    assert finished.returncode == 0, finished.stderr
    assert "has no ssl" in finished.stdout
    assert "200 OK" in finished.stdout
    assert "SSLCertVerificationError" in finished.stdout


def test_without_trustme(cli, fails):
    """The extra that is missing is named in one line."""
    finished = cli("demo", prelude="import sys; sys.modules['trustme'] = None")
    assert "sslbind[demo]" in fails(finished, status=2)

"""`python -m sslbind info`."""

from __future__ import annotations

import json
import platform

import sslbind
from sslbind._version import __version__


def test_text(cli):
    """The sheet names versions, features and paths."""
    finished = cli("info")
    assert finished.returncode == 0
    for words in (__version__, sslbind.OPENSSL_VERSION, platform.python_version(), "TLSv1_3"):
        assert words in finished.stdout


def test_json(cli):
    """--json gives the same as data."""
    sheet = json.loads(cli("info", "--json").stdout)
    assert sheet["sslbind"] == __version__
    assert sheet["openssl"] == sslbind.OPENSSL_VERSION
    assert sheet["implementation"] == platform.python_implementation()
    assert sheet["features"]["HAS_TLSv1_3"] is sslbind.HAS_TLSv1_3
    assert sheet["verify_paths"]["cafile"]["path"]


def test_verify_paths_say_whether_they_exist(cli, tmp_path, monkeypatch):
    """The variables that OpenSSL reads are shown, with what they point to."""
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    paths = json.loads(cli("info", "--json").stdout)["verify_paths"]
    assert paths["SSL_CERT_DIR"] == {"path": str(tmp_path), "exists": True}
    assert paths["SSL_CERT_FILE"] == {"path": str(tmp_path / "missing.pem"), "exists": False}


def test_without_stdlib_ssl(cli):
    """An interpreter without `ssl` is told so, and nothing fails."""
    finished = cli("info", prelude="import sys; sys.modules['_ssl'] = None")
    assert finished.returncode == 0, finished.stderr
    assert "this interpreter has none" in finished.stdout

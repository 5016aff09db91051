"""`python -m sslbind connect` against servers of the stdlib's ssl."""

from __future__ import annotations

import socket
import struct
from types import SimpleNamespace

import pytest
import trustme
from outcomes import NOT_YET_VALID


def test_report(cli, serve, shake, pki, version):
    """A verified handshake is described in full, with status 0."""
    port = serve(shake(version=version, alpn=["h2"]))
    finished = cli("connect", f"localhost:{port}", "--cafile", pki.ca, "--alpn", "h2,http/1.1")
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    fields = dict(line.split(None, 1) for line in finished.stdout.splitlines() if " " in line)
    assert fields["version"].strip() == version.replace("_", ".")
    assert fields["ALPN"].strip() == "h2"
    assert fields["result"].strip() == "verified"
    assert "session ticket  yes" in finished.stdout
    assert "as verified" in finished.stdout
    assert "certificate 1" in finished.stdout  # the chain goes up to the CA
    assert "DNS:localhost, IP Address:127.0.0.1" in finished.stdout


def test_version_limits(cli, serve, shake, pki):
    """--max-version is what the server is offered."""
    port = serve(shake())
    finished = cli("connect", f"localhost:{port}", "--cafile", pki.ca, "--max-version", "1.2")
    assert "TLSv1.2" in finished.stdout


@pytest.mark.parametrize(
    "leaf, words",
    [
        ("expired", "certificate has expired (code 10)"),
        ("not_yet", f"{NOT_YET_VALID} (code 9)"),
        ("self_signed", "self-signed certificate (code 18)"),
        ("unknown", "unable to get local issuer certificate (code 20)"),
        ("wrong_host", "certificate is not valid for 'localhost' (code 62)"),
    ],
)
def test_rejected_certificate(cli, fails, serve, shake, pki, version, leaf, words):
    """The reason is given, and the chain is shown all the same; status 1."""
    port = serve(shake(getattr(pki, leaf), version=version))
    finished = cli("connect", f"localhost:{port}", "--cafile", pki.ca)
    assert words in fails(finished)
    (result,) = [line for line in finished.stdout.splitlines() if "FAILED: " in line]
    assert words in result
    assert "as the server sent it" in finished.stdout
    assert "certificate 0" in finished.stdout


def test_servername(cli, serve, shake, pki):
    """Another name is asked for and verified."""
    port = serve(shake(pki.wrong_host))
    arguments = ["--cafile", pki.ca, "--servername", "elsewhere.example"]
    finished = cli("connect", f"localhost:{port}", *arguments)
    assert finished.returncode == 0, finished.stderr


def test_insecure(cli, serve, shake, pki):
    """--insecure accepts anything, and says that nothing was checked."""
    port = serve(shake(pki.unknown))
    finished = cli("connect", f"localhost:{port}", "--insecure")
    assert finished.returncode == 0, finished.stderr
    assert "not checked (--insecure)" in finished.stdout


def test_client_certificate(cli, serve, shake, pki, version):
    """A server that wants a certificate is satisfied."""
    port = serve(shake(version=version, client_ca=pki.ca))
    arguments = ["--cafile", pki.ca, "--cert", pki.client.cert, "--key", pki.client.key]
    finished = cli("connect", f"localhost:{port}", *arguments)
    assert finished.returncode == 0, finished.stderr


def test_client_certificate_missing(cli, fails, serve, shake, pki, version):
    """The refusal is an error, also where it comes after the handshake (TLS 1.3)."""
    port = serve(shake(version=version, client_ca=pki.ca))
    finished = cli("connect", f"localhost:{port}", "--cafile", pki.ca)
    late = "refused after the handshake" in fails(finished)
    assert late == (version == "TLSv1_3")
    assert ("verified" in finished.stdout) == late  # our part of the report is not lost


def test_ipv6(cli, serve, shake, pki):
    """An address in brackets, with its port, is dialled and verified as an address."""
    try:
        port = serve(shake(), host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    finished = cli("connect", f"[::1]:{port}", "--cafile", pki.ca)
    assert finished.returncode == 0, finished.stderr
    assert f"::1 port {port}" in finished.stdout


def test_plaintext_peer(cli, fails, serve):
    """A server that does not speak TLS is named as such."""
    port = serve(lambda plain: plain.sendall(b"220 hello\r\n" * 10) or plain.recv(4096))
    line = fails(cli("connect", f"127.0.0.1:{port}", "--insecure"))
    assert "does not speak TLS" in line


def test_peer_closes(cli, fails, serve):
    """A server that hangs up at once."""
    port = serve(lambda plain: None)
    assert "handshake failed" in fails(cli("connect", f"127.0.0.1:{port}"))


def test_peer_resets(cli, fails, serve):
    """A server that resets the connection once it has heard from us."""

    def reset(plain):
        plain.recv(1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    line = fails(cli("connect", f"127.0.0.1:{serve(reset)}"))
    assert "handshake failed" in line


def test_silent_peer(cli, fails, serve):
    """--timeout ends the wait for a server that says nothing."""

    def listen_only(plain):
        while plain.recv(4096):
            pass

    line = fails(cli("connect", f"127.0.0.1:{serve(listen_only)}", "--timeout", "0.2"))
    assert "timed out" in line


def test_refused(cli, fails):
    """Nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    line = fails(cli("connect", f"127.0.0.1:{port}"))
    assert "Connection refused" in line


def test_unresolvable(cli, fails):
    """A name that cannot exist (RFC 6761 6.4)."""
    assert "cannot resolve nosuch.invalid" in fails(cli("connect", "nosuch.invalid"))


def test_not_a_name(cli, fails):
    """A label longer than the 63 bytes of RFC 1035."""
    assert "not a valid host name" in fails(cli("connect", "a" * 64 + ".example"), status=2)


@pytest.mark.parametrize("option", ["--cafile", "--cert"])
@pytest.mark.parametrize("file", ["missing", "garbage", "empty"])
def test_bad_file(cli, fails, pki, option, file):
    """A file that is not there or holds no PEM is named; nobody is called."""
    path = getattr(pki, file)
    assert path in fails(cli("connect", "127.0.0.1:1", option, path), status=2)


def test_locked_key_without_terminal(cli, fails, pki):
    """A key that needs a pass phrase nobody can type."""
    finished = cli("connect", "127.0.0.1:1", "--cert", pki.locked, start_new_session=True)
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr


def test_names_cannot_drive_the_terminal(cli, serve, shake, tmp_path):
    """Control characters in a certificate are shown escaped, not sent to the terminal."""
    evil = trustme.CA().issue_cert("localhost", common_name="\x1b[2J\r\nresult verified")
    path = str(tmp_path / "evil.pem")
    evil.private_key_and_cert_chain_pem.write_to_path(path)
    port = serve(shake(SimpleNamespace(both=path)))
    output = cli("connect", f"localhost:{port}", "--insecure").stdout
    assert "\\x1b[2J\\r\\nresult verified" in output
    assert "\x1b" not in output

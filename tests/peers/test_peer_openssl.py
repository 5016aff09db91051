"""sslbind against OpenSSL's own programs: `openssl s_server` and `openssl s_client`."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import subprocess
import threading

import pytest
from outcomes import NOT_YET_VALID

import sslbind

DEADLINE = 30  # seconds
LARGE = bytes(range(256)) * 20_000  # 5 MB


# --------------------------------------------------------------------------- s_server


@pytest.fixture
def s_server(program, pki):
    """Start `openssl s_server` with extra arguments; returns its port."""
    openssl = program("openssl")
    with contextlib.ExitStack() as stack:

        def start(*arguments, leaf=None):
            command = [openssl, "s_server", "-accept", "127.0.0.1:0", "-cert"]
            command += [(leaf or pki.server).both, "-key", (leaf or pki.server).both, *arguments]
            process = stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,  # at its end s_server would end too
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            )
            stack.callback(process.kill)
            watchdog = threading.Timer(DEADLINE, process.kill)
            stack.callback(watchdog.cancel)
            watchdog.start()
            return _announced_port(process)

        yield start


def _announced_port(process):
    seen = []
    for line in process.stdout:
        seen.append(line.decode())
        announced = re.match(r"ACCEPT .*:(\d+)$", seen[-1].strip())
        if announced:
            # From here on nobody needs its words, but a full pipe would stop it.
            threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
            return int(announced.group(1))
    raise AssertionError("openssl s_server does not start: " + "".join(seen))


def _drain(stream):
    with contextlib.suppress(ValueError):  # closed while we read
        for _ in stream:
            pass


def dial(port, context, **arguments):
    plain = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    return context.wrap_socket(plain, server_hostname="localhost", **arguments)


def status_page(conn):
    """Return what `s_server -www` says about the connection."""
    conn.sendall(b"GET / HTTP/1.0\r\n\r\n")
    return b"".join(iter(lambda: conn.recv(65536), b"")).decode()


def test_status_page_agrees(s_server, client_context, version):
    """The server's view of version and cipher is ours."""
    port = s_server("-www")
    with dial(port, client_context(version)) as conn:
        page = status_page(conn)
        assert f"New, {conn.version()}, Cipher is {conn.cipher()[0]}" in page


def test_alpn(s_server, client_context, version):
    """The server's order decides."""
    port = s_server("-www", "-alpn", "two,one")
    context = client_context(version)
    context.set_alpn_protocols(["one", "two"])
    with dial(port, context) as conn:
        assert conn.selected_alpn_protocol() == "two"


def test_session_is_resumed(s_server, client_context, version):
    """A session saved from one connection shortens the next, and the server says so."""
    port = s_server("-www")
    context = client_context(version)
    with dial(port, context) as first:
        assert status_page(first).count("New, ") == 1
        session = first.session
        assert session.has_ticket
    with dial(port, context, session=session) as second:
        assert second.session_reused
        assert status_page(second).count("Reused, ") == 1


def test_client_certificate(s_server, client_context, pki, version):
    """A server that insists on a certificate is given ours, and shows whose it is."""
    port = s_server("-www", "-Verify", "1", "-verify_return_error", "-CAfile", pki.ca)
    with dial(port, client_context(version, pki.client)) as conn:
        assert "Client certificate" in status_page(conn)


def test_client_certificate_is_missing(s_server, client_context, pki, version):
    """The refusal is an SSLError: in the handshake of TLS 1.2, at the first read of TLS 1.3."""
    port = s_server("-www", "-Verify", "1", "-verify_return_error", "-CAfile", pki.ca)
    with pytest.raises(sslbind.SSLError) as caught, dial(port, client_context(version)) as conn:
        assert version == "TLSv1_3"
        conn.recv(1)
    expected = {
        # The same code under its newer name, where OpenSSL no longer has SSLv3.
        "TLSv1_2": {"SSLV3_ALERT_HANDSHAKE_FAILURE", "TLS_ALERT_HANDSHAKE_FAILURE"},
        "TLSv1_3": {"TLSV13_ALERT_CERTIFICATE_REQUIRED"},
    }
    assert caught.value.reason in expected[version]


@pytest.mark.parametrize(
    "leaf, code, message",
    [
        ("unknown", 20, "unable to get local issuer certificate"),
        ("self_signed", 18, "self-signed certificate"),
        ("expired", 10, "certificate has expired"),
        ("not_yet", 9, NOT_YET_VALID),
        ("wrong_host", 62, "Hostname mismatch, certificate is not valid for 'localhost'."),
    ],
)
def test_rejected_chain(s_server, client_context, pki, version, leaf, code, message):
    """A bad certificate ends the handshake with OpenSSL's own code and words."""
    port = s_server("-www", leaf=getattr(pki, leaf))
    with pytest.raises(sslbind.SSLCertVerificationError) as caught:
        dial(port, client_context(version))
    assert (caught.value.verify_code, caught.value.verify_message) == (code, message)


def test_intermediate_is_sent(s_server, client_context, pki, version):
    """A chain of three certificates is built and verified."""
    port = s_server("-www", "-cert_chain", pki.through.cert, leaf=pki.through)
    with dial(port, client_context(version)) as conn:
        assert len(conn.get_verified_chain()) == 3


@pytest.mark.filterwarnings("ignore:ssl NPN is deprecated")
@pytest.mark.skipif(not sslbind.HAS_NPN, reason="this OpenSSL has no NPN")
def test_npn(s_server, client_context):
    """NPN, of TLS 1.2 and before: the client chooses from what the server lists."""
    port = s_server("-www", "-tls1_2", "-nextprotoneg", "one,two")
    context = client_context("TLSv1_2")
    context.set_npn_protocols(["two", "three"])
    with dial(port, context) as conn:
        assert conn.selected_npn_protocol() == "two"


# --------------------------------------------------------------------------- s_client


@pytest.fixture
def s_client(program, pki):
    """Run `openssl s_client` against a port; returns the finished process."""
    openssl = program("openssl")

    def run(port, *arguments, data=b"", cafile=None):
        command = [openssl, "s_client", "-connect", f"127.0.0.1:{port}", "-quiet"]
        command += ["-servername", "localhost", "-verify_hostname", "localhost"]
        command += ["-verify_return_error", "-CAfile", cafile or pki.ca, *arguments]
        return subprocess.run(
            command, check=False, input=data, capture_output=True, timeout=DEADLINE
        )

    return run


def greet(conn):
    """Say which connection this is, and end it with a close_notify."""
    conn.sendall(f"{conn.version()} {conn.cipher()[0]}\n".encode())
    conn.unwrap()


def read_exactly(conn, count):
    data = bytearray()
    while len(data) < count:
        data += conn.recv(count - len(data))
    return bytes(data)


def test_greeting_reaches_s_client(serve_once, s_client, version):
    """What the server sends is what s_client prints."""

    def talk(conn):
        conn.sendall(b"hello from sslbind\n")
        return conn.version(), conn.cipher()[0]

    port, served = serve_once(talk, version=version)
    finished = s_client(port)
    assert finished.stdout == b"hello from sslbind\n"
    assert served.result(DEADLINE)[0] == version.replace("_", ".")


def test_large_body_both_ways(serve_once, s_client, version):
    """5 MB go through an s_client's pipes, to the server and back."""

    def talk(conn):
        received = read_exactly(conn, len(LARGE))
        conn.sendall(received)
        return hashlib.sha256(received).hexdigest()

    port, served = serve_once(talk, version=version)
    finished = s_client(port, data=LARGE)
    assert served.result(DEADLINE) == hashlib.sha256(LARGE).hexdigest()
    assert finished.stdout == LARGE


def test_server_selects_alpn(serve_once, s_client, server_context, version):
    """The server's order decides here too."""
    context = server_context(version)
    context.set_alpn_protocols(["two", "one"])
    port, served = serve_once(lambda conn: conn.selected_alpn_protocol(), context=context)
    s_client(port, "-alpn", "one,two")
    assert served.result(DEADLINE) == "two"


def test_server_names(serve_once, s_client, server_context, version):
    """The SNI callback sees the name that s_client asks for."""
    names = []
    context = server_context(version)
    context.sni_callback = lambda conn, name, asked: names.append(name)
    port, served = serve_once(lambda conn: None, context=context)
    s_client(port)
    served.result(DEADLINE)
    assert names == ["localhost"]


def test_s_client_certificate(serve_once, s_client, pki, version):
    """The server reads the subject of the client's certificate."""
    port, served = serve_once(
        lambda conn: conn.getpeercert()["subject"], version=version, client_ca=pki.ca
    )
    s_client(port, "-cert", pki.client.both, "-key", pki.client.both)
    assert (("commonName", "a client"),) in served.result(DEADLINE)


def test_s_client_without_certificate(serve_once, s_client, pki, version):
    """A client that brings no certificate does not get in."""
    port, served = serve_once(greet, version=version, client_ca=pki.ca)
    assert s_client(port).stdout == b""
    with pytest.raises(sslbind.SSLError) as caught:
        served.result(DEADLINE)
    assert caught.value.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"


def test_s_client_with_unknown_certificate(serve_once, s_client, pki, version):
    """A client certificate of another CA fails verification on the server."""
    port, served = serve_once(greet, version=version, client_ca=pki.ca)
    s_client(port, "-cert", pki.unknown.both, "-key", pki.unknown.both)
    with pytest.raises(sslbind.SSLCertVerificationError) as caught:
        served.result(DEADLINE)
    assert caught.value.verify_code == 20


def test_s_client_rejects_the_server(serve_once, s_client, pki, version):
    """The alert of a client that does not trust us arrives as an SSLError."""
    port, served = serve_once(greet, version=version)
    finished = s_client(port, cafile=pki.other_ca)
    assert finished.returncode != 0
    with pytest.raises(sslbind.SSLError) as caught:
        served.result(DEADLINE)
    assert caught.value.reason == "TLSV1_ALERT_UNKNOWN_CA"


def test_s_client_resumes_a_session(serve_once, s_client, server_context, tmp_path, version):
    """A session that s_client kept in a file is taken up by the same context."""
    context, kept = server_context(version), str(tmp_path / "session")

    def talk(conn):
        reused = conn.session_reused
        greet(conn)
        return reused

    port, served = serve_once(talk, context=context)
    s_client(port, "-sess_out", kept)
    assert served.result(DEADLINE) is False
    port, served = serve_once(talk, context=context)
    s_client(port, "-sess_in", kept)
    assert served.result(DEADLINE) is True


@pytest.mark.filterwarnings("ignore:ssl NPN is deprecated")
@pytest.mark.skipif(not sslbind.HAS_NPN, reason="this OpenSSL has no NPN")
def test_npn_server(serve_once, s_client, server_context):
    """An sslbind server lists its protocols, s_client chooses."""
    context = server_context("TLSv1_2")
    context.set_npn_protocols(["one", "two"])
    port, served = serve_once(lambda conn: conn.selected_npn_protocol(), context=context)
    s_client(port, "-tls1_2", "-nextprotoneg", "two")
    assert served.result(DEADLINE) == "two"

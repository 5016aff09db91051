"""Handshakes without certificates, and after the handshake, against OpenSSL's own programs:
pre-shared keys, post-handshake authentication, key exchange groups and signature algorithms."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import threading

import pytest

import sslbind

DEADLINE = 30  # seconds
KEY = bytes(range(32))
pytestmark = pytest.mark.skipif(not sslbind.HAS_PSK, reason="this OpenSSL has no PSK")


@pytest.fixture
def s_server(program):
    """Start `openssl s_server` with arguments; returns its port and a list of what it says."""
    openssl = program("openssl")
    with contextlib.ExitStack() as stack:

        def start(*arguments):
            command = [openssl, "s_server", "-accept", "127.0.0.1:0", *arguments]
            process = stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,  # at its end s_server would end too
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
            stack.callback(process.kill)
            watchdog = threading.Timer(DEADLINE, process.kill)
            stack.callback(watchdog.cancel)
            watchdog.start()
            said = []
            for line in process.stdout:
                said.append(line)
                announced = re.match(r"ACCEPT .*:(\d+)$", line.strip())
                if announced:
                    return int(announced.group(1)), process.stdout
            raise AssertionError("openssl s_server does not start: " + "".join(said))

        yield start


@pytest.fixture
def s_client(program):
    """Run `openssl s_client` against a port; returns what it says."""
    openssl = program("openssl")

    def run(port, *arguments):
        command = [openssl, "s_client", "-connect", f"127.0.0.1:{port}", *arguments]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEADLINE,
        )
        return done.stdout.decode(errors="replace")

    return run


def pinned(protocol, version):
    """Return a context of one version that verifies nothing."""
    context = sslbind.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = sslbind.CERT_NONE
    context.minimum_version = context.maximum_version = sslbind.TLSVersion[version]
    if version == "TLSv1_2":
        context.set_ciphers("PSK")
    return context


def dial(port, context, name=None):
    plain = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    return context.wrap_socket(plain, server_hostname=name)


def option(version):
    return {"TLSv1_2": "-tls1_2", "TLSv1_3": "-tls1_3"}[version]


# --- Pre-shared keys --------------------------------------------------------------------------


def test_psk_against_s_server(s_server, version):
    """Our client's key and identity are what s_server expects, and its hint reaches the hook."""
    hints = []

    def hook(hint):
        hints.append(hint)
        return "Client_identity", KEY

    ciphers = ("-cipher", "PSK") if version == "TLSv1_2" else ()
    port, words = s_server(
        *("-nocert", option(version), "-psk", KEY.hex(), "-psk_hint", "who are you?"), *ciphers
    )
    context = pinned(sslbind.PROTOCOL_TLS_CLIENT, version)
    context.set_psk_client_callback(hook)
    with dial(port, context) as conn:
        conn.sendall(b"hello, s_server\n")
        assert any("hello, s_server" in line for line in words)
        assert conn.getpeercert(True) is None
        if version == "TLSv1_2":
            assert "PSK" in conn.cipher()[0]
            assert hints == ["who are you?"]
        else:
            assert set(hints) == {None}


def test_psk_with_a_wrong_key(s_server, version):
    """A wrong key, or a stranger's identity, ends the handshake."""
    ciphers = ("-cipher", "PSK") if version == "TLSv1_2" else ()
    port, _ = s_server("-nocert", option(version), "-psk", KEY.hex(), *ciphers)
    for identity, key in (("Client_identity", KEY[::-1]), ("someone else", KEY)):
        context = pinned(sslbind.PROTOCOL_TLS_CLIENT, version)
        context.set_psk_client_callback(lambda _, answer=(identity, key): answer)
        if version == "TLSv1_2" and identity != "Client_identity":
            continue  # s_server of TLS 1.2 only remarks on another identity
        with pytest.raises((sslbind.SSLError, ConnectionError)):
            dial(port, context)


def test_psk_against_s_client(serve_once, s_client, version):
    """s_client's identity reaches our hook, and our hint reaches s_client."""
    identities = []

    def hook(identity):
        identities.append(identity)
        return KEY

    context = pinned(sslbind.PROTOCOL_TLS_SERVER, version)
    context.set_psk_server_callback(hook, "a hint of ours")

    def talk(conn):
        conn.sendall(b"hello, s_client\n")
        found = conn.version(), conn.cipher()[0], conn.getpeercert(True)
        conn.unwrap()
        return found

    port, future = serve_once(talk, context=context)
    said = s_client(
        *(port, option(version), "-psk", KEY.hex(), "-psk_identity", "it is me", "-ign_eof"),
        *(("-cipher", "PSK") if version == "TLSv1_2" else ()),
    )
    agreed, cipher, certificate = future.result(DEADLINE)
    assert "hello, s_client" in said
    assert (agreed, certificate) == (version.replace("_", "."), None)
    assert identities and set(identities) == {"it is me"}
    if version == "TLSv1_2":
        assert "PSK" in cipher
        assert "PSK identity hint: a hint of ours" in said


def test_psk_is_refused_by_the_hook(serve_once, s_client, version):
    """An empty key means: I do not know you."""
    context = pinned(sslbind.PROTOCOL_TLS_SERVER, version)
    context.set_psk_server_callback(lambda identity: b"")
    port, future = serve_once(lambda conn: None, context=context)
    s_client(
        *(port, option(version), "-psk", KEY.hex()),
        *(("-cipher", "PSK") if version == "TLSv1_2" else ()),
    )
    with pytest.raises(sslbind.SSLError):
        future.result(DEADLINE)


# --- Post-handshake authentication ------------------------------------------------------------


def test_certificate_after_the_handshake(serve_once, program, server_context, pki):
    """s_client is asked for its certificate only when somebody wants to know (RFC 8446 4.6.2)."""
    context = server_context("TLSv1_3", client_ca=pki.ca)
    context.post_handshake_auth = True

    def talk(conn):
        before = conn.getpeercert(True)
        conn.verify_client_post_handshake()
        conn.sendall(b"who are you?\n")
        answer = conn.recv(1024)
        return before, answer, conn.getpeercert()["subjectAltName"]

    port, future = serve_once(talk, context=context)
    command = [program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-quiet"]
    command += ["-tls1_3", "-enable_pha", "-cert", pki.client.cert, "-key", pki.client.key]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        # The certificate is on its way once the question, which came behind the request, is here.
        assert process.stdout.readline() == b"who are you?\n"
        process.stdin.write(b"guess\n")
        process.stdin.close()
        found = future.result(DEADLINE)
        process.kill()
    assert found == (None, b"guess\n", (("email", "client@example.org"),))


def test_client_does_not_offer_it(serve_once, s_client, server_context, pki):
    """A client that did not offer post-handshake authentication cannot be asked."""
    context = server_context("TLSv1_3", client_ca=pki.ca)
    context.post_handshake_auth = True
    port, future = serve_once(lambda conn: conn.verify_client_post_handshake(), context=context)
    s_client(port, "-tls1_3", "-CAfile", pki.ca)
    with pytest.raises(sslbind.SSLError, match="EXTENSION_NOT_RECEIVED"):
        future.result(DEADLINE)


# --- Groups and signature algorithms ----------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "temp_key"),
    [
        ("X25519", "X25519, 253 bits"),
        ("P-384", "ECDH, secp384r1, 384 bits"),
        ("secp521r1:secp384r1", "ECDH, secp521r1, 521 bits"),
    ],
)
def test_groups_of_our_server(serve_once, s_client, server_context, asked, temp_key, version):
    """s_client shares the key by the group that our server was given."""
    context = server_context(version)
    context.set_groups(asked)

    def talk(conn):
        with contextlib.suppress(NotImplementedError):
            assert conn.group() in (asked.partition(":")[0], temp_key.split(", ")[1], "x25519")
        conn.unwrap()

    port, future = serve_once(talk, context=context)
    # OpenSSL 3.5 says "Peer Temp Key" and "Negotiated TLS1.3 group" for "Server Temp Key".
    said = s_client(port, option(version))
    future.result(DEADLINE)
    name = temp_key.split(", ")[1] if temp_key.startswith("ECDH") else "X25519"
    assert re.search(rf"(Temp Key|group): .*{name}", said, re.IGNORECASE), said


@pytest.mark.parametrize(
    ("asked", "digest", "kind"),
    [
        ("ecdsa_secp256r1_sha256", "SHA256", "server"),
        ("RSA-PSS+SHA512", "SHA512", "server_rsa"),
        ("RSA-PSS+SHA384:RSA-PSS+SHA512", "SHA384", "server_rsa"),
    ],
)
def test_signatures_of_our_server(serve_once, s_client, server_context, pki, asked, digest, kind):
    """s_client sees the signature algorithm that our server was held to."""
    context = server_context("TLSv1_3", cert=getattr(pki, kind))
    context.set_server_sigalgs(asked)
    port, future = serve_once(lambda conn: conn.unwrap(), context=context)
    said = s_client(port, "-tls1_3")
    future.result(DEADLINE)
    # OpenSSL 3.5 names the algorithm ("Peer signature type"), 3.0 digest and type.
    assert re.search(rf"Peer signing digest: {digest}|signature type: .*{digest}", said, re.I), said


def test_client_signatures(s_server, client_context, pki, version):
    """Our client refuses a server that cannot sign as demanded."""
    port, _ = s_server("-cert", pki.server.both, "-key", pki.server.both, option(version))
    context = client_context(version)
    context.set_server_sigalgs("RSA-PSS+SHA256")
    with pytest.raises(sslbind.SSLError):
        dial(port, context, "localhost")
    context = client_context(version)
    context.set_server_sigalgs("ECDSA+SHA256")
    with dial(port, context, "localhost") as conn:
        assert conn.version()

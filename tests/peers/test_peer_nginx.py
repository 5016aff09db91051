"""sslbind as the client of nginx, through http.client."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import random
from types import SimpleNamespace

import pytest

import sslbind

MEBIBYTE = 1 << 20
BODY_SIZE = 50 * MEBIBYTE

CONFIG = """
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_max_body_size 0;
    keepalive_requests 1000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    root {folder}/www;
    ssl_certificate {server};
    ssl_certificate_key {server};
    ssl_client_certificate {ca};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:1m;
    add_header X-Protocol $ssl_protocol always;
    add_header X-Cipher $ssl_cipher always;
    add_header X-Server-Name $ssl_server_name always;
    add_header X-Reused $ssl_session_reused always;
    add_header X-Client $ssl_client_s_dn always;
    add_header X-Requests $connection_requests always;
    server {{
        listen 127.0.0.1:{open_port} ssl http2;
        dav_methods PUT;
    }}
    server {{
        listen 127.0.0.1:{guarded_port} ssl;
        ssl_verify_client on;
    }}
}}
"""


@pytest.fixture(scope="module")
def nginx(program, daemon, pki, tmp_path_factory):
    """A running nginx: the port for all, the port for clients with certificates, its root."""
    path = program("nginx")
    folder = tmp_path_factory.mktemp("nginx")
    www = folder / "www"
    www.mkdir()
    (www / "hello").write_bytes(b"hello")
    block = random.Random(1).randbytes(MEBIBYTE)
    with open(www / "large", "wb") as out:
        # No two alike: order counts in the digest.
        numbers = range(BODY_SIZE // MEBIBYTE)
        out.writelines(number.to_bytes(4, "big") + block[4:] for number in numbers)

    def command(open_port, guarded_port):
        config = folder / "nginx.conf"
        ports = {"open_port": open_port, "guarded_port": guarded_port}
        config.write_text(CONFIG.format(folder=folder, server=pki.server.both, ca=pki.ca, **ports))
        return [path, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(config)]

    open_port, guarded_port = daemon(command, folder / "output.log", ports=2)
    return SimpleNamespace(open=open_port, guarded=guarded_port, www=www)


def connect(port, context):
    return contextlib.closing(
        http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
    )


def get(client, path="/hello", **arguments):
    client.request("GET", path, **arguments)
    response = client.getresponse()
    return response, response.read()


def test_both_ends_agree_on_the_handshake(nginx, client_context, version):
    """Version, cipher and server name as nginx saw them are those sslbind reports."""
    with connect(nginx.open, client_context(version)) as client:
        response, body = get(client)
        assert (response.status, body) == (200, b"hello")
        assert response.headers["X-Protocol"] == client.sock.version()
        assert response.headers["X-Cipher"] == client.sock.cipher()[0]
        assert response.headers["X-Server-Name"] == "localhost"
        assert client.sock.version() == version.replace("_", ".")


def test_large_download(nginx, client_context, version):
    """50 MiB arrive as nginx has them on disk."""
    expected = hashlib.sha256((nginx.www / "large").read_bytes()).hexdigest()
    digest = hashlib.sha256()
    with connect(nginx.open, client_context(version)) as client:
        client.request("GET", "/large")
        response = client.getresponse()
        for piece in iter(lambda: response.read(MEBIBYTE), b""):
            digest.update(piece)
    assert digest.hexdigest() == expected


def test_large_download_into_a_buffer(nginx, client_context, version):
    """The same by readinto, which ends in recv_into."""
    expected = hashlib.sha256((nginx.www / "large").read_bytes()).hexdigest()
    digest, buffer = hashlib.sha256(), bytearray(300_001)
    with connect(nginx.open, client_context(version)) as client:
        client.request("GET", "/large")
        response = client.getresponse()
        for count in iter(lambda: response.readinto(buffer), 0):
            digest.update(memoryview(buffer)[:count])
    assert digest.hexdigest() == expected


def test_large_upload(nginx, client_context, version):
    """50 MiB reach nginx's disk unchanged."""
    name = f"upload-{version}"
    body = (nginx.www / "large").read_bytes()
    with connect(nginx.open, client_context(version)) as client:
        client.request("PUT", f"/{name}", body=body)
        response = client.getresponse()
        response.read()
    assert response.status in (201, 204)
    stored = (nginx.www / name).read_bytes()
    assert hashlib.sha256(stored).digest() == hashlib.sha256(body).digest()


def test_upload_from_a_file(nginx, client_context, version):
    """A file body, sent piece by piece, arrives unchanged."""
    name = f"upload-file-{version}"
    with connect(nginx.open, client_context(version)) as client:
        with open(nginx.www / "large", "rb") as body:
            client.request("PUT", f"/{name}", body=body)
        response = client.getresponse()
        response.read()
    assert response.status in (201, 204)
    assert (nginx.www / name).read_bytes() == (nginx.www / "large").read_bytes()


def test_keep_alive(nginx, client_context, version):
    """Many requests go over one connection."""
    with connect(nginx.open, client_context(version)) as client:
        counts = [get(client)[0].headers["X-Requests"] for _ in range(100)]
    assert counts == [str(number) for number in range(1, 101)]


@pytest.mark.parametrize(
    "offered, agreed", [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), ([], None)]
)
def test_alpn(nginx, client_context, version, offered, agreed):
    """nginx prefers h2, takes http/1.1, and agrees on nothing if nothing was offered."""
    context = client_context(version)
    if offered:
        context.set_alpn_protocols(offered)
    with connect(nginx.open, context) as client:
        client.connect()
        assert client.sock.selected_alpn_protocol() == agreed


def test_session_is_resumed(nginx, client_context, version):
    """A saved session is taken up again, and nginx says so too."""
    context = client_context(version)
    with connect(nginx.open, context) as first:
        response, _ = get(first)
        assert response.headers["X-Reused"] == "."
        assert not first.sock.session_reused
        session = first.sock.session
    with connect(nginx.open, context) as second:
        plain = second._create_connection(("127.0.0.1", nginx.open), 30)
        second.sock = context.wrap_socket(plain, server_hostname="localhost", session=session)
        response, body = get(second)
        assert second.sock.session_reused
        assert (response.headers["X-Reused"], body) == ("r", b"hello")


def test_client_certificate(nginx, client_context, pki, version):
    """nginx knows the client by its certificate."""
    with connect(nginx.guarded, client_context(version, pki.client)) as client:
        response, body = get(client)
    assert (response.status, body) == (200, b"hello")
    assert "CN=a client" in response.headers["X-Client"]


@pytest.mark.parametrize("cert", [None, "unknown"])
def test_client_certificate_missing_or_unknown(nginx, client_context, pki, version, cert):
    """nginx ends the handshake well and answers 400 itself."""
    context = client_context(version, getattr(pki, cert) if cert else None)
    with connect(nginx.guarded, context) as client:
        response, body = get(client)
    assert response.status == 400
    assert b"certificate" in body


def test_unknown_ca_is_rejected(nginx, pki):
    """A client that trusts another CA does not talk to this nginx."""
    context = sslbind.create_default_context(cafile=pki.other_ca)
    rejected = pytest.raises(sslbind.SSLCertVerificationError, match="local issuer")
    with connect(nginx.open, context) as client, rejected as caught:
        client.connect()
    assert caught.value.verify_code == 20

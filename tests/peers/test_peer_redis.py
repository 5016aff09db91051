"""redis-py over sslbind sockets, against `redis-server --tls-port`."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import sslbind

redis = pytest.importorskip("redis", reason="redis-py is not installed")

DEADLINE = 30  # seconds for any single socket operation
LARGE = random.Random(3).randbytes(1 << 20) * 20  # 20 MiB


class TLSConnection(redis.Connection):
    """redis-py's own connection, its socket wrapped by a given context."""

    def __init__(self, *, tls_context, **arguments):
        super().__init__(**arguments)
        self._tls_context = tls_context

    def _connect(self):
        return self._tls_context.wrap_socket(super()._connect(), server_hostname="localhost")


@pytest.fixture(scope="module")
def start_redis(program, daemon, pki, tmp_path_factory):
    """Start a redis-server with extra arguments; returns its TLS port."""
    path = program("redis-server")

    def start(*arguments):
        folder = tmp_path_factory.mktemp("redis")

        def command(port):
            options = {
                "bind": "127.0.0.1",
                "port": 0,
                "tls-port": port,
                "tls-cert-file": pki.server.cert,
                "tls-key-file": pki.server.key,
                "tls-ca-cert-file": pki.ca,
                "save": "",
                "appendonly": "no",
                "dir": folder,
            }
            pairs = [(f"--{name}", str(value)) for name, value in options.items()]
            return [path, *(word for pair in pairs for word in pair), *arguments]

        return daemon(command, folder / "output.log")[0]

    return start


@pytest.fixture(scope="module")
def open_port(start_redis):
    """A server for every client that speaks TLS."""
    return start_redis("--tls-auth-clients", "no")


@pytest.fixture(scope="module")
def guarded_port(start_redis):
    """A server for clients with a certificate."""
    return start_redis("--tls-auth-clients", "yes")


@pytest.fixture
def client(client_context):
    """Make a redis client; its connections are closed after the test."""
    made = []

    def make(port, version=None, cert=None, context=None):
        pool = redis.ConnectionPool(
            connection_class=TLSConnection,
            host="127.0.0.1",
            port=port,
            socket_timeout=DEADLINE,
            tls_context=context or client_context(version, cert),
        )
        made.append(pool)
        return redis.Redis(connection_pool=pool)

    yield make
    for pool in made:
        pool.disconnect()


def test_set_and_get(open_port, client, version):
    """A small value comes back, over an sslbind socket."""
    r = client(open_port, version)
    assert r.set("small", b"value")
    assert r.get("small") == b"value"
    conn = r.connection_pool.get_connection()
    assert isinstance(conn._sock, sslbind.SSLSocket)
    assert conn._sock.version() == version.replace("_", ".")
    r.connection_pool.release(conn)


def test_large_values(open_port, client, version):
    """20 MiB go there and back unchanged."""
    r = client(open_port, version)
    for key in ("large-1", "large-2"):
        assert r.set(key, LARGE)
        assert r.get(key) == LARGE
        r.delete(key)


def test_pipeline(open_port, client, version):
    """Ten thousand commands in one write, ten thousand answers in one go."""
    r = client(open_port, version)
    pipe = r.pipeline(transaction=False)
    for number in range(5000):
        pipe.set(f"key-{number}", number).get(f"key-{number}")
    answers = pipe.execute()
    assert answers[0::2] == [True] * 5000
    assert answers[1::2] == [str(number).encode() for number in range(5000)]


def test_transaction_of_mixed_sizes(open_port, client, version):
    """Answers from one byte to many records keep their borders."""
    r = client(open_port, version)
    sizes = [1, 100, 16383, 16384, 16385, 65536, 1_000_003]
    pipe = r.pipeline(transaction=True)
    for size in sizes:
        pipe.set(f"size-{size}", LARGE[:size]).get(f"size-{size}")
    assert pipe.execute()[1::2] == [LARGE[:size] for size in sizes]


def test_publish_and_subscribe(open_port, client, version):
    """A subscriber that polls, then one that waits, gets each message once."""
    r = client(open_port, version)
    with r.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe("news")
        assert channel.get_message(timeout=DEADLINE) is None  # the word that we subscribed
        assert channel.get_message(timeout=0) is None  # nothing there: non-blocking read
        for number in range(10):
            assert r.publish("news", number) == 1
            message = channel.get_message(timeout=DEADLINE)
            assert message["data"] == str(number).encode()


def test_blocked_reader_is_woken(open_port, client, version):
    """One thread waits in a blocking pop until another pushes."""
    r = client(open_port, version)
    r.delete("queue")
    with ThreadPoolExecutor(1) as pool:
        popped = pool.submit(r.blpop, ["queue"], DEADLINE)
        r.rpush("queue", b"item")
        assert popped.result(DEADLINE) == (b"queue", b"item")


def test_threads_share_a_pool(open_port, client, version):
    """Eight threads with connections from one pool and one context do not mix their answers."""
    r = client(open_port, version)
    barrier = threading.Barrier(8)

    def work(worker):
        barrier.wait(DEADLINE)
        for number in range(100):
            value = f"{worker}-{number}".encode() * (1 + number * 7 % 50)
            r.set(f"worker-{worker}", value)
            assert r.get(f"worker-{worker}") == value
        return worker

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == list(range(8))


def test_client_certificate(guarded_port, client, pki, version):
    """A server that wants a certificate accepts ours."""
    assert client(guarded_port, version, pki.client).ping()


def test_client_certificate_is_missing(guarded_port, client, version):
    """Without one redis-py reports a connection error, not garbage."""
    with pytest.raises(redis.exceptions.ConnectionError):
        client(guarded_port, version).ping()


def test_unknown_ca(open_port, client, pki):
    """A client that trusts another CA does not talk to this server."""
    context = sslbind.create_default_context(cafile=pki.other_ca)
    with pytest.raises(
        (redis.exceptions.ConnectionError, sslbind.SSLError), match="certificate verify failed"
    ):
        client(open_port, context=context).ping()

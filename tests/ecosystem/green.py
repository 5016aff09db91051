"""What programs on green threads do with contexts, after their library patched the rest.

Both ends are in one thread of the system, so a wait that is not cooperative never ends.
"""

from __future__ import annotations

import http.client
import socket
import threading

from servers import https
from world import DATA, DEADLINE, DIGEST, SIZE, digest, refused


def ticking():
    """Count in a green thread until the event is set; returns event and count."""
    stop, count = threading.Event(), [0]

    def tick():
        while not stop.wait(0.001):
            count[0] += 1

    threading.Thread(target=tick, daemon=True).start()
    return stop, count


def over_http(world):
    """http.client and http.server, their sockets green, while another green thread runs."""
    stop, count = ticking()
    with https(world.server()) as port:
        client = http.client.HTTPSConnection(
            "localhost", port, timeout=DEADLINE, context=world.client()
        )
        client.request("GET", "/")
        assert digest(client.getresponse().read()) == DIGEST
        client.request("POST", "/", DATA)
        assert client.getresponse().read().decode() == DIGEST
        client.close()
    stop.set()
    assert count[0] > 0


def duplex(world, kind):
    """One green thread sends while another receives on the same connection, at both ends.

    Args: kind: the class of TLS socket that wrap_socket is to give.
    """
    left, right = socket.socketpair()
    server_context = world.server()
    done = []

    def send(conn):
        conn.sendall(DATA)
        done.append("sent")

    def receive(conn):
        got = bytearray()
        while len(got) < SIZE:
            got += conn.recv(1 << 16)
        assert digest(got) == DIGEST
        done.append("received")

    def serve():
        conn = server_context.wrap_socket(right, server_side=True)
        both(conn)
        conn.close()

    def both(conn):
        assert isinstance(conn, kind)
        jobs = [threading.Thread(target=job, args=(conn,)) for job in (send, receive)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join(DEADLINE)

    server = threading.Thread(target=serve)
    server.start()
    client = world.client().wrap_socket(left, server_hostname="localhost")
    both(client)
    server.join(DEADLINE)
    client.close()
    assert sorted(done) == ["received"] * 2 + ["sent"] * 2


def rejected(world):
    """A server of an unknown authority is an ssl.SSLCertVerificationError."""
    with https(world.shunned()) as port, refused():
        http.client.HTTPSConnection(
            "localhost", port, timeout=DEADLINE, context=world.stranger()
        ).request("GET", "/")

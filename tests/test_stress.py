"""Random data in random chunks, both ways at once: what is received is what was sent.

Ends of every mode meet each other, ours and the stdlib's, over both kinds of socket and in
memory. A case is made from its seed alone (over sockets, the kernel and the threads add their
own chance). The environment variable SSLBIND_STRESS gives a number of rounds for a longer run.
"""

from __future__ import annotations

import itertools
import os
import random
import socket
import ssl

import pytest
from links import FAMILIES, client_context, raw_pair, server_context
from outcomes import ORACLE
from traffic import Network, Sink, Source, run_both, run_in_turns, wrap

import sslbind

ROUNDS = int(os.environ.get("SSLBIND_STRESS", "2"))
SIZES = (200_000, 3_000_000)  # bytes in a direction

# The stdlib's blocking modes are missing: its sockets are not made for two threads at once.
OURS = [(sslbind, mode) for mode in ("blocking", "timeout", "non-blocking", "memory")]
STDLIB = [(ssl, mode) for mode in ("non-blocking", "memory")]
PAIRS = list(itertools.combinations_with_replacement(OURS, 2)) + list(
    itertools.product(OURS, STDLIB)
)
if ORACLE:  # that the traffic itself is fair
    PAIRS += itertools.combinations_with_replacement(STDLIB, 2)

seeds = pytest.mark.parametrize("seed", range(ROUNDS))


def name_of(pair) -> str:
    return "|".join(f"{mod.__name__} {mode}" for mod, mode in pair)


def contexts(mods, pki, version, server: int):
    """Return a context for each of two ends; the one at index `server` is the server's."""
    makers = (server_context, client_context) if server == 0 else (client_context, server_context)
    return [make(mod, pki, version) for make, mod in zip(makers, mods)]


def streams(rng: random.Random):
    """Return (source, sink) for each of two ends."""
    left, right = (Source(str(rng.random()), rng.randint(*SIZES)) for _ in range(2))
    return (left, Sink(right)), (right, Sink(left))


def bios_of(mod, rng: random.Random):
    """Return the classes of two buffers; an object of ours takes the stdlib's as well."""
    return [rng.choice((mod, ssl)).MemoryBIO for _ in range(2)]


def narrow(sock, rng: random.Random) -> None:
    """Give a socket small buffers."""
    if rng.random() < 0.5:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, rng.choice((4096, 20_000, 60_000)))
    # With less room for TCP's window the kernel stops for whole seconds, without TLS as well.
    if rng.random() < 0.5:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rng.choice((40_000, 60_000)))


@seeds
@pytest.mark.parametrize("pair", PAIRS, ids=name_of)
def test_over_sockets(pki, version, pair, seed):
    """Every mode with every other."""
    rng = random.Random(f"{name_of(pair)} {version} {seed}")
    server, closes = rng.randrange(2), rng.randrange(2)
    raws = raw_pair(rng.choice(FAMILIES))
    if rng.random() < 0.4:
        for raw in raws:
            narrow(raw, rng)
    made = contexts([mod for mod, _ in pair], pki, version, server)
    ends = [
        wrap(
            mode, made[n], raws[n], n == server, bios_of(mod, rng),
            str(rng.random()), *stream, n == closes,
        )
        for n, ((mod, mode), stream) in enumerate(zip(pair, streams(rng)))
    ]  # fmt: skip
    try:
        run_both(*ends)
    finally:
        for closeable in (*raws, *(end.tls for end in ends if hasattr(end.tls, "close"))):
            closeable.close()


@pytest.mark.parametrize("seed", range(2 * ROUNDS))
@pytest.mark.parametrize("other", (sslbind, ssl), ids=lambda mod: mod.__name__)
def test_in_memory(mod, other, pki, version, seed):
    """Two objects in one thread: a seed gives the same calls every time."""
    rng = random.Random(f"{mod.__name__} {other.__name__} {version} {seed}")
    server, closes = rng.randrange(2), rng.randrange(2)
    mods = (mod, other)
    made = contexts(mods, pki, version, server)
    ends = [
        wrap(
            "memory", made[n], network, n == server, bios_of(mods[n], rng),
            str(rng.random()), *stream, n == closes,
        )
        for n, (network, stream) in enumerate(zip(Network.pair(rng), streams(rng)))
    ]  # fmt: skip
    run_in_turns(*ends, rng)

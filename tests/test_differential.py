"""The same random operations on objects of both modules: each must do what the other's does.

A plan is made from a seed, played over memory by the stdlib and by us, and compared step by step,
with whether bytes wait to go out. What is left out is what is known to differ, or to depend on
chance: several records in one read (plans read byte by byte), and an end whose stream was cut off,
of which the stdlib says something else in every branch.
"""

from __future__ import annotations

import ctypes
import random
import ssl
import sys
from types import SimpleNamespace

import pytest
from links import client_context, memory_pair, server_context
from outcomes import ORACLE, Outcome, outcome
from pki import HOST

import sslbind

pytestmark = pytest.mark.skipif(
    not ORACLE or ssl.OPENSSL_VERSION != sslbind.OPENSSL_VERSION, reason="no oracle"
)

SEEDS = 20  # a test's
JUNK = (
    b"\0",
    b"GET / HTTP/1.0\r\n\r\n",
    b"\x15\x03\x03\0\2\2\x28",  # a fatal alert, in plain
    b"\x15\x03\x03\0\2\1\0",  # close_notify, in plain
    b"\x17\x03\x03\0\0",
    b"\x17\x03\x03\xff\xff",
    b"\x17\x03\x03\0\x20" + b"?" * 32,
    b"\x80\x2e\x01\x03\x01" + b"\0" * 50,  # SSLv2's format
)
QUESTIONS = (
    "pending",
    "cipher",
    "version",
    "getpeercert",
    "selected_alpn_protocol",
    "compression",
    "shared_ciphers",
)


class Plan:
    """What two ends are, and what is done to them."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.version = rng.choice(("TLSv1_2", "TLSv1_3", "TLSv1_3", None))
        self.demands = rng.choice(("CERT_NONE", "CERT_NONE", "CERT_OPTIONAL", "CERT_REQUIRED"))
        self.client_leaf = rng.choice((None, "client", "client", "unknown"))
        self.server_leaf = rng.choice(("server_rsa",) * 6 + ("wrong_host",))
        self.alpn = rng.choice((None, ["a"], ["b"]))
        self.tickets = rng.choice((None, 0, 1, 3))
        self.post_handshake_auth = rng.random() < 0.4
        self.reports_eof = rng.random() < 0.5
        self.foreign = rng.random() < 0.4  # the stdlib's MemoryBIO for both
        self.shaken = rng.random() < 0.75
        self.steps = [self._step(rng) for _ in range(rng.randint(5, 40))]

    def _step(self, rng):
        end = rng.choice(("left", "right"))
        kinds = {
            "do_handshake": lambda: (),
            "carry": lambda: (rng.choice((None, None, None, 1, 5, 6)),),
            "spoil": lambda: (rng.choice((0, -1)), 1 << rng.randrange(8)),
            "inject": lambda: (rng.choice(JUNK),),
            "write": lambda: (rng.choice((0, 1, 5, 1000, 16384, 16385, 40000)),),
            "read": lambda: (rng.choice((1, 1, 1, -1)),),
            "read_into": lambda: (rng.choice((0, 1, 64)),),
            "unwrap": lambda: (),
            "write_eof": lambda: (),
            "verify_client_post_handshake": lambda: (),
            "ask": lambda: (rng.choice(QUESTIONS),),
        }
        weights = (8, 22, 1, 2, 12, 14, 6, 6, 2, 4, 10)
        [kind] = rng.choices(list(kinds), weights)
        return kind, end, kinds[kind]()


def clear_errors() -> None:
    """Empty OpenSSL's error queue: the stdlib takes for its own what another end has left there."""
    module = sys.modules["_ssl"]
    if getattr(module, "__file__", None):
        ctypes.PyDLL(module.__file__).ERR_clear_error()


class Play:
    """A plan, played by one module."""

    def __init__(self, mod, pki, plan: Plan) -> None:
        client = client_context(mod, pki, plan.version)
        server = server_context(mod, pki, plan.version, getattr(pki, plan.server_leaf))
        server.load_verify_locations(pki.ca)
        server.verify_mode = getattr(mod, plan.demands)
        if plan.client_leaf is not None:
            client.load_cert_chain(getattr(pki, plan.client_leaf).both)
        if plan.alpn is not None:
            client.set_alpn_protocols(["a", "c"])
            server.set_alpn_protocols(plan.alpn)
        if plan.tickets is not None:
            server.num_tickets = plan.tickets
        client.post_handshake_auth = plan.post_handshake_auth
        if not plan.reports_eof:
            client.options |= 0x80  # OP_IGNORE_UNEXPECTED_EOF
        kind = SimpleNamespace(MemoryBIO=(ssl if plan.foreign else mod).MemoryBIO)
        self.left, self.right = memory_pair(client, server, HOST, kind, kind)
        self.foreign = plan.foreign
        self.cut_off: set[str] = set()
        self.shaken: set[str] = set()
        self.said: list[object] = []
        for turn in range(8 if plan.shaken else 0):
            self.step("do_handshake", ("left", "right")[turn % 2], ())
            self.step("carry", ("left", "right")[turn % 2], (None,))
        for kind, name, args in plan.steps:
            self.step(kind, name, args)

    def step(self, kind: str, name: str, args) -> None:
        if name in self.cut_off and kind not in ("carry", "spoil", "inject"):
            return
        told = getattr(self, kind, self._call)(getattr(self, name), *args, kind=kind)
        clear_errors()
        if told.error in ("SSLEOFError", "SSLSyscallError"):
            self.cut_off.add(name)
            told = Outcome(error="the end")
        if kind == "do_handshake" and not told.error:
            self.shaken.add(name)
        waiting = [end.outgoing.pending > 0 for end in (self.left, self.right)]
        self.said.append((kind, name, args, told, waiting))

    def _call(self, end, kind):
        return outcome(getattr(end.obj, kind))._replace(value=None)

    def carry(self, end, size, kind):
        data = end.outgoing.read() if size is None else end.outgoing.read(size)
        return outcome(end.other.incoming.write, data)._replace(value=None)

    def spoil(self, end, where, bit, kind):
        """Carry what waits, a bit of it turned round; of a handshake, it would be up to chance.

        It is one of the first or the last byte: a signature or a ticket in between has no fixed
        length.
        """
        data = bytearray(end.outgoing.read())
        if len(self.shaken) == 2 and data:
            data[where] ^= bit
        return outcome(end.other.incoming.write, bytes(data))._replace(value=None)

    def inject(self, end, data, kind):
        return outcome(end.incoming.write, data)

    def write(self, end, size, kind):
        return outcome(end.obj.write, bytes([len(self.said) & 0xFF]) * size)

    def read(self, end, size, kind):
        return outcome(end.obj.read, size)

    def read_into(self, end, room, kind):
        buffer = bytearray(room)
        told = outcome(end.obj.read, 1, buffer)
        return told._replace(value=(told.value, bytes(buffer)))

    def write_eof(self, end, kind):
        return outcome(end.incoming.write_eof)

    def ask(self, end, question, kind):
        if question == "pending" and self.foreign:
            return Outcome()  # ours then counts whole records, too
        return outcome(getattr(end.obj, question))


@pytest.mark.parametrize("block", range(20))
def test_random_operations(pki, block):
    """Whatever is done, in whatever order, both modules answer alike."""
    for seed in range(block * SEEDS, (block + 1) * SEEDS):
        plan = Plan(seed)
        theirs, ours = (Play(mod, pki, plan).said for mod in (ssl, sslbind))
        for step, (expected, told) in enumerate(zip(theirs, ours)):
            assert told == expected, f"seed {seed}, step {step}"
        assert len(ours) == len(theirs)

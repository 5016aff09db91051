"""Random settings of both modules: handshakes must end alike, with the same things agreed upon.

As in `test_differential.py`, but the chance lies in what the contexts are told, and in what their
callbacks do.
"""

from __future__ import annotations

import random
import ssl

import pytest
from links import memory_pair
from outcomes import ORACLE, outcome
from pki import HOST

import sslbind

pytestmark = pytest.mark.skipif(
    not ORACLE or ssl.OPENSSL_VERSION != sslbind.OPENSSL_VERSION, reason="no oracle"
)

SEEDS = 25  # a test's
ROUNDS = 6  # more than a handshake has
VERSIONS = ("TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3", "MINIMUM_SUPPORTED", "MAXIMUM_SUPPORTED")
RSA, ECDSA = "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"
CIPHERS = (f"{RSA}:{ECDSA}", f"{ECDSA}:{RSA}", "ECDHE+AESGCM", "kRSA", "PSK", "ALL:@SECLEVEL=0")
OPTIONS = ("OP_NO_TICKET", "OP_NO_TLSv1_3", "OP_NO_TLSv1_2", "OP_CIPHER_SERVER_PREFERENCE")
HOSTS = ("LOCALHOST", "localhost.", "other", "127.0.0.1", "::1", "a.localhost", "xn--a", b"a")
STRICT, CRL_CHECK, PARTIAL_CHAIN = 0x20, 0x4, 0x80000  # by number for old Pythons
KEYS = (b"a shared key", b"another key", b"", b"k" * 600, None, "text", 5, ZeroDivisionError)
ANSWERS = (None, 0, 40, True, 1.5, "text", ZeroDivisionError, "switch")
QUESTIONS = (
    "version",
    "cipher",
    "shared_ciphers",
    "selected_alpn_protocol",
    "compression",
    "getpeercert",
    "get_channel_binding",
)


def shown(told) -> str:
    """Return what is compared of a step; the stdlib has no name for this reason, and we have."""
    name = "TLSV1_ALERT_UNKNOWN_PSK_IDENTITY"
    return repr(told).replace(f"[SSL: {name}]", "[SSL]").replace(repr(name), "None")


def give(answer):
    """Return an answer, or raise it."""
    if isinstance(answer, type):
        raise answer
    return answer


class Plan:
    """What a client and a server are told."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = random.Random(seed)
        self.client, self.server = self._end(), self._end()
        self.client_leaf = rng.choice((None, "client", "unknown"))
        self.server_leaf = rng.choice(("server",) * 3 + ("server_rsa",) * 3 + ("wrong_host", None))
        self.host = self._maybe(HOSTS, 0.4) or HOST
        self.checks = rng.random() < 0.7
        self.asks_later = rng.random() < 0.4
        self.tickets = self._maybe((0, 1, 3))
        # A second hello, which a group may ask for, is for the context that an answer chose.
        answers = ANSWERS if self.server["group"] is None else ANSWERS[:-1]
        self.answer = rng.choice(answers) if rng.random() < 0.5 else ...

    def _maybe(self, choices, chance=0.25):
        return self.rng.choice(choices) if self.rng.random() < chance else None

    def _end(self):
        return {
            "minimum": self._maybe(VERSIONS),
            "maximum": self._maybe(VERSIONS),
            "ciphers": self._maybe(CIPHERS),
            "options": self._maybe(OPTIONS),
            "alpn": self._maybe((["a"], ["b"], ["b", "a"])),
            "group": self._maybe(("prime256v1", "secp384r1")),
            "mode": self._maybe(("CERT_NONE", "CERT_OPTIONAL", "CERT_REQUIRED")),
            "trusts": self.rng.choice(("ca",) * 8 + ("other_ca", None)),
            "flags": self._maybe((STRICT, CRL_CHECK, PARTIAL_CHAIN), 0.2),
            "later": self.rng.random() < 0.4,
            "tells": self.rng.random() < 0.1,
            "key": self.rng.choice(KEYS[:1] * 8 + KEYS) if self.rng.random() < 0.5 else ...,
        }


class Play:
    """A plan, played by one module."""

    def __init__(self, mod, pki, plan: Plan) -> None:
        self.mod, self.pki, self.said = mod, pki, []
        client = mod.SSLContext(mod.PROTOCOL_TLS_CLIENT)
        client.check_hostname = plan.checks
        server = mod.SSLContext(mod.PROTOCOL_TLS_SERVER)
        self.tell(client, plan.client)
        self.tell(server, plan.server)
        for context, leaf in ((client, plan.client_leaf), (server, plan.server_leaf)):
            if leaf is not None:
                context.load_cert_chain(getattr(pki, leaf).both)
        if plan.tickets is not None:
            server.num_tickets = plan.tickets
        if plan.answer is not ...:
            server.sni_callback = self.names(plan.answer)
        if hasattr(ssl.SSLContext, "set_psk_client_callback"):
            self.share(client, plan.client["key"], server, plan.server["key"])
        self.ends = memory_pair(client, server, plan.host, mod, mod)
        self.shake()
        self.ask()
        self.talk(plan.asks_later)

    def do(self, call, *args):
        self.said.append(outcome(call, *args))

    def tell(self, context, settings) -> None:
        mod = self.mod
        for name in ("minimum", "maximum"):
            if settings[name] is not None:
                version = getattr(mod.TLSVersion, settings[name])
                self.do(setattr, context, f"{name}_version", version)
        if settings["ciphers"] is not None:
            self.do(context.set_ciphers, settings["ciphers"])
        if settings["options"] is not None:
            context.options |= getattr(mod, settings["options"])
        if settings["alpn"] is not None:
            context.set_alpn_protocols(settings["alpn"])
        if settings["group"] is not None:
            context.set_ecdh_curve(settings["group"])
        if settings["trusts"] is not None:
            context.load_verify_locations(getattr(self.pki, settings["trusts"]))
        if settings["mode"] is not None:
            self.do(setattr, context, "verify_mode", getattr(mod, settings["mode"]))
        if settings["flags"] is not None:
            context.verify_flags |= settings["flags"]
        context.post_handshake_auth = settings["later"]
        if settings["tells"]:
            context._msg_callback = lambda _, way, *rest: self.said.append((way, *rest[:3]))

    def names(self, answer):
        other = self.mod.SSLContext(self.mod.PROTOCOL_TLS_SERVER)
        other.load_cert_chain(self.pki.server.both)

        def callback(end, name, context):
            self.said.append((end.server_side, name))
            if answer == "switch":
                end.context = other
                return None
            return give(answer)

        return callback

    def share(self, client, client_key, server, server_key) -> None:
        def client_callback(hint):
            self.said.append(hint)
            return "identity", give(client_key)

        def server_callback(identity):
            self.said.append(identity)
            return give(server_key)

        if client_key is not ...:
            client.set_psk_client_callback(client_callback)
        if server_key is not ...:
            server.set_psk_server_callback(server_callback, "hint")

    def shake(self) -> None:
        left = list(self.ends)
        for _ in range(ROUNDS):
            for end in list(left):
                told = outcome(end.obj.do_handshake)
                end.flush()
                if told.error != "SSLWantReadError":
                    self.said.append((end is self.ends[0], told))
                    left.remove(end)

    def ask(self) -> None:
        for end in self.ends:
            for question in QUESTIONS:
                told = outcome(getattr(end.obj, question))
                if question == "get_channel_binding" and told.value is not None:
                    told = told._replace(value=len(told.value))
                self.said.append(told)

    def talk(self, asks_later: bool) -> None:
        client, server = self.ends
        for sender, receiver in ((client, server), (server, client)) * 2:
            self.do(sender.obj.write, b"word")
            sender.flush()
            self.do(receiver.obj.read, 4)
            if asks_later and sender is client:
                self.do(server.obj.verify_client_post_handshake)
        self.do(lambda: server.obj.getpeercert(True))
        for end in (client, server, client):
            self.do(end.obj.unwrap)
            end.flush()


@pytest.mark.filterwarnings("ignore")  # exceptions in callbacks, old versions
@pytest.mark.parametrize("block", range(16))
def test_random_settings(pki, block):
    """Whatever contexts are told, both modules agree alike, or fail alike."""
    for seed in range(block * SEEDS, (block + 1) * SEEDS):
        plan = Plan(seed)
        theirs, ours = ([*map(shown, Play(mod, pki, plan).said)] for mod in (ssl, sslbind))
        assert ours == theirs, f"seed {seed}"

"""A chain whose signatures were verified once is spared that, and nothing else: chains.c.

Every test of behaviour runs on the stdlib, too, which verifies them each time.
"""

from __future__ import annotations

import ssl
import threading

from links import memory_pair, new_context, server_context, shake_memory
from pki import HOST, Authority, Leaf
from scripts import needs_preload, preload, run_script

import sslbind
from sslbind._ffi import lib

CHECK_ROOT, NO_CHECK_TIME = 0x4000, 0x200000  # X509_V_FLAG_CHECK_SS_SIGNATURE, _NO_CHECK_TIME
SIGNATURE_FAILURE, EXPIRED, NO_ISSUER, REVOKED, OTHER_HOST = 7, 10, 20, 23, 62


def client(mod, *authorities: bytes, flags: int = 0):
    """Return a client's context that trusts these certificates, in DER form."""
    context = new_context(mod, "PROTOCOL_TLS_CLIENT")
    context.load_verify_locations(cadata=b"".join(authorities))
    context.verify_flags |= flags
    return context


def verdict(mod, context, pki, leaf, name: str = HOST) -> int:
    """Return 0 if a handshake with a server of `leaf` succeeds, else the X509_V_ERR_* of it."""
    ends = memory_pair(context, server_context(ssl, pki, leaf=leaf), name, mod)
    try:
        shake_memory(*ends)
    except mod.SSLCertVerificationError as exc:
        return exc.verify_code
    return 0


def forged(der: bytes) -> bytes:
    """Return a certificate with another signature, in one bit."""
    return der[:-1] + bytes([der[-1] ^ 1])


def forged_leaf(folder, leaf: Leaf) -> Leaf:
    """Return a server's certificate with its key that nobody has signed so."""
    pem = ssl.DER_cert_to_PEM_cert(forged(leaf.der))
    path = folder / "forged.pem"
    with open(leaf.both, encoding="ascii") as file:
        path.write_text(file.read().split("-----BEGIN CERT")[0] + pem)
    return Leaf("", "", str(path), b"")


def test_the_second_time(pki):
    """One verification, however many contexts; and one more of another chain."""
    lib.sb_forget_chains()
    assert verdict(sslbind, client(sslbind, pki.ca_der), pki, pki.server) == 0
    assert lib.sb_forget_chains() == 0
    assert verdict(sslbind, client(sslbind, pki.ca_der), pki, pki.server) == 0
    for _ in range(3):
        assert verdict(sslbind, client(sslbind, pki.ca_der), pki, pki.server) == 0
        assert verdict(sslbind, client(sslbind, pki.ca_der), pki, pki.through) == 0
    assert lib.sb_forget_chains() == 3 + 2
    assert verdict(sslbind, client(sslbind, pki.ca_der), pki, pki.server) == 0
    assert lib.sb_forget_chains() == 0


def test_a_client(pki):
    """A server verifies a client's chain once, and its own, which OpenSSL looks for each time."""
    lib.sb_forget_chains()
    for _ in range(3):
        server = server_context(sslbind, pki)
        server.load_verify_locations(cadata=pki.ca_der)
        server.verify_mode = sslbind.CERT_REQUIRED
        caller = client(ssl, pki.ca_der)
        caller.load_cert_chain(pki.client.both)
        shake_memory(*memory_pair(caller, server, HOST, ssl, sslbind))
    assert lib.sb_forget_chains() == 2 + 2


def test_a_signature_that_is_forged(mod, pki, tmp_path):
    """The same certificate with another signature is refused, again and again."""
    context, bad = client(mod, pki.ca_der), forged_leaf(tmp_path, pki.server)
    for _ in range(2):
        assert verdict(mod, context, pki, pki.server) == 0
        assert verdict(mod, context, pki, bad) == SIGNATURE_FAILURE


def test_a_name_with_another_key(mod, pki, tmp_path):
    """Who signed counts, not what the signer calls itself."""
    real, other = Authority("twin", vague=True), Authority("twin", vague=True)
    leaf = real.leaf(tmp_path, "leaf")
    for _ in range(2):
        assert verdict(mod, client(mod, real.der), pki, leaf) == 0
        assert verdict(mod, client(mod, other.der), pki, leaf) == SIGNATURE_FAILURE


def test_a_flag_that_asks_for_more(mod, pki):
    """What passed without a flag is verified once more with it."""
    root = forged(pki.ca_der)
    for _ in range(2):
        assert verdict(mod, client(mod, root), pki, pki.server) == 0
        asking = client(mod, root, flags=CHECK_ROOT)
        assert verdict(mod, asking, pki, pki.server) == SIGNATURE_FAILURE
        assert verdict(mod, client(mod, pki.ca_der, flags=CHECK_ROOT), pki, pki.server) == 0


def test_what_is_no_signature(mod, pki):
    """Trust, names, CRLs and dates are verified each time."""
    for _ in range(2):
        context = client(mod, pki.ca_der)
        assert verdict(mod, context, pki, pki.revoked) == 0
        assert verdict(mod, context, pki, pki.revoked, "elsewhere.example") == OTHER_HOST
        assert verdict(mod, client(mod, pki.other_ca_der), pki, pki.revoked) == NO_ISSUER
        context.load_verify_locations(pki.crl)
        context.verify_flags |= mod.VERIFY_CRL_CHECK_LEAF
        assert verdict(mod, context, pki, pki.revoked) == REVOKED
        timeless = client(mod, pki.ca_der, flags=NO_CHECK_TIME)
        assert verdict(mod, timeless, pki, pki.expired) == 0
        assert verdict(mod, client(mod, pki.ca_der), pki, pki.expired) == EXPIRED


CLOCK = """
#include <time.h>

static long ahead;

void
set_ahead(long seconds)
{
    ahead = seconds;
}

time_t
time(time_t *out)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += ahead;
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
"""


@needs_preload
def test_dates_go_on(pki, tmp_path, monkeypatch):
    """A chain that was verified expires like any other, and is good again when time is."""
    clock = preload(CLOCK, tmp_path, monkeypatch)
    told = run_script(
        """
        import ctypes, sys
        from pathlib import Path
        import sslbind
        from links import memory_pair, shake_memory

        clock = ctypes.CDLL(sys.argv[1])
        client = sslbind.SSLContext(sslbind.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(sys.argv[2])
        server = sslbind.SSLContext(sslbind.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(sys.argv[3])
        ages = 2000 * 365 * 86400
        for ahead in (0, 0, ages, ages, 0, -ages // 20, 0):
            clock.set_ahead(ctypes.c_long(ahead))
            ends = memory_pair(client, server, "localhost", sslbind, sslbind)
            try:
                shake_memory(*ends)
                print(0)
            except sslbind.SSLCertVerificationError as exc:
                print(exc.verify_code)
        """,
        clock,
        pki.ca,
        pki.server.both,
    )
    not_yet = 9
    assert [int(line) for line in told.split()] == [0, 0, EXPIRED, EXPIRED, 0, not_yet, 0]


def test_threads(pki, tmp_path):
    """Each of many threads gets the right answer for its own chain."""
    authorities = [Authority(f"authority {n}") for n in range(4)]
    leaves = [each.leaf(tmp_path, f"leaf{n}") for n, each in enumerate(authorities)]
    bad = forged_leaf(tmp_path, leaves[0])
    context = client(sslbind, *(each.der for each in authorities))
    told: list[tuple[int, int]] = []

    def work(leaf: Leaf, expected: int) -> None:
        told.extend((verdict(sslbind, context, pki, leaf), expected) for _ in range(10))

    jobs = [(leaf, 0) for leaf in leaves] + [(bad, SIGNATURE_FAILURE)] * 2
    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 10 * len(jobs)
    assert [found for found, _ in told] == [expected for _, expected in told]

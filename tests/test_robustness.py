"""Bad input never crashes the interpreter, and is refused as by the stdlib.

Everything public is called with everything wrong, in processes of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from links import raw_pair, server_context
from outcomes import ORACLE, outcome
from robustness_child import MAKERS
from scripts import run_script

import sslbind

CHILD = str(Path(__file__).with_name("robustness_child.py"))


def tried(mod: str, group: str, pki) -> dict[str, str]:
    """Return what each call of a group did on a module: the exception's class or nothing."""
    path = os.pathsep.join([str(Path(CHILD).parent), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", CHILD, mod, group, pki.ca, pki.server.both],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    tail = "\n".join(done.stderr.splitlines()[-30:])
    assert done.returncode == 0, f"exit status {done.returncode}, at the end:\n{tail}"
    return json.loads(done.stdout)


REFUSALS = {
    "TypeError",
    "ValueError",
    "OverflowError",
    "AttributeError",
    "BufferError",
    "UnicodeEncodeError",
    "UnicodeError",
    "NotImplementedError",
    "ZeroDivisionError",  # what the failing function raises
    "OSError",
    "FileNotFoundError",
    "IsADirectoryError",
    "PermissionError",
    "BlockingIOError",
    "BrokenPipeError",
    "KeyError",
    "MemoryError",
    "SSLError",
    "SSLWantReadError",
    "SSLWantWriteError",
    "SSLEOFError",
    "SSLSyscallError",
    "SSLZeroReturnError",
    "SSLCertVerificationError",
    "",
}

# Where two classes tell the same, or the stdlib's own choice varies from version to version.
SAME = (
    {"TypeError", "AttributeError"},
    {"ValueError", "UnicodeEncodeError", "UnicodeError"},
    {"OverflowError", "ValueError", "MemoryError"},
    {"OverflowError", "TypeError"},
    {"BufferError", "TypeError", "ValueError"},
)


# Not compared: what works with sslbind and not with every stdlib (NPN, a default that gets lost
# on its way to the plain socket, options of 64 bits), and which of several faults is named first.
BETTER = ("set_npn_protocols(", "recvfrom_into(", "options = 2**63", "wrap_bio(", "set_psk_")


def alike(ours: str, theirs: str) -> bool:
    """Tell whether two refusals mean the same."""
    return ours == theirs or any({ours, theirs} <= kinds for kinds in SAME)


@pytest.mark.parametrize("group", ["functions", *MAKERS])
def test_wrong_arguments(group, pki):
    """Nothing crashes; what the stdlib refuses is refused, by an error of the same kind."""
    ours = tried("sslbind", group, pki)
    assert set(ours.values()) <= REFUSALS
    if not ORACLE:
        return
    theirs = tried("ssl", group, pki)
    differing = {
        label: (ours[label], told)
        for label, told in theirs.items()
        if label in ours and told and not alike(ours[label], told) and not label.startswith(BETTER)
    }
    assert differing == {}, "sslbind's answer first, then the stdlib's"


@pytest.mark.parametrize("size", (-1, -(2**31), -(2**63), 2**63, 2**64, 2**200))
def test_sizes_of_reads(mod, link, size):
    """Sizes that are negative or beyond an address are refused."""
    made = link(mod)
    made.ours.setblocking(False)
    if size == -1 and mod is not sslbind:
        pytest.skip("compared by the table above")
    with pytest.raises((ValueError, OverflowError)):
        made.ours.recv(size)
    made.ours.sendall(b"still well")
    assert made.theirs.recv(100) == b"still well"


@pytest.mark.parametrize("size", (2**31 - 1, 2**31, 2**32 + 5, 2**40))
def test_huge_sizes_cost_nothing(link, size):
    """A read of up to n bytes does not need n bytes of memory."""
    made = link(sslbind)
    made.theirs.sendall(b"small")
    told = outcome(made.ours.recv, size)
    # Sizes that do not fit an int may be refused, as the stdlib does.
    assert told.value == b"small" or told.error in ("OverflowError", "ValueError", "MemoryError")


def test_buffer_is_pinned_while_it_is_read_into(mod, link):
    """A buffer cannot be resized while bytes are read into it, and can be after that."""
    made = link(mod)
    buffer = bytearray(10)
    made.theirs.sendall(b"x")
    made.ours.recv_into(buffer)
    buffer.extend(b"more")
    view = memoryview(buffer)
    made.theirs.sendall(b"y")
    made.ours.recv_into(view)
    view.release()
    buffer.clear()


@pytest.mark.parametrize("method", ("recv_into", "read"))
def test_read_only_buffers(mod, link, method):
    """Bytes are not written to."""
    made = link(mod)
    made.theirs.sendall(b"xyz")
    target = b"do not touch"
    with pytest.raises((TypeError, BufferError)):
        if method == "read":
            made.ours.read(3, target)
        else:
            made.ours.recv_into(target)
    assert target == b"do not touch"
    assert made.ours.recv(3) == b"xyz"


def test_use_after_close_of_everything(pki):
    """Connections outlive their contexts, sessions and BIOs in any order of collection."""
    run_script(
        """
        import gc, random, sys
        import sslbind
        from robustness_child import Files, objects_of, sockets_of

        files = Files(sys.argv[1], sys.argv[2])
        dice = random.Random(1)
        for _ in range(60):
            client, server = objects_of(sslbind, files)
            sock = sockets_of(sslbind, files)
            things = [client, server, sock, sock.keep, client.context, server.context,
                      client.session, sock.session, client._sslobj]
            del client, server, sock.keep, sock
            dice.shuffle(things)
            while things:
                thing = things.pop()
                for name in ("cipher", "getpeercert", "pending", "version"):
                    if hasattr(thing, name):
                        getattr(thing, name)()
                if hasattr(thing, "get_ca_certs"):
                    thing.get_ca_certs()
                if hasattr(thing, "ticket_lifetime_hint"):
                    thing.id, thing.timeout
                if hasattr(thing, "close"):
                    thing.close()
                del thing
                gc.collect()
        """,
        pki.ca,
        pki.server.both,
        limit=100,
    )


def test_threads_at_exit(pki):
    """The interpreter ends in peace while a daemon thread is blocked in a read."""
    run_script(
        """
        import sys, threading
        import sslbind
        from links import Link

        class Files:
            ca, both = sys.argv[1], sys.argv[2]
        Files.server = Files
        made = Link(sslbind, Files)
        made.ours.settimeout(None)
        started = threading.Event()

        def receive():
            started.set()
            made.ours.recv(1)

        threading.Thread(target=receive, daemon=True).start()
        started.wait(20)
        """,
        pki.ca,
        pki.server.both,
    )


def test_many_bytes_that_are_no_tls(pki):
    """Random bytes instead of records end in an error, never in a crash."""
    run_script(
        """
        import random, sys
        import sslbind
        from robustness_child import Files, client_of, context_of, objects_of
        from links import HOST

        files = Files(sys.argv[1], sys.argv[2])
        dice = random.Random(7)
        client, server = client_of(sslbind, files), context_of(sslbind, files)
        for turn in range(3000):
            bio = sslbind.MemoryBIO()
            out = sslbind.MemoryBIO()
            if turn % 2:
                obj = client.wrap_bio(bio, out, False, HOST)
            else:
                obj = server.wrap_bio(bio, out, True)
            kind = dice.choice((20, 21, 22, 22, 22, 23, dice.randrange(256)))
            body = dice.randbytes(dice.randrange(80))
            if dice.random() < 0.7:
                body = bytes([dice.choice((1, 2, 4, 8, 11)), 0, 0, len(body) % 256]) + body
            bio.write(bytes([kind, 3, dice.choice((1, 3))]) + len(body).to_bytes(2, "big") + body)
            if dice.random() < 0.5:
                bio.write_eof()
            for call in (obj.do_handshake, obj.read, obj.unwrap, obj.do_handshake):
                try:
                    call()
                except (OSError, ValueError):
                    pass
        # The same after a handshake, where the records are damaged ones.
        for _ in range(40):
            one, two = objects_of(sslbind, files)
            one.read(100)
        """,
        pki.ca,
        pki.server.both,
        limit=100,
    )


def test_flipped_bits(pair, version):
    """Any flipped bit of a record is noticed (RFC 8446 section 5.2)."""
    for place in range(0, 27 * 8, 5):
        left, right = pair(sslbind, version)
        left.obj.write(b"hello")
        record = bytearray(left.outgoing.read())
        record[place // 8 % len(record)] ^= 1 << place % 8
        right.incoming.write(bytes(record))
        right.incoming.write_eof()
        told = outcome(right.obj.read, 100)
        assert told.error in ("SSLError", "SSLEOFError"), place


def test_descriptors_of_refused_connections(pki):
    """A handshake that fails by bad input leaves the descriptor to its owner."""
    left, right = raw_pair("unix")
    right.sendall(b"no TLS at all, by far")
    sock = server_context(sslbind, pki).wrap_socket(
        left, server_side=True, do_handshake_on_connect=False
    )
    assert outcome(sock.do_handshake).error == "SSLError"
    number = sock.fileno()
    assert os.fstat(number)
    sock.close()
    with pytest.raises(OSError):
        os.fstat(number)
    right.close()

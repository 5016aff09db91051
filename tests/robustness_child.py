"""Call everything that is public in a module with everything that is wrong; print what happened.

Run as a script by test_robustness.py: `robustness_child.py MODULE GROUP CA SERVER`. One line a
call, flushed before the call, so that the last line names the one that crashed.
"""

from __future__ import annotations

import array
import contextlib
import functools
import importlib
import json
import socket
import sys
import types
import warnings

import pki as _pki  # noqa: F401  (fails early, and plainly, if the path is wrong)
from links import HOST

WRONG = {
    "None": None,
    "True": True,
    "0": 0,
    "1": 1,
    "-1": -1,
    "-2**31": -(2**31),
    "2**31": 2**31,
    "2**32": 2**32,
    "2**63": 2**63,
    "2**64": 2**64,
    "2**70": 2**70,
    "-2**63": -(2**63),
    "1.5": 1.5,
    "nan": float("nan"),
    "empty text": "",
    "text": "text",
    "NUL": "a\0b",
    "non-ASCII": "schlüssel-☃-\U0001f600",
    "lone surrogate": "\ud800",
    "escaped byte": "\udcff",
    "long text": "x" * 100000,
    "dots": "." * 300,
    "percent": "%s%n%x",
    "empty bytes": b"",
    "bytes": b"bytes",
    "NUL bytes": b"a\0b",
    "high bytes": b"\xff\xfe",
    "bytearray": bytearray(b"bytearray"),
    "read-only view": memoryview(b"view"),
    "view": memoryview(bytearray(b"view")),
    "strided": memoryview(bytearray(b"strided"))[::2],
    "array": array.array("d", [1.0, 2.0]),
    "empty list": [],
    "list": [None, 1],
    "list of text": ["a", ""],
    "tuple": (),
    "pair": (1, "x"),
    "dict": {},
    "object": object(),
    "class": int,
    "function": lambda *args, **kwargs: None,
    "failing function": lambda *args, **kwargs: 1 / 0,
    "ellipsis": ...,
}

# Not tried with big sizes, which are no fault but only slow or large.
HUGE = ("2**31", "2**32", "-2**31")


def functions(mod, files):
    """Return the module's functions."""
    names = (
        "RAND_add",
        "RAND_bytes",
        "RAND_status",
        "cert_time_to_seconds",
        "DER_cert_to_PEM_cert",
        "PEM_cert_to_DER_cert",
        "get_default_verify_paths",
        "get_protocol_name",
        "create_default_context",
        "_create_unverified_context",
        "SSLContext",
        "MemoryBIO",
        "SSLSocket",
        "SSLObject",
        "SSLSession",
        "TLSVersion",
        "Purpose",
        "Options",
        "match_hostname",
        "wrap_socket",
        "get_sigalgs",
        "RAND_pseudo_bytes",
    )
    return None, [name for name in names if hasattr(mod, name)], lambda: mod


def public(thing):
    """Return the names of an object's public members, but not what any socket has."""
    return [
        name
        for name in dir(type(thing))
        if not name.startswith("_")
        and name not in LEAVE_OUT
        and getattr(type(thing), name) is not getattr(socket.socket, name, None)
    ]


@functools.cache
def shared(maker, mod, files):
    """Return a context for many connections, which none of the calls below touches."""
    return maker(mod, files)


def context_of(mod, files):
    """Make a context."""
    context = mod.SSLContext(mod.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.both)
    context.load_verify_locations(files.ca)
    return context


def client_of(mod, files):
    """Make a client's context."""
    context = mod.SSLContext(mod.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(files.ca)
    return context


def bio_of(mod, files):
    """Make a memory BIO with something in it."""
    bio = mod.MemoryBIO()
    bio.write(b"content")
    return bio


def ended_bio_of(mod, files):
    """Make a memory BIO at its end."""
    bio = mod.MemoryBIO()
    bio.write_eof()
    return bio


def fresh_object_of(mod, files):
    """Make an object before its handshake."""
    context = shared(client_of, mod, files)
    return context.wrap_bio(mod.MemoryBIO(), mod.MemoryBIO(), False, HOST)


def objects_of(mod, files):
    """Make two objects after their handshake."""
    one, two = mod.MemoryBIO(), mod.MemoryBIO()
    client = shared(client_of, mod, files).wrap_bio(one, two, False, HOST)
    server = shared(context_of, mod, files).wrap_bio(two, one, True)
    for _ in range(4):
        for end in (client, server):
            with contextlib.suppress(mod.SSLWantReadError):
                end.do_handshake()
    server.write(b"something to read")
    return client, server


def object_of(mod, files):
    """Make an object after its handshake."""
    client, server = objects_of(mod, files)
    client.keep = server
    return client


def session_of(mod, files):
    """Make a session."""
    return objects_of(mod, files)[0].session


def sockets_of(mod, files):
    """Make two non-blocking sockets after their handshake."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    client = shared(client_of, mod, files).wrap_socket(
        left, server_hostname=HOST, do_handshake_on_connect=False
    )
    server = shared(context_of, mod, files).wrap_socket(
        right, server_side=True, do_handshake_on_connect=False
    )
    for _ in range(4):
        for end in (client, server):
            with contextlib.suppress(mod.SSLWantReadError):
                end.do_handshake()
    server.send(b"something to read")
    client.keep = server
    return client


def fresh_socket_of(mod, files):
    """Make a non-blocking socket before its handshake."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.shutdown(socket.SHUT_WR)  # else a blocking handshake would wait for ever
    sock = shared(client_of, mod, files).wrap_socket(
        left, server_hostname=HOST, do_handshake_on_connect=False
    )
    sock.keep = right
    return sock


def closed_socket_of(mod, files):
    """Make a closed socket."""
    sock = sockets_of(mod, files)
    sock.close()
    return sock


def unconnected_socket_of(mod, files):
    """Make a socket that is not connected."""
    plain = socket.socket()
    plain.setblocking(False)
    return shared(client_of, mod, files).wrap_socket(plain, server_hostname=HOST)


MAKERS = {
    "context": context_of,
    "client context": client_of,
    "bio": bio_of,
    "ended bio": ended_bio_of,
    "fresh object": fresh_object_of,
    "object": object_of,
    "session": session_of,
    "socket": sockets_of,
    "fresh socket": fresh_socket_of,
    "closed socket": closed_socket_of,
    "unconnected socket": unconnected_socket_of,
}

# What would touch the world outside, or is no more than an attribute.
LEAVE_OUT = {"keylog_filename", "sslsocket_class", "sslobject_class"}

# Members that leave the object as it was, so that one will do for many calls.
HARMLESS = (
    "set_",
    "get",
    "load_",
    "selected_",
    "wrap_",
    "cipher",
    "version",
    "pending",
    "compression",
    "shared_ciphers",
    "session",
    "group",
)


def told(call, *args) -> str:
    """Return the class of what a call raised, or an empty text."""
    try:
        call(*args)
    except BaseException as exc:
        return type(exc).__name__
    return ""


def tries(mod, group, files):
    """Yield (label, call) for every function or method and every wrong argument."""
    if group == "functions":
        _, names, make = functions(mod, files)
    else:
        maker = MAKERS[group]
        names = public(maker(mod, files))

        def make():
            return maker(mod, files)

    for name in names:
        target = make()
        fresh = (lambda one=target: one) if name.startswith(HARMLESS) else make
        kind = getattr(type(target), name, None) if group != "functions" else None
        if isinstance(kind, (property, types.GetSetDescriptorType)) or (
            kind is not None and not callable(kind)
        ):
            for label, value in WRONG.items():
                yield f"{name} = {label}", fresh(), lambda t, n=name, v=value: setattr(t, n, v)
            continue
        yield f"{name}()", fresh(), lambda t, n=name: getattr(t, n)()
        for label, value in WRONG.items():
            if label in HUGE:
                continue
            yield f"{name}({label})", fresh(), lambda t, n=name, v=value: getattr(t, n)(v)
            yield (
                f"{name}({label}, {label})",
                fresh(),
                lambda t, n=name, v=value: getattr(t, n)(v, v),
            )
        yield f"{name}(10 arguments)", fresh(), lambda t, n=name: getattr(t, n)(*range(10))
        yield f"{name}(nonsense=1)", fresh(), lambda t, n=name: getattr(t, n)(nonsense=1)


class Files:
    """The paths that the makers need."""

    def __init__(self, ca, both) -> None:
        self.ca, self.both = ca, both
        self.server = self


def main(name, group, ca, both) -> None:
    """Try one group on one module."""
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda args: None
    mod = importlib.import_module(name)
    results = {}
    for label, target, call in tries(mod, group, Files(ca, both)):
        print(label.encode("ascii", "backslashreplace").decode(), file=sys.stderr, flush=True)
        results[label] = told(call, target)
    print(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Shortcuts into C answer as the methods in Python that they stand before: shortcuts.c.

What those do is the business of all other tests; here it is what is not plain.
"""

from __future__ import annotations

import inspect
import itertools
import ssl
from unittest import mock

import pytest
from links import Link, memory_pair, shaken_pair
from links import client_context as new_client
from links import server_context as new_server
from scripts import run_script

import sslbind
from sslbind._conn import make_connection

METHODS = [
    *((sslbind.SSLObject, name) for name in ("read", "write", "do_handshake")),
    *((sslbind.SSLSocket, name) for name in ("read", "write", "recv", "send", "sendall")),
    (sslbind.SSLSocket, "recv_into"),
]
IN_C = sslbind._ffi.native is not None


@pytest.mark.parametrize(("cls", "name"), METHODS, ids=lambda part: getattr(part, "__name__", part))
def test_they_stand_there(cls, name):
    """Each has its name, the stdlib's parameters and a docstring; in C where there is any."""
    method = getattr(cls, name)
    theirs = getattr(getattr(ssl, cls.__name__), name)
    assert inspect.isfunction(method) != IN_C
    assert (method.__name__, method.__qualname__) == (name, f"{cls.__name__}.{name}")
    assert list(inspect.signature(method).parameters) == list(inspect.signature(theirs).parameters)
    assert inspect.getdoc(method).startswith(("Return ", "Encrypt ", "Send ", "Receive ", "Do "))


def test_any_way_to_pass_arguments(pki):
    """By position, by keyword, or not at all; and what is wrong is a TypeError."""
    left, right = shaken_pair(sslbind, pki)
    assert left.obj.write(data=b"abcdef") == 6
    left.flush()
    buffer = bytearray(3)
    assert right.obj.read(1, None) == b"a"
    assert right.obj.read(buffer=buffer, len=1) == 1 and buffer[:1] == b"b"
    assert right.obj.read(2, buffer) == 2 and buffer[:2] == b"cd"
    assert right.obj.read() == b"ef"
    for call in (
        lambda: left.obj.write(),
        lambda: left.obj.write(b"", b""),
        lambda: left.obj.write(text=b""),
        lambda: left.obj.write("text"),
        lambda: right.obj.read(1, None, 2),
        lambda: right.obj.read(size=1),
        lambda: right.obj.read("1"),
        lambda: left.obj.do_handshake(True),
        lambda: sslbind.SSLObject.write(object(), b""),
    ):
        with pytest.raises((TypeError, AttributeError)):
            call()


def test_any_way_to_receive(pki):
    """The arguments of recv, recv_into, send and sendall, flags among them."""
    with Link(sslbind, pki) as link:
        ours, buffer = link.ours, bytearray(8)
        link.theirs.sendall(b"abcdefghijkl")
        assert ours.recv(1) == b"a"
        assert ours.recv(buflen=1) == b"b"
        assert ours.recv(1, 0) == b"c"
        assert ours.recv_into(buffer, 1) == 1 and buffer[:1] == b"d"
        assert ours.recv_into(buffer, nbytes=1) == 1 and buffer[:1] == b"e"
        assert ours.recv_into(memoryview(buffer)[:2], None) == 2 and buffer[:2] == b"fg"
        assert ours.recv_into(memoryview(buffer)[:2], None, 0) == 2 and buffer[:2] == b"hi"
        assert ours.recv_into(memoryview(buffer)[:1], "") == 1 and buffer[:1] == b"j"
        assert ours.recv() == b"kl"
        assert ours.sendall(b"x", 0) is None is ours.sendall(data=b"y")
        assert ours.send(b"z", flags=0) == 1
        for call, args in (
            (ours.recv, (1,)),
            (ours.recv_into, (buffer, 1)),
            (ours.send, (b"",)),
            (ours.sendall, (b"",)),
        ):
            with pytest.raises(ValueError, match="non-zero flags"):
                call(*args, 1)


def test_connection_of_another_kind(pki):
    """Whatever stands in `_sslobj` is asked, and nothing else."""
    tls = memory_pair(new_client(sslbind, pki), new_server(sslbind, pki), client_mod=sslbind)[0].obj
    tls._sslobj = mock.Mock(**{"read.return_value": b"mine", "write.return_value": 77})
    assert (tls.read(5), tls.write(b"12")) == (b"mine", 77)
    tls._sslobj.read.assert_called_once_with(5)
    tls._sslobj.write.assert_called_once_with(b"12")

    class Interrupted(sslbind.SSLObject):
        times = 0

        @property
        def _sslobj(self):
            self.times += 1
            raise KeyboardInterrupt

    interrupted = object.__new__(Interrupted)
    with pytest.raises(KeyboardInterrupt):
        interrupted.read(5)
    assert interrupted.times == 1
    del tls._sslobj
    with pytest.raises(AttributeError, match="_sslobj"):
        tls.read(5)


def test_own_methods(pki):
    """A subclass that overrides one is called, and can call what it overrides."""

    class Counting(sslbind.SSLObject):
        count = 0

        def read(self, *args, **options):
            self.count += 1
            return super().read(*args, **options)

    client = new_client(sslbind, pki)
    client.sslobject_class = Counting
    left, right = shaken_pair(sslbind, pki, client=client)
    right.obj.write(b"xy")
    right.flush()
    before = left.obj.count
    assert left.obj.read(1) + left.obj.read(len=1) == b"xy"
    assert left.obj.count == before + 2


@pytest.mark.parametrize("suppress", (True, False))
def test_end_without_goodbye(pki, suppress):
    """It is an end or an error, by the socket's own attribute, to each way of reading."""
    with Link(sslbind, pki, suppress_ragged_eofs=suppress) as link:
        ours = link.ours
        super(ssl.SSLSocket, link.theirs).shutdown(1)
        for read, end in (
            (lambda: ours.recv(5), b""),
            (lambda: ours.read(5), b""),
            (lambda: ours.read(5, None), b""),
            (lambda: ours.read(5, bytearray(5)), 0),
            (lambda: ours.recv_into(bytearray(5)), 0),
        ):
            if suppress:
                assert read() == end
            else:
                with pytest.raises(sslbind.SSLEOFError):
                    read()
        del ours.suppress_ragged_eofs
        with pytest.raises(AttributeError, match="suppress_ragged_eofs"):
            ours.recv(5)


class Text(str):
    """A host name of somebody's own class."""

    __slots__ = ()


class Buffer(sslbind.MemoryBIO):
    """A memory buffer of somebody's own class."""

    read = None


@pytest.mark.skipif(not IN_C, reason="there is no shortcut")
@pytest.mark.parametrize("side", (False, True))
def test_connection_without_python(pki, side):
    """A plain one is made without the function that looks at what is not plain."""
    context = (new_server if side else new_client)(sslbind, pki)
    with mock.patch("sslbind._ctx.make_connection", side_effect=AssertionError):
        for name in (None,) if side else (None, "a.example", "127.0.0.1", "xn--bcher-kva.example"):
            context.check_hostname = name is not None
            tls = context.wrap_bio(sslbind.MemoryBIO(), Buffer(), side, name)
            assert (tls.server_side, tls.server_hostname) == (side, name)


def test_own_wrap_bio(pki):
    """A subclass may have its own of what connections are made by, called as in the stdlib."""

    class Keywords(sslbind.SSLContext):
        def _wrap_bio(self, incoming, outgoing, *, server_side, server_hostname, **options):
            assert not server_side
            name = server_hostname + ".example"
            return super()._wrap_bio(incoming, outgoing, server_side, name, **options)

        def _encode_hostname(self, hostname):
            return hostname or "b"

    context = Keywords(sslbind.PROTOCOL_TLS_CLIENT)
    for name, wrapped in (("a", "a.example"), (None, "b.example")):
        tls = context.wrap_bio(sslbind.MemoryBIO(), sslbind.MemoryBIO(), server_hostname=name)
        assert tls.server_hostname == wrapped


NAMES = (
    *(None, "a.example", "127.0.0.1", "::1", "", ".example", "a\0b", "\0", "b\xfccher.example"),
    *("\udc80", b"a.example", b"", b".a", bytearray(b"a.example"), 1, Text("a.example"), Text("")),
)


def made(call, *args, **options):
    """Return a connection, and what it says of itself; or None, and what was raised."""
    try:
        conn = call(*args, **options)
    except Exception as exc:  # what it is, is compared
        return None, (type(exc), str(exc))
    return conn, (type(conn), conn.server_side, conn.server_hostname, conn.context, conn.owner)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("side", (False, True, 0, 1, None, "yes"), ids=repr)
def test_connections_alike(pki, side, name):
    """What the shortcut makes or raises, by whatever arguments, the function in Python does."""
    client, server = new_client(sslbind, pki), new_server(sslbind, pki)
    either = sslbind.SSLContext(sslbind.PROTOCOL_TLS)
    sessions = [
        shaken_pair(sslbind, pki, client=context)[0].obj.session
        for context in (client, either, None)
    ]
    foreign, own = ssl.MemoryBIO, sslbind.MemoryBIO
    for context, offered, (incoming, outgoing) in itertools.product(
        (client, server, either),
        (None, *sessions, object()),
        ((own, own), (own, Buffer), (foreign, own), (own, object)),
    ):
        bios = incoming(), outgoing()
        conn, told = made(context._wrap_bio, *bios, side, name, owner=client, session=offered)
        other, expected = made(
            make_connection, context, bool(side), name, client, offered, None, bios
        )
        assert told == expected
        assert (conn is None) == (other is None)


AGAIN = """
import inspect, sys
from links import memory_pair, shake_memory

def talk(has_shortcuts):
    import sslbind

    server = sslbind.SSLContext(sslbind.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(sys.argv[1])
    client = sslbind.SSLContext(sslbind.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(sys.argv[2])
    left, right = memory_pair(client, server, client_mod=sslbind, server_mod=sslbind)
    shake_memory(left, right)
    left.obj.write(b"word")
    left.flush()
    in_c = has_shortcuts and sslbind._ffi.native is not None
    print(right.obj.read(9), inspect.isfunction(sslbind.SSLObject.read) != in_c)

talk(True)
for name in [name for name in sys.modules if name.startswith("sslbind")]:
    del sys.modules[name]
talk(False)
"""


def test_another_import(pki):
    """Whoever imports the package once more has the methods in Python."""
    out = run_script(AGAIN, pki.server.both, pki.ca)
    assert out == "b'word' True\n" * 2

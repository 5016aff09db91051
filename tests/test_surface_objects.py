"""What the objects of the surface are to the rest of Python: copied, pickled, printed, audited."""

from __future__ import annotations

import contextlib
import copy
import enum
import inspect
import operator
import pickle
import ssl
import sys
import warnings

import pytest
from links import client_context, raw_pair, shaken_pair
from outcomes import ORACLE, PYPY, outcome
from pki import HOST
from scripts import run_script

import sslbind

ENUMS = sorted(
    name
    for name, found in vars(ssl).items()
    if isinstance(found, enum.EnumMeta) and found.__module__ == "ssl"
)

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "pickle, protocol 2": lambda thing: pickle.dumps(thing, 2),
}


def made(mod, name, pki):
    """Return an object of the kind `name`."""
    if name == "context":
        return client_context(mod, pki)
    if name == "bio":
        return mod.MemoryBIO()
    if name == "socket":
        left, right = raw_pair()
        right.close()
        return client_context(mod, pki).wrap_socket(
            left, do_handshake_on_connect=False, server_hostname=HOST
        )
    conn = shaken_pair(mod, pki)[0].obj
    if name == "object":
        return conn
    if name == "connection":
        return conn._sslobj
    if name == "session":
        return conn.session
    return conn._sslobj.get_unverified_chain()[0]


# What Python says to each that wants to copy it; an SSLObject is copied as any object of Python's,
# down to its connection.
UNCOPIED = {
    "context": "SSLContext",
    "bio": "_ssl.MemoryBIO",
    "socket": "SSLSocket",
    "connection": "_ssl._SSLSocket",
    "session": "_ssl.SSLSession",
    "certificate": "_ssl.Certificate",
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", UNCOPIED)
def test_no_copies(mod, pki, name, how):
    """What owns memory of OpenSSL's, or a descriptor, cannot be copied, and says what it is."""
    thing = made(mod, name, pki)
    with pytest.raises(TypeError) as caught:
        COPIES[how](thing)
    assert str(caught.value) == f"cannot pickle {UNCOPIED[name]!r} object"
    with contextlib.suppress(AttributeError):
        thing.close()


@pytest.mark.parametrize("how", COPIES)
def test_copies_of_an_object(mod, pki, how):
    """A shallow copy of an SSLObject shares its connection; there is no deeper one."""
    thing = made(mod, "object", pki)
    if how == "copy":
        assert copy.copy(thing)._sslobj is thing._sslobj
    else:
        with pytest.raises(TypeError, match=r"cannot pickle '_ssl\._SSLSocket' object"):
            COPIES[how](thing)


def test_copies_of_own_classes():
    """A subclass, which the stdlib does not allow, is refused by its own name."""

    class Mine(sslbind.MemoryBIO):
        pass

    with pytest.raises(TypeError, match="cannot pickle 'Mine' object"):
        copy.copy(Mine())


def test_sessions_have_no_hash(mod, pki):
    """They are equal by their ids, but not for dicts, as in CPython."""
    with pytest.raises(TypeError, match="unhashable type"):
        hash(made(mod, "session", pki))


@pytest.mark.parametrize("name", ["bio", "connection", "session", "certificate"])
def test_named_as_in_the_stdlib(mod, pki, name):
    """The back's objects go by the names of CPython's `_ssl`."""
    thing = made(mod, name, pki)
    assert repr(thing).startswith("<_ssl.")
    assert type(thing).__module__ == "_ssl"


@pytest.mark.parametrize("name", ["_SSLContext", "_SSLSocket", "SSLSession", "Certificate"])
def test_classes_are_named_as_in_the_stdlib(backend, name):
    """So do the classes themselves."""
    assert repr(getattr(backend, name)) == f"<class '_ssl.{name}'>"


TRAVELS = [
    lambda thing, protocol=protocol: pickle.loads(pickle.dumps(thing, protocol))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
]

# --- Attributes -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ("context", "connection"))
def test_what_can_be_set_cannot_be_deleted(kind, pki):
    """It keeps its value, and on Python 3.15 the error says what the stdlib's does."""
    ours, theirs = made(sslbind, kind, pki), made(ssl, kind, pki)
    settable = [
        name
        for cls in type(ours).__mro__
        for name, held in vars(cls).items()
        if isinstance(held, property) and held.fset is not None and name[:2] != "__"
    ]
    assert len(settable) >= 3
    for name in settable:
        before = outcome(getattr, ours, name)
        told = outcome(delattr, ours, name)
        assert told.error == "AttributeError" and outcome(getattr, ours, name) == before
        if sys.version_info >= (3, 15) and hasattr(theirs, name):
            with pytest.raises(AttributeError) as here:
                delattr(ours, name)
            with pytest.raises(AttributeError) as there:
                delattr(theirs, name)
            assert str(here.value) == str(there.value) or name == "post_handshake_auth"


# --- Enumerations -----------------------------------------------------------------------------


def told_of(member) -> list[str]:
    """Return all the words there are for a member or a combination."""
    return [repr(member), str(member), f"{member}", f"{member:>4}", f"{int(member):d}"]


def members(mod, name):
    """Return the members that this interpreter's own ssl has; PyPy's has some of its own."""
    theirs = getattr(ssl, name).__members__
    known = [key for key in theirs if not PYPY or theirs[key].name == key]
    if PYPY:
        known = [key for key in known if key in getattr(sslbind, name).__members__]
    return {key: getattr(mod, name)[key] for key in known}


@pytest.mark.parametrize("name", ENUMS)
def test_enum_texts(name):
    """Every member of every enumeration prints as this Python's own does."""
    if name == "Purpose":
        for key, member in members(sslbind, name).items():
            assert (repr(member), str(member)) == (repr(ssl.Purpose[key]), str(ssl.Purpose[key]))
        return
    ours, theirs = members(sslbind, name), members(ssl, name)
    assert {k: told_of(v) for k, v in ours.items()} == {k: told_of(v) for k, v in theirs.items()}
    cls = getattr(sslbind, name)
    assert cls.__name__ == getattr(ssl, name).__name__
    assert [base.__name__ for base in cls.__mro__] == [
        b.__name__ for b in getattr(ssl, name).__mro__
    ]


@pytest.mark.parametrize("name", ENUMS)
def test_enums_travel(name):
    """A pickled or copied member is the same member; where the stdlib's fails, so does ours."""
    for key, member in members(sslbind, name).items():
        for travel in (*TRAVELS, copy.copy, copy.deepcopy):
            told = outcome(travel, member)
            assert told.value is member or told.error
            assert told.error == outcome(travel, getattr(ssl, name)[key]).error


COLLECTED = [
    "_SSLMethod",
    "Options",
    "AlertDescription",
    "SSLErrorNumber",
    "VerifyFlags",
    "VerifyMode",
]


@pytest.mark.parametrize("name", COLLECTED)
def test_enums_are_shared(name):
    """The stdlib's enumeration is ours if both have the same members, and only then."""
    ours, theirs = getattr(sslbind, name), getattr(ssl, name)
    assert (ours is theirs) == (ours.__members__ == theirs.__members__)


def test_enums_that_the_stdlib_has_otherwise():
    """Members are OpenSSL's and not those of an enumeration that somebody has changed."""
    run_script(
        f"""
        import pickle, ssl, sys
        from enum import IntEnum

        PYPY = sys.implementation.name == "pypy"
        kept = {{name: getattr(ssl, name) for name in {COLLECTED!r}}}
        for name, theirs in kept.items():
            changed = {{**theirs.__members__, "ODD": 12345}}
            setattr(ssl, name, IntEnum(name, changed, module="ssl"))
        import sslbind

        for name, theirs in kept.items():
            ours = getattr(sslbind, name)
            assert ours is not theirs and not hasattr(ours, "ODD"), name
            for key, member in theirs.__members__.items():
                if PYPY and key not in ours.__members__:
                    continue
                mine = ours[key]
                assert getattr(sslbind, key) is mine is pickle.loads(pickle.dumps(mine))
                if not PYPY and key != "OP_ALL":
                    assert (mine, repr(mine), str(mine)) == (member, repr(member), str(member))
        """
    )


@pytest.mark.parametrize("name", ["Options", "VerifyFlags"])
def test_flags(name):
    """Combinations print, travel and compare as this Python's own flags do."""
    ours, theirs = getattr(sslbind, name), getattr(ssl, name)
    common = [key for key in members(ssl, name) if theirs[key]]
    for one, two in zip(common, common[1:]):
        for combine in (operator.or_, operator.and_, operator.xor):
            mine, other = combine(ours[one], ours[two]), combine(theirs[one], theirs[two])
            assert isinstance(mine, ours) and mine == other
            if set(ours.__members__) == set(theirs.__members__):
                assert told_of(mine) == told_of(other)
            for travel in TRAVELS:
                told = outcome(travel, mine)
                # One of our further members may be just this combination, and have a name.
                same = not PYPY and mine.name == other.name
                assert not same or told.error == outcome(travel, other).error
                assert told.error or told.value == mine


@pytest.mark.parametrize(
    "name",
    [name for name, found in vars(sslbind).items() if inspect.isclass(found) and name[:3] == "SSL"],
)
def test_errors_travel_with_what_they_say(name):
    """An exception of ours keeps class, text and arguments through a pickle and a copy."""
    cls = getattr(sslbind, name)
    if not issubclass(cls, BaseException):
        pytest.skip("no exception")
    error = cls(1, "text")
    error.reason, error.library = "REASON", "SSL"
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is cls
        assert (again.args, str(again), again.reason) == (error.args, "text", "REASON")


# --- Contexts without arguments ---------------------------------------------------------------


def test_context_without_arguments():
    """`SSLContext()` is PROTOCOL_TLS, with as many warnings as this Python's own gives."""
    told = []
    for mod in (sslbind, ssl):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            context = mod.SSLContext()
        told.append([(str(w.message), w.category, w.filename) for w in caught])
        assert context.protocol == mod.PROTOCOL_TLS
        assert (context.verify_mode, context.check_hostname) == (mod.CERT_NONE, False)
    assert PYPY or told[0] == told[1]
    assert len(told[0]) == (2 if sys.version_info >= (3, 10) else 0)


# --- Audit events -----------------------------------------------------------------------------


EVENTS = """
import socket, sys
import ssl, sslbind
from pki import Pki
from links import Peer, client_context, server_context
import pathlib, subprocess

pki = Pki(pathlib.Path(sys.argv[1]))
(pki.folder / "dh.pem").write_text(sys.argv[2])
"x.example".encode("idna")  # imports, which raise events of their own
seen, on = [], False

def hook(name, args):
    if on and name.partition(".")[0] in ("ssl", "socket", "open", "os", "ctypes", "cffi"):
        seen.append((name, args[:2] if name == "open" else args[1:] if args else args))

sys.addaudithook(hook)

def told(mod):
    global on
    seen.clear()
    client, server = client_context(mod, pki), server_context(mod, pki)
    listener = socket.create_server(("127.0.0.1", 0))
    on = True
    client.load_verify_locations(cafile=pki.ca)
    client.load_verify_locations(cadata=pki.ca_der)
    server.load_cert_chain(pki.server.cert, pki.server.key)
    server.load_dh_params(pki.folder / "dh.pem")
    try:
        server.load_dh_params("/nowhere")
    except FileNotFoundError:
        pass
    client.keylog_filename = str(pki.folder / "keys")
    mod.SSLContext(mod.PROTOCOL_TLS_CLIENT).load_default_certs()
    mod.RAND_bytes(4)
    sock = client.wrap_socket(socket.socket(), server_hostname="localhost")
    sock.settimeout(20)
    on = False

    def serve():
        plain, _ = listener.accept()
        with server.wrap_socket(plain, server_side=True) as conn:
            conn.sendall(b"hello")
            conn.recv(1)

    with Peer(serve):
        on = True
        sock.connect(listener.getsockname())
        sock.recv(5)
        on = False
        sock.close()
    listener.close()
    return [(name, str(args)) for name, args in seen]

theirs, ours = told(ssl), told(sslbind)
import collections
count = lambda events: collections.Counter(name for name, _ in events)
assert [e for e in ours if e[0] == "open"] == [e for e in theirs if e[0] == "open"], (ours, theirs)
assert set(count(ours)) == set(count(theirs)), (ours, theirs)
assert count(ours)["socket.connect"] == 1
print(sorted(count(ours)))
"""


@pytest.mark.skipif(not ORACLE, reason="this interpreter's own ssl is no oracle")
def test_audit_events(pki, tmp_path):
    """The same operations raise the same events as in the stdlib, with the same files in them."""
    with open(pki.folder / "dh.pem", "wb") as file:
        from cryptography.hazmat.primitives.asymmetric import dh
        from cryptography.hazmat.primitives.serialization import Encoding, ParameterFormat

        parameters = dh.DHParameterNumbers(FFDHE2048, 2).parameters()
        file.write(parameters.parameter_bytes(Encoding.PEM, ParameterFormat.PKCS3))
    text = (pki.folder / "dh.pem").read_text()
    assert "socket.connect" in run_script(EVENTS, str(tmp_path), text)


# The prime of the group ffdhe2048, RFC 7919 appendix A.1.
FFDHE2048 = int(
    "FFFFFFFFFFFFFFFFADF85458A2BB4A9AAFDC5620273D3CF1D8B9C583CE2D3695A9E13641146433FBCC939DCE"
    "249B3EF97D2FE363630C75D8F681B202AEC4617AD3DF1ED5D5FD65612433F51F5F066ED0856365553DED1AF3"
    "B557135E7F57C935984F0C70E0E68B77E2A689DAF3EFE8721DF158A136ADE73530ACCA4F483A797ABC0AB182"
    "B324FB61D108A94BB2C8E3FBB96ADAB760D7F4681D4F42A3DE394DF4AE56EDE76372BB190B07A7C8EE0A6D70"
    "9E02FCE1CDF7E2ECC03404CD28342F619172FE9CE98583FF8E4F1232EEF28183C3FE3B1B4C6FAD733BB5FCBC"
    "2EC22005C58EF1837D1683B2C6F34A26C1B2EFFA886B423861285C97FFFFFFFFFFFFFFFF",
    16,
)

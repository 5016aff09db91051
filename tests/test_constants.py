"""Names and values are the stdlib's."""

from __future__ import annotations

import _ssl
import enum
import inspect
import pickle
import ssl

import pytest
from outcomes import ORACLE

import sslbind

SAME_OPENSSL = ssl.OPENSSL_VERSION_INFO[:2] == sslbind.OPENSSL_VERSION_INFO[:2]

# PyPy's alone, and on no list of what sslbind has to offer.
PYPY_ONLY = {"OP_NO_DTLSv1", "OP_NO_DTLSv1_2", "SSL_ERROR_NONE", "SSL_ERROR_NO_SOCKET"}

# What other modules left lying about in `ssl`'s namespace is none of its API.
PUBLIC = sorted(
    name
    for name, value in vars(ssl).items()
    if not name.startswith("_") and not inspect.ismodule(value) and name not in PYPY_ONLY
)
NUMBERS = [name for name in PUBLIC if isinstance(getattr(ssl, name), int)]
ENUMS = [
    name
    for name in (*PUBLIC, "_SSLMethod", "_TLSContentType", "_TLSAlertType", "_TLSMessageType")
    if isinstance(getattr(ssl, name, None), enum.EnumMeta)
]


@pytest.mark.parametrize("name", PUBLIC)
def test_name_exists(name):
    """Every public name of this Python's `ssl` is there, and of the same kind."""
    ours, theirs = getattr(sslbind, name), getattr(ssl, name)
    assert inspect.isclass(ours) == inspect.isclass(theirs)
    assert callable(ours) == callable(theirs)


@pytest.mark.skipif(not SAME_OPENSSL, reason="values may differ between OpenSSL's versions")
@pytest.mark.parametrize("name", NUMBERS)
def test_value(name):
    """Every constant has the stdlib's value."""
    ours, theirs = getattr(sslbind, name), getattr(ssl, name)
    if name == "OP_ALL":
        # 3.9 and PyPy show it as a negative number of 32 bits; 3.10 and later do not.
        assert ours & 0xFFFFFFFF == theirs & 0xFFFFFFFF
    elif name.startswith("OPENSSL_VERSION"):
        assert ours >> 20 == theirs >> 20
    elif name.startswith("HAS_") and ours != theirs:
        assert ours, f"{name} is something that the stdlib has and sslbind has not"
    else:
        assert ours == theirs


@pytest.mark.skipif(not SAME_OPENSSL, reason="values may differ between OpenSSL's versions")
@pytest.mark.parametrize("name", ENUMS)
def test_enum(name):
    """Every enum has at least the stdlib's members, with their values."""
    ours, theirs = getattr(sslbind, name), getattr(ssl, name)
    assert issubclass(ours, enum.Enum)
    assert issubclass(ours, enum.IntFlag) == issubclass(theirs, enum.IntFlag)
    for member, value in theirs.__members__.items():
        if member == "OP_ALL" or member in PYPY_ONLY:
            continue
        assert ours.__members__[member].value == value.value
        if value.name not in PYPY_ONLY:
            assert repr(ours[member]) == repr(value)


@pytest.mark.parametrize(
    "attribute, kind",
    (
        ("options", "Options"),
        ("verify_flags", "VerifyFlags"),
        ("verify_mode", "VerifyMode"),
        ("minimum_version", "TLSVersion"),
        ("maximum_version", "TLSVersion"),
        ("protocol", "_SSLMethod"),
    ),
)
def test_context_attributes_are_enums(mod, attribute, kind):
    """A context shows its settings as members of the enums."""
    context = mod.SSLContext(mod.PROTOCOL_TLS_CLIENT)
    assert isinstance(getattr(context, attribute), getattr(mod, kind))


def test_versions(mod):
    """The version of OpenSSL is told as text, numbers and integer, which agree."""
    assert mod.OPENSSL_VERSION.startswith("OpenSSL ")
    major, minor = mod.OPENSSL_VERSION_INFO[:2]
    number = mod.OPENSSL_VERSION_NUMBER
    assert (number >> 28, number >> 20 & 0xFF) == (major, minor)
    assert mod.OPENSSL_VERSION.split()[1].startswith(f"{major}.{minor}.")


def test_purposes(mod):
    """Purposes are enum members that are also OBJECT IDENTIFIERs."""
    purpose = mod.Purpose.SERVER_AUTH
    assert (purpose.nid, purpose.shortname, purpose.oid) == (
        129,
        "serverAuth",
        "1.3.6.1.5.5.7.3.1",
    )
    assert mod._ASN1Object.fromname("clientAuth") == mod.Purpose.CLIENT_AUTH
    assert mod._ASN1Object.fromnid(130) == mod.Purpose.CLIENT_AUTH


@pytest.mark.parametrize("name", ("SSLError", "SSLZeroReturnError", "SSLCertVerificationError"))
def test_errors_travel(name):
    """Errors can be pickled."""
    error = getattr(sslbind, name)(1, "text")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert copy.args == error.args


def test_all_is_true():
    """What `__all__` promises exists, once."""
    if sslbind is ssl or not hasattr(sslbind, "__all__"):
        pytest.skip("the stdlib stands in for sslbind, and has no __all__")
    assert len(set(sslbind.__all__)) == len(sslbind.__all__)
    for name in sslbind.__all__:
        assert hasattr(sslbind, name)


def test_backend_has_the_names_of_its_model(backend):
    """`sslbind._ssl` has the public names of this Python's `_ssl`."""
    if not ORACLE:
        pytest.skip("PyPy's _ssl is full of its own imports, and 3.9's of what 3.10 removed")
    # Debugging aids and what only the builder of the interpreter knows.
    ignored = {"lib", "ffi", "sys", "os"}
    names = {name for name in vars(_ssl) if not name.startswith("__")} - ignored
    names -= PYPY_ONLY
    names = {name for name in names if name.isupper() or name in ("MemoryBIO", "SSLSession")}
    assert sorted(names - set(dir(backend))) == []

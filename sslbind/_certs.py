"""Certificates: the ``Certificate`` class, and the dict that getpeercert() returns."""

from __future__ import annotations

import marshal
import warnings

from . import _errors, _ffi
from ._constants import ENCODING_DER, ENCODING_PEM
from ._ffi import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Info = dict[str, Any]

# What has been read of certificates lately, by their DER form: a program meets few of them, and
# each many times. The values of such a dict cannot change, so a shallow copy is one's own.
_KNOWN_MAX = 256
known_infos: dict[bytes, Info] = {}


def load_info(der: bytes, marshalled: bytes) -> Info:
    """Return the dict of a certificate from its DER form and its fields."""
    ((info, unknown),) = marshal.loads(marshalled)
    if unknown:
        _warn(unknown)
    else:
        if len(known_infos) >= _KNOWN_MAX:
            known_infos.clear()
        known_infos[der] = info.copy()
    own: Info = info
    return own


def _warn(unknown: tuple[int, ...]) -> None:
    for number in unknown:
        warnings.warn(f"Unknown general name type {number}", RuntimeWarning, stacklevel=5)


def check(status: int, block: Any, err: Any) -> None:
    """Raise for a failing status of a call that writes fields into a block."""
    if status == _ffi.NOT_TEXT:
        _ffi.item(block).decode("utf-8")  # raises UnicodeDecodeError
    _errors.check(status, err)


def fields(certs: Any, count: int = 1) -> list[Info]:
    """Return the dicts of the certificates in an array of ``sb_cert *``.

    Raises: UnicodeDecodeError: a name is not the UTF-8 that it must be (RFC 5280 4.1.2.4).
    """
    block = ffi.new("sb_block *")
    err = _errors.new_record()
    check(lib.sb_cert_fields(certs, count, block, err), block, err)
    found = marshal.loads(_ffi.item(block))
    for _, unknown in found:
        _warn(unknown)
    return [info for info, _ in found]


def encode(certs: Any, count: int = 1, *, pem: bool) -> list[bytes]:
    """Return the certificates in an array of ``sb_cert *`` as DER or PEM."""
    block = ffi.new("sb_block *")
    err = _errors.new_record()
    _errors.check(lib.sb_cert_encode(certs, count, pem, block, err), err)
    return _ffi.items(block)


def take_array(call: Any, *args: Any) -> tuple[Any, int] | None:
    """Return the array of owned ``sb_cert *`` that a C function lists; None if it has no list."""
    array = ffi.new("sb_cert ***")
    count = ffi.new("size_t *")
    err = _errors.new_record()
    status = call(*args, array, count, err)
    if status == _ffi.BAD_ARG:
        return None
    _errors.check(status, err)
    return array[0], count[0]


def take_list(call: Any, *args: Any) -> list[Certificate] | None:
    """Return the certificates that a C function lists; None if it has no list."""
    taken = take_array(call, *args)
    if taken is None:
        return None
    array, count = taken
    try:
        return [Certificate._wrap(array[i]) for i in range(count)]
    finally:
        lib.sb_free(array)


def decode_file(path: _ffi.Path) -> Info:
    """Return the fields of the first certificate in a PEM file; SSLError if there is none."""
    err = _errors.new_record()
    pointer = lib.sb_cert_from_file(_ffi.fs_path(path), err)
    if not pointer:
        raise _errors.SSLError(_ffi.text(err.text))
    return Certificate._wrap(pointer).get_info()


_keep = _ffi.keeper(lib.sb_cert_free)


class Certificate:
    """A certificate of a chain, as ``_ssl.Certificate``; equal to a copy of itself.

    `SSLSocket.get_verified_chain` of Python 3.10 to 3.12 gives them. See: X509_cmp(3).
    """

    __slots__ = ("_c_cert", "_keeper")

    _c_cert: Any
    _keeper: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> Certificate:
        raise TypeError(f"cannot create '{cls.__module__}.{cls.__qualname__}' instances")

    @classmethod
    def _wrap(cls, owned: Any) -> Certificate:
        self = object.__new__(cls)
        self._c_cert, self._keeper = _keep(owned)
        return self

    def get_info(self) -> Info:
        """Return the fields, in the form of `SSLSocket.getpeercert` (RFC 5280 section 4.1)."""
        return fields(ffi.new("sb_cert *[1]", [self._c_cert]))[0]

    def public_bytes(self, format: int = ENCODING_PEM) -> str | bytes:
        """Return it as PEM, a str, or as DER, bytes.

        Args:   format: ENCODING_PEM or ENCODING_DER.
        Raises: ValueError: any other.
        See: PEM_write_bio_X509(3), i2d_X509(3).
        """
        if format not in (ENCODING_PEM, ENCODING_DER):
            raise ValueError("Unsupported format")
        pem = format == ENCODING_PEM
        encoded = encode(ffi.new("sb_cert *[1]", [self._c_cert]), pem=pem)[0]
        return encoded.decode("ascii") if pem else encoded

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Certificate):
            return NotImplemented
        return bool(lib.sb_cert_equal(self._c_cert, other._c_cert))

    def __hash__(self) -> int:
        return int(lib.sb_cert_hash(self._c_cert))

    __reduce_ex__ = _ffi.refuse_copies

    def __repr__(self) -> str:
        block = ffi.new("sb_block *")
        err = _errors.new_record()
        _errors.check(lib.sb_cert_subject(self._c_cert, block, err), err)
        return f"<{type(self).__module__}.{type(self).__qualname__} '{_ffi.texts(block)[0]}'>"


Certificate.__module__ = "_ssl"

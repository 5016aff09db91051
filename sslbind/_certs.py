"""Certificates: the ``Certificate`` class, and the dict that getpeercert() returns."""

from __future__ import annotations

import warnings
from typing import Any

from . import _errors, _ffi
from ._constants import ENCODING_DER, ENCODING_PEM
from ._ffi import ffi, lib

# Labels of a block's items, enum sb_kind in src/_sslbind/api.h.
_SIMPLE = {
    lib.SB_K_SERIAL: "serialNumber",
    lib.SB_K_NOT_BEFORE: "notBefore",
    lib.SB_K_NOT_AFTER: "notAfter",
}
_LISTS = {
    lib.SB_K_OCSP: "OCSP",
    lib.SB_K_CA_ISSUERS: "caIssuers",
    lib.SB_K_CRL: "crlDistributionPoints",
}
_VERSION, _RDN, _NAME, _VALUE = (
    lib.SB_K_VERSION,
    lib.SB_K_RDN,
    lib.SB_K_NAME,
    lib.SB_K_VALUE,
)
_SUBJECT, _ISSUER, _SAN = lib.SB_K_SUBJECT, lib.SB_K_ISSUER, lib.SB_K_SAN
_UNKNOWN_NAME = lib.SB_K_UNKNOWN_NAME

Info = dict[str, Any]


def _nested(rdns: list[list[tuple[str, str]]]) -> tuple[tuple[tuple[str, str], ...], ...]:
    return tuple(tuple(rdn) for rdn in rdns)


def fold(block: Any) -> Info:
    """Return the dict of a certificate's fields from a block of sb_cert_fields().

    Raises: UnicodeDecodeError: a name is not the UTF-8 that it must be (RFC 5280 4.1.2.4).
    """
    info: Info = {}
    alt_names: list[list[Any]] = []
    lists: dict[str, list[str]] = {}
    rdns: list[list[tuple[str, str]]] = []
    names: dict[str, list[list[tuple[str, str]]]] = {}
    attribute: str | None = None
    for kind, raw in _ffi.items(block):
        text = raw.decode("utf-8")
        if kind == _VALUE:
            if attribute is not None:
                rdns[-1].append((attribute, text))
                attribute = None
            else:
                alt_names[-1][1] = text
        elif kind == _NAME:
            attribute = text
        elif kind == _RDN:
            rdns.append([])
        elif kind == _SAN:
            rdns = []
            alt_names.append([text, rdns])
        elif kind == _SUBJECT:
            names["subject"] = rdns = []
        elif kind == _ISSUER:
            names["issuer"] = rdns = []
        elif kind == _VERSION:
            info = {key: _nested(value) for key, value in names.items()}
            info["version"] = int(text)
        elif kind == _UNKNOWN_NAME:
            warnings.warn(f"Unknown general name type {text}", RuntimeWarning, stacklevel=4)
        elif kind in _SIMPLE:
            info[_SIMPLE[kind]] = text
        else:
            lists.setdefault(_LISTS[kind], []).append(text)
    if alt_names:
        info["subjectAltName"] = tuple(
            (kind, _nested(value) if isinstance(value, list) else value)
            for kind, value in alt_names
        )
    for key in _LISTS.values():
        if key in lists:
            info[key] = tuple(lists[key])
    return info


def fields(pointer: Any) -> Info:
    """Return the dict of the certificate behind a ``sb_cert *``."""
    block = ffi.new("sb_block *")
    err = _errors.new_record()
    _errors.check(lib.sb_cert_fields(pointer, block, err), err)
    return fold(block)


def encode(pointer: Any, pem: bool) -> bytes:
    """Return the certificate behind a ``sb_cert *`` as DER or PEM."""
    block = ffi.new("sb_block *")
    err = _errors.new_record()
    _errors.check(lib.sb_cert_encode(pointer, pem, block, err), err)
    return _ffi.items(block)[0][1]


def take_list(call: Any, *args: Any) -> list[Any] | None:
    """Return the owned ``sb_cert *`` that a C function lists; None if it has no list."""
    array = ffi.new("sb_cert ***")
    count = ffi.new("size_t *")
    err = _errors.new_record()
    status = call(*args, array, count, err)
    if status == _ffi.BAD_ARG:
        return None
    _errors.check(status, err)
    try:
        return [ffi.gc(array[0][i], lib.sb_cert_free) for i in range(count[0])]
    finally:
        lib.sb_free(array[0])


def decode_file(path: _ffi.Path) -> Info:
    """Return the fields of the first certificate in a PEM file; SSLError if there is none."""
    err = _errors.new_record()
    pointer = lib.sb_cert_from_file(_ffi.fs_path(path), err)
    if not pointer:
        raise _errors.SSLError(_ffi.text(err.text))
    return fields(ffi.gc(pointer, lib.sb_cert_free))


class Certificate:
    """A certificate of a chain, as ``_ssl.Certificate``."""

    __slots__ = ("_c_cert",)

    _c_cert: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> Certificate:
        raise TypeError(f"cannot create '{cls.__module__}.{cls.__qualname__}' instances")

    @classmethod
    def _wrap(cls, owned: Any) -> Certificate:
        self = object.__new__(cls)
        self._c_cert = owned
        return self

    def get_info(self) -> Info:
        """Return the fields, in the form of getpeercert()."""
        return fields(self._c_cert)

    def public_bytes(self, format: int = ENCODING_PEM) -> str | bytes:
        """Return it as PEM (str) or as DER (bytes)."""
        if format == ENCODING_PEM:
            return encode(self._c_cert, True).decode("ascii")
        if format == ENCODING_DER:
            return encode(self._c_cert, False)
        raise ValueError("Unsupported format")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Certificate):
            return NotImplemented
        return bool(lib.sb_cert_equal(self._c_cert, other._c_cert))

    def __hash__(self) -> int:
        return int(lib.sb_cert_hash(self._c_cert))

    def __repr__(self) -> str:
        block = ffi.new("sb_block *")
        err = _errors.new_record()
        _errors.check(lib.sb_cert_subject(self._c_cert, block, err), err)
        return f"<{type(self).__module__}.{type(self).__qualname__} '{_ffi.texts(block)[0]}'>"


Certificate.__module__ = "_ssl"

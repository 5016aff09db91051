"""Build the extension module ``sslbind._sslbind`` from ``src/_sslbind`` with cffi, API mode.

``setup.py`` takes ``ffibuilder`` from here. Environment:

``SSLBIND_OPENSSL_DIR``     a prefix whose ``include`` and ``lib`` (or ``lib64``) hold OpenSSL;
                            without it pkg-config, and then the compiler's own paths, decide
``SSLBIND_OPENSSL_STATIC``  ``1``: link libssl.a and libcrypto.a, with their symbols hidden
``SSLBIND_CFLAGS``          more compiler and linker flags, for debugging and sanitizers
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
SOURCE = Path("src") / "_sslbind"
#: Can the extension have a module of CPython's own kind beside that of cffi? See native.c.
NATIVE = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
#: Libraries of ERR_LIB_* that have a name in an error but no reasons of their own.
LIBS_WITHOUT_REASONS = (
    *("NONE", "SYS", "BUF", "DSO", "ECDSA", "ECDH", "FIPS", "HMAC", "KDF", "SM2", "PROP", "USER"),
    *("OFFSET", "MASK"),
)
NO_HEADERS = (
    "sslbind needs the headers of OpenSSL 3.0 or newer and a C compiler: install libssl-dev "
    "(Debian, Ubuntu), openssl-devel (Fedora, RHEL), openssl-dev (Alpine) or openssl@3 "
    "(Homebrew), or set SSLBIND_OPENSSL_DIR to OpenSSL's prefix."
)


def rows(name: str) -> list[list[str]]:
    """Return the fields of each line of a data file, comments left out."""
    lines = (HERE / SOURCE / name).read_text(encoding="ascii").splitlines()
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]


def guarded(macro: str, row: str) -> str:
    """A table row that is there if this OpenSSL has the macro."""
    return f"#ifdef {macro}\n    {row},\n#endif\n"


def tables() -> str:
    """Return the C text of the tables that the data files stand for."""
    constants = "".join(
        guarded(macro, f'{{"{name}", (long long){macro}}}') for name, macro in rows("constants.txt")
    )
    reasons = rows("reasons.txt")
    reason_rows = "".join(
        guarded(macro, f'{{"{macro.split("_R_", 1)[1]}", ERR_LIB_{lib}, {macro}}}')
        for lib, macro in reasons
    )
    libs = "".join(
        guarded(f"ERR_LIB_{lib}", f'{{"{lib}", ERR_LIB_{lib}}}')
        for lib in sorted({lib for lib, _ in reasons}.union(LIBS_WITHOUT_REASONS))
    )
    return (
        f"const sb_constant sb_constants[] = {{\n{constants}    {{NULL, 0}},\n}};\n"
        f"const sb_reason sb_reasons[] = {{\n{reason_rows}    {{NULL, 0, 0}},\n}};\n"
        f"const sb_constant sb_libs[] = {{\n{libs}    {{NULL, 0}},\n}};\n"
    )


def preamble() -> str:
    """Return what stands in the generated file before cffi's part: declarations and tables.

    ``openssl/err.h`` has the library numbers; each library's reasons are in a header of its own,
    and which of them exist depends on the version.
    """
    prefixes = {macro.split("_R_", 1)[0] for _, macro in rows("reasons.txt")}
    names = sorted(prefix.replace("OSSL_", "").lower() for prefix in prefixes)
    headers = "".join(
        f"#if __has_include(<openssl/{name}err.h>)\n#include <openssl/{name}err.h>\n#endif\n"
        for name in names
    )
    return f'#include "internal.h"\n#include "upcalls.h"\n{headers}{tables()}'


def pkg_config(*args: str) -> list[str]:
    """Return pkg-config's answer about OpenSSL; empty where it has none."""
    command = [*shlex.split(os.environ.get("PKG_CONFIG", "pkg-config")), *args, "openssl"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return shlex.split(answer.stdout)


def find_static(name: str, directories: list[str]) -> str:
    """Return the path of a static library, from the compiler's places if there are no others."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    question = [*compiler, f"-print-file-name=lib{name}.a"]
    if directories:
        found = [str(Path(directory) / f"lib{name}.a") for directory in directories]
    else:
        found = [
            subprocess.run(question, capture_output=True, text=True, check=False).stdout.strip()
        ]
    for path in found:
        if os.path.isabs(path) and os.path.exists(path):
            return path
    raise SystemExit(f"SSLBIND_OPENSSL_STATIC=1: no lib{name}.a in {directories or 'any path'}")


def static_options(directories: list[str], options: dict[str, list[str]]) -> None:
    """Link OpenSSL in, so that it can live beside other copies of it in one process."""
    archives = [find_static("ssl", directories), find_static("crypto", directories)]
    options["libraries"] = []
    if sys.platform == "darwin":
        options["extra_link_args"] += [f"-Wl,-load_hidden,{archive}" for archive in archives]
        return
    options["extra_objects"] = archives
    options["extra_link_args"] += ["-Wl,--exclude-libs,ALL", "-Wl,-Bsymbolic"]
    # What the archives need themselves (zlib, zstd, ...), but not they once more.
    private = pkg_config("--libs-only-l", "--static")
    options["extra_link_args"] += [f for f in private if f not in ("-lssl", "-lcrypto")]
    options["extra_link_args"] += ["-ldl", "-lpthread"]


def openssl_options() -> dict[str, list[str]]:
    """Return the compiler and linker options that reach OpenSSL."""
    flags = shlex.split(os.environ.get("SSLBIND_CFLAGS", ""))
    options: dict[str, list[str]] = {
        "libraries": ["ssl", "crypto"],
        "include_dirs": [],
        "library_dirs": [],
        "extra_compile_args": ["-fvisibility=hidden", *flags],
        "extra_link_args": list(flags),
    }
    prefix = os.environ.get("SSLBIND_OPENSSL_DIR")
    static = os.environ.get("SSLBIND_OPENSSL_STATIC", "") not in ("", "0")
    if prefix:
        root = Path(prefix).resolve()
        if not (root / "include" / "openssl" / "ssl.h").exists():
            raise SystemExit(
                f"SSLBIND_OPENSSL_DIR: {root} has no include/openssl/ssl.h. {NO_HEADERS}"
            )
        directories = [str(d) for d in (root / "lib64", root / "lib") if d.is_dir()]
        options["include_dirs"] = [str(root / "include")]
        options["library_dirs"] = directories
        if not static:
            options["extra_link_args"] += [f"-Wl,-rpath,{d}" for d in directories]
    else:
        options["extra_compile_args"] += pkg_config("--cflags")
        options["extra_link_args"] += pkg_config("--libs-only-L")
        directories = [flag[2:] for flag in pkg_config("--libs-only-L")]
    if static:
        static_options(directories, options)
    return options


def make_builder(module: str = "sslbind._sslbind") -> FFI:
    """Return the cffi builder of the extension, under its full name (docs/pypy.md has another)."""
    ffi = FFI()
    ffi.cdef((HERE / SOURCE / "api.h").read_text(encoding="ascii"))
    upcalls = (HERE / SOURCE / "upcalls.h").read_text(encoding="ascii")
    ffi.cdef('extern "Python+C" {\n' + upcalls + "\n}")
    options = openssl_options()
    options["include_dirs"].insert(0, str(SOURCE))
    sources = [*(HERE / SOURCE).glob("*.c")]
    if NATIVE:
        sources += (HERE / SOURCE).glob("cpython/*.c")
    ffi.set_source(
        module,
        preamble(),
        sources=sorted(str(p.relative_to(HERE)) for p in sources),
        depends=sorted(str(p.relative_to(HERE)) for p in (HERE / SOURCE).rglob("*.[ht]*")),
        **options,
    )
    return ffi


ffibuilder = make_builder()

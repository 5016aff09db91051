"""`python -m sslbind info`: versions, features, trust store paths and groups."""

from __future__ import annotations

import argparse
import json
import os
import platform
from typing import Any

import sslbind
from sslbind._version import __version__
from sslbind.cli.report import field, heading


def add_parser(commands: Any) -> None:
    """Add the command's arguments to the main parser's `commands`."""
    parser = commands.add_parser("info", help="print versions, features and trust store paths")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the sheet and return 0."""
    sheet = collect()
    if args.json:
        print(json.dumps(sheet, indent=2))
    else:
        _show(sheet)
    return 0


def collect() -> dict[str, Any]:
    """Return all facts as JSON-ready values; what cannot be known is None."""
    return {
        "sslbind": __version__,
        "openssl": sslbind.OPENSSL_VERSION,
        "openssl_compiled": _compiled_version(),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "stdlib_openssl": _stdlib_version(),
        "features": {n: bool(getattr(sslbind, n)) for n in dir(sslbind) if n.startswith("HAS_")},
        "verify_paths": _verify_paths(),
        "groups": _groups(),
    }


def _compiled_version() -> str | None:
    # (major, minor, fix, patch, status): from OpenSSL 3.0 on the third number is always 0
    # and the fourth counts the releases.
    version = getattr(sslbind, "_OPENSSL_API_VERSION", None)
    return f"{version[0]}.{version[1]}.{version[3]}" if version else None


def _stdlib_version() -> str | None:
    try:
        import ssl
    except ImportError:
        return None
    return ssl.OPENSSL_VERSION


def _verify_paths() -> dict[str, dict[str, Any]]:
    paths = sslbind.get_default_verify_paths()
    files = {
        "cafile": paths.openssl_cafile,
        "capath": paths.openssl_capath,
        paths.openssl_cafile_env: os.environ.get(paths.openssl_cafile_env),
        paths.openssl_capath_env: os.environ.get(paths.openssl_capath_env),
    }
    return {
        name: {"path": path, "exists": path is not None and os.path.exists(path)}
        for name, path in files.items()
    }


def _groups() -> list[str] | None:
    try:
        return list(sslbind.SSLContext(sslbind.PROTOCOL_TLS_CLIENT).get_groups())
    except NotImplementedError:
        return None


def _show(sheet: dict[str, Any]) -> None:
    heading("Versions")
    field("sslbind", sheet["sslbind"])
    field("OpenSSL", sheet["openssl"])
    field("  built for", sheet["openssl_compiled"] or "(not known)")
    field("Python", f"{sheet['implementation']} {sheet['python']}")
    field("platform", sheet["platform"])
    field("stdlib ssl", sheet["stdlib_openssl"] or "(this interpreter has none)")

    heading("Features")
    features = sheet["features"]
    field("has", ", ".join(n[len("HAS_") :] for n in features if features[n]))
    field("lacks", ", ".join(n[len("HAS_") :] for n in features if not features[n]) or "nothing")

    heading("Default trust store")
    for name, entry in sheet["verify_paths"].items():
        if entry["path"] is None:
            field(name, "(not set)")
        else:
            field(name, f"{entry['path']}  ({'exists' if entry['exists'] else 'missing'})")

    heading("Groups")
    groups = sheet["groups"]
    print("  " + (", ".join(groups) if groups is not None else "(needs OpenSSL 3.5)"))

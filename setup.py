"""What pyproject.toml cannot say: the extension, its wheel's tag, and the switch for programs."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).resolve().parent))
from build_ffi import NO_HEADERS


class BuildExt(build_ext):
    """Build into the source tree too, and say what to install where headers are missing."""

    def run(self):
        self.force = True  # an older build may have used other options of build_ffi.py
        super().run()
        # In a clone, `python -m sslbind` and `python -m pytest` import the clone's package, not
        # the installed one: without its extension they would fail after `pip install .`.
        if not self.inplace:
            self.copy_extensions_to_source()

    def build_extension(self, ext):
        probe = Path(self.build_temp) / "probe_openssl.c"
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_text(
            "#include <openssl/ssl.h>\n"
            "#if OPENSSL_VERSION_NUMBER < 0x30000000L\n#error too old\n#endif\n"
        )
        try:
            self.compiler.compile(
                [str(probe)],
                output_dir=self.build_temp,
                include_dirs=ext.include_dirs,
                extra_postargs=ext.extra_compile_args,
            )
        except Exception as exc:
            raise SystemExit(NO_HEADERS) from exc
        super().build_extension(ext)


# Every Python that starts runs this line, so it does next to nothing unless it is asked to.
SWITCH = (
    "import os, sys; os.environ.get('SSLBIND_INSTALL', '0') not in ('', '0')"
    " and not sys.flags.ignore_environment"
    " and __import__('sslbind._install')._install.install_by_environment()\n"
)


class BuildPy(build_py):
    """Lay the switch for programs that cannot be edited beside the package.

    `site` looks for .pth files in the folder that packages are installed into. An editable
    install has no such folder, and so no switch.
    """

    def run(self):
        super().run()
        if not self.editable_mode:
            Path(self.build_lib).mkdir(parents=True, exist_ok=True)
            Path(self.build_lib, "sslbind.pth").write_text(SWITCH)


# One wheel serves every CPython from 3.9 on, except free-threaded ones, which have no stable ABI.
abi3 = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    cffi_modules=["build_ffi.py:ffibuilder"],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
    options={"bdist_wheel": {"py_limited_api": "cp39"}} if abi3 else {},
)

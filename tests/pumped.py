"""Run the tests as where the interpreter has an OpenSSL of its own: its MemoryBIOs are pumped.

PYTHONPATH=tests python -m pytest -p pumped tests
"""

from __future__ import annotations

from sslbind import _conn

_conn._environment = _conn.native.environment(*_conn._parts, False)

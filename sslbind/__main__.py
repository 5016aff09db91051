"""`python -m sslbind`: the demonstration, the handshake report and the version sheet."""

from __future__ import annotations

import sys

from sslbind.cli import main

if __name__ == "__main__":
    sys.exit(main())

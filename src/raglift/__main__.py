"""`python -m raglift` is the command line."""

from __future__ import annotations

import sys

from raglift.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m swarmdeck.engine.cli`: the command without the console, for our own processes."""

from __future__ import annotations

import sys

from .main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

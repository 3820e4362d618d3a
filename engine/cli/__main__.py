"""`python -m swarmdeck.engine.cli`: the command without the console, for our own processes."""

from __future__ import annotations

import sys

from .. import process

if __name__ == "__main__":
    process.spare()  # before there is anything to load
    from .main import main

    sys.exit(main(sys.argv[1:]))

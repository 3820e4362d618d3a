"""The reference that these tests hold the engine against is found as a module."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

"""Makes this folder the package `simulation`: its modules import each other, and no other test
folder is a package."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path

if "simulation" not in sys.modules:
    _spec = ModuleSpec("simulation", None, is_package=True)
    _spec.submodule_search_locations = [str(Path(__file__).parent)]
    sys.modules["simulation"] = module_from_spec(_spec)

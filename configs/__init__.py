"""The settings SwarmDeck ships with, as TOML: data only.

`PACKAGED` is in the order in which `engine.settings` lays the files over each other; no setting
stands in two of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

PACKAGED: Final = ("host-96gb.toml", "isolation.toml", "defaults.toml")


def read(name: str) -> str:
    """The text of one packaged file. Raises FileNotFoundError when it was not installed."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")

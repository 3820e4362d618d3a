"""The settings SwarmDeck ships with, as TOML: data only.

`PACKAGED` is in the order in which `engine.settings` lays the files over each other; no setting
stands in two of them.
"""

from __future__ import annotations

from typing import Final

PACKAGED: Final = ("host-96gb.toml", "isolation.toml", "defaults.toml")


def read(name: str) -> str:
    """The text of one packaged file. Raises FileNotFoundError when it was not installed."""
    # Imported here: it costs 7 ms, and whoever only asks for PACKAGED should not pay.
    from importlib import resources  # noqa: PLC0415

    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")

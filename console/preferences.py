"""How a console begins and what it may do: settings, options and files of the user."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from .commands import GoTo

if TYPE_CHECKING:
    from ..engine.settings import Settings

LOW_BANDWIDTH_S: Final = 5.0
"""How often a console on a thin line looks, at most."""

_READ_ONLY: Final = "console.read_only"
_FOLDER: Final = "swarmdeck"


class Preferences(msgspec.Struct, frozen=True):
    """`view` is where to begin, None for the first screen. Without `keymap_file` the keys are as
    shipped, without `history_file` no command is kept."""

    theme: str | None = None
    view: GoTo | None = None
    read_only: tuple[str, ...] = ()
    read_only_source: str = _READ_ONLY
    low_bandwidth: bool = False
    interval_s: float = 1.0
    mouse: bool = True
    keymap_file: Path | None = None
    history_file: Path | None = None


def preferences(
    settings: Settings, view: GoTo | None = None, env: Mapping[str, str] = os.environ
) -> Preferences:
    """What the settings of this run say of the console."""
    console = settings.console
    slowest_s = LOW_BANDWIDTH_S if console.low_bandwidth else 0.0
    source = settings.sources.get(_READ_ONLY, "")
    return Preferences(
        theme=console.theme,
        view=view,
        read_only=console.read_only,
        read_only_source=f"{_READ_ONLY} ({source})" if source else _READ_ONLY,
        low_bandwidth=console.low_bandwidth,
        interval_s=max(console.interval_s, slowest_s),
        mouse=console.mouse,
        keymap_file=keymap_file(env),
        history_file=_below(env, "XDG_STATE_HOME", ".local/state", "history"),
    )


def keymap_file(env: Mapping[str, str] = os.environ) -> Path | None:
    """The file of the user's own keys, which need not exist; None without a home."""
    return _below(env, "XDG_CONFIG_HOME", ".config", "keymap.toml")


def _below(env: Mapping[str, str], variable: str, below_home: str, name: str) -> Path | None:
    """A file of ours in a base directory. Relative ones are ignored, as the XDG specification
    has it."""
    base = Path(env.get(variable, ""))
    if not base.is_absolute():
        home = env.get("HOME", "")
        if not home:
            return None
        base = Path(home) / below_home
    return base / _FOLDER / name

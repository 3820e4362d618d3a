"""Commands about the data directory itself: make it, examine it, show what it is run with."""

from __future__ import annotations

from pathlib import Path

import msgspec

from .. import views
from ..actions import Action, ConfigShow, DatabaseStats
from . import where
from .options import Options
from .session import perform


class Initialised(msgspec.Struct, frozen=True):
    """A data directory and what is in it. `created` tells whether it was made just now."""

    data: str
    created: bool
    databases: list[views.DatabaseView]


def initialise(options: Options) -> Initialised:
    """Make the data directory with its databases, or find it made; either way say what is there.
    Raises Corrupt for a damaged or newer one, StorageError where it cannot be made."""
    data = where.data_directory(options)
    created = not (data / "instances").exists()
    return Initialised(str(data), created, perform(DatabaseStats(), options))


def perform_offline(
    action: Action, options: Options
) -> list[views.CheckView] | list[views.SettingView]:
    """Answer an action that needs no engine. Raises ConfigError."""
    settings = where.load(options)
    if isinstance(action, ConfigShow):
        return settings.shown()
    from ..doctor import examine  # noqa: PLC0415 - loads what it looks at

    return examine(Path(settings.data_dir).absolute(), settings)

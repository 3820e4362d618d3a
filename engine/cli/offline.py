"""Commands that need no engine: examine the machine, show the settings."""

from __future__ import annotations

from pathlib import Path

from .. import views
from ..actions import Action, ConfigShow
from . import where
from .options import Options


def perform_offline(
    action: Action, options: Options
) -> list[views.CheckView] | list[views.SettingView]:
    """Answer an action that needs no engine. Raises ConfigError."""
    settings = where.load(options)
    if isinstance(action, ConfigShow):
        return settings.shown()
    from ..doctor import examine  # noqa: PLC0415 - loads what it looks at

    return examine(where.kept(Path(settings.data_dir).absolute()), settings)

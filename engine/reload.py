"""Settings read again while an engine runs.

A part of the engine that can change its mind says which settings it takes. What has changed and is
taken by nobody keeps its value until the engine is started anew, and is named. A file that is wrong
changes nothing at all.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from .errors import Conflict
from .settings import Settings, catalogue, shown_value
from .views import SettingChangeView

APPLIED: Final = "in force"
LATER: Final = "at the next start"

Take = Callable[[Settings], object]


class Reloading:
    """The settings an engine runs with, and who takes new ones.

    `changed` is told the settings that are in force from now on, before those who take parts of
    them. All of it belongs to the engine's loop.
    """

    def __init__(self, settings: Settings, changed: Take) -> None:
        self._settings = settings
        self._changed = changed
        self._takers: list[tuple[tuple[str, ...], Take]] = []
        self._turn = asyncio.Lock()

    def takes(self, names: Iterable[str], take: Take) -> Callable[[], None]:
        """Call `take` with the settings whenever one of `names` has changed: a setting, or a
        section with a dot behind it, such as `queue.`. Returns what ends that. `take` must not
        fail: the values are checked."""
        entry = tuple(names), take
        self._takers.append(entry)
        return lambda: self._takers.remove(entry)

    async def reload(self) -> list[SettingChangeView]:
        """Read the settings again from where they came and put in force what can be. What has
        changed, by name. Raises ConfigError, and then everything stays as it is; Conflict when
        a program has given its settings by value."""
        async with self._turn:
            before = self._settings
            if before.origin is None:
                raise Conflict(
                    "these settings were given by a program", hint="there is no file to read again"
                )
            fresh = await asyncio.to_thread(before.origin.load, os.environ)
            return self._apply(before, fresh)

    def _apply(self, before: Settings, fresh: Settings) -> list[SettingChangeView]:
        changed = [name for name in catalogue().fields if _at(before, name) != _at(fresh, name)]
        taken = [name for name in changed if any(_is_for(name, names) for names, _ in self._takers)]
        self._settings = now = _merged(before, fresh, taken)
        self._changed(now)
        for names, take in tuple(self._takers):
            if any(_is_for(name, names) for name in taken):
                take(now)
        return [
            SettingChangeView(
                name=name,
                before=shown_value(before, name),
                after=shown_value(fresh, name),
                source=fresh.sources.get(name, "unset"),
                state=APPLIED if name in taken else LATER,
            )
            for name in changed
        ]


def _is_for(name: str, names: Iterable[str]) -> bool:
    return any(name == each or (each.endswith(".") and name.startswith(each)) for each in names)


def _at(settings: msgspec.Struct, name: str) -> Any:  # noqa: ANN401 - of any setting
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _merged(before: Settings, fresh: Settings, names: Iterable[str]) -> Settings:
    """`before` with these settings, and where they came from, as they are in `fresh`."""
    merged: Any = before
    sources = dict(before.sources)
    for name in names:
        merged = _with(merged, name.split("."), _at(fresh, name))
        sources.pop(name, None)
        if name in fresh.sources:
            sources[name] = fresh.sources[name]
    settings: Settings = msgspec.structs.replace(merged, sources=sources)
    return settings


def _with(section: Any, parts: list[str], value: Any) -> Any:  # noqa: ANN401 - of any setting
    head, *rest = parts
    inner = _with(getattr(section, head), rest, value) if rest else value
    return msgspec.structs.replace(section, **{head: inner})

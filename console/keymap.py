"""The key table: which key runs which command line, and on which screens.

The table is `keymap.toml`. Bindings, footer and help are all made from it, so they cannot
disagree. A key runs a command line; `{name}` in it stands for a field of the selected row.
"""

from __future__ import annotations

import string
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

import msgspec

from ..engine.errors import ConfigError

EVERYWHERE: Final = "everywhere"
"""The group every screen has."""

MOTION: Final = "motion"
"""The group whose rows give keys to bindings of the table itself."""

_SHOWN: Final = {
    "escape": "esc",
    "ctrl+": "^",
    "left": "←",
    "right": "→",
}


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the table. `keys` are Textual's key names, separated by commas.

    `footer` is how soon it gets its place in the footer, 0 for never; `label` the word shown there.
    """

    keys: str
    run: str
    help: str
    label: str = ""
    footer: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.keys.split(","))

    @property
    def footer_width(self) -> int:
        """Cells it takes in the footer: a blank, key, blank, label, blank."""
        return len(self.shown) + len(self.label) + 3

    @property
    def shown(self) -> str:
        """The first key as people write it: `^x` for ctrl+x."""
        return shown_key(self.names[0])


class Keymap(msgspec.Struct, frozen=True):
    """All groups in the order of the table."""

    groups: Mapping[str, tuple[Key, ...]]

    def of(self, groups: Iterable[str]) -> tuple[Key, ...]:
        """The keys of a screen: its own groups first, then those that work everywhere.

        A key that a group before has taken is left out.
        """
        taken: set[str] = set()
        found: list[Key] = []
        for group in (*groups, EVERYWHERE):
            for key in self.groups.get(group, ()):
                if taken.isdisjoint(key.names):
                    taken.update(key.names)
                    found.append(key)
        return tuple(found)

    def footer(
        self,
        groups: Iterable[str],
        width: int,
        hides: Callable[[Key], bool] = lambda _key: False,
    ) -> tuple[Key, ...]:
        """The keys to name in a footer of `width` cells: the most wanted that fit, in the order
        of the table, without those that `hides`."""
        candidates = [key for key in self.of(groups) if key.footer and not hides(key)]
        chosen: list[Key] = []
        for key in sorted(candidates, key=lambda key: key.footer):
            if sum(each.footer_width for each in (*chosen, key)) <= width:
                chosen.append(key)
        return tuple(key for key in candidates if key in chosen)


def shown_key(name: str) -> str:
    """A key name as people write it."""
    for full, short in _SHOWN.items():
        name = name.replace(full, short)
    return name


def parse_keymap(text: str, source: str = "keymap") -> Keymap:
    """The key table in `text` (TOML). Raises ConfigError that names `source`."""
    try:
        groups = msgspec.convert(tomllib.loads(text), dict[str, tuple[Key, ...]])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{source}: {error}", hint="each key has keys, run and help") from error
    for group, keys in groups.items():
        _check_group(group, keys, source)
    return Keymap(groups)


def _check_group(group: str, keys: tuple[Key, ...], source: str) -> None:
    seen: set[str] = set()
    for key in keys:
        for name in key.names:
            if name in seen:
                raise ConfigError(f"{source}: group {group} has the key {name} twice")
            seen.add(name)


@cache
def keymap() -> Keymap:
    """The packaged key table."""
    text = resources.files(__package__).joinpath("keymap.toml").read_text(encoding="utf-8")
    return parse_keymap(text, "keymap.toml")


def fill(line: str, row: Any, subject: str = "") -> tuple[str, ...] | None:  # noqa: ANN401
    """The words of a key's command line: `{name}` is that field of `row` (any view), `{subject}`
    what the screen is about.

    None when the line needs a row and there is none, or the row has no such value.
    """
    words = []
    for word in line.split():
        names = [name for _, name, _, _ in string.Formatter().parse(word) if name]
        values = {
            name: subject if name == "subject" else getattr(row, name, None) for name in names
        }
        if any(value is None or value == "" for value in values.values()):
            return None
        words.append(word.format(**values))
    return tuple(words)

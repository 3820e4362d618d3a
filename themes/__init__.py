"""Themes as data: one TOML file each, read into frozen tables.

A theme says what colour a *meaning* has (`bad`, `muted`, `border`); which words, symbols or bars
carry that meaning is the widgets' business. Nothing here knows of a screen.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec

DEFAULT: Final = "swarmdeck-dark"
TERMINAL_COLOURS: Final = (
    "default",
    *("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"),
    *(f"bright_{name}" for name in ("black", "red", "green", "yellow", "blue", "magenta", "cyan")),
    "bright_white",
)
"""The terminal's own colours, by name; `default` is its ink as well as its ground."""

_FOLDER: Final = Path(__file__).parent
_COLOUR: Final = re.compile(r"#[0-9a-f]{6}")


class ThemeError(ValueError):
    """A theme file is wrong or there is no such theme. `hint` says what would be right."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class EnvironmentColours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The colour of each environment, used for its name wherever that is written."""

    production: str
    development: str
    testing: str
    research: str
    staging: str


class Theme(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The colours of one theme: all of them `#rrggbb`, or all of them the terminal's own.

    `cursor` is the ground of the selected row, `selection` the ink of marked rows.
    """

    dark: bool
    background: str
    surface: str
    text: str
    muted: str
    accent: str
    good: str
    warning: str
    bad: str
    cursor: str
    selection: str
    title: str
    border: str
    environments: EnvironmentColours
    name: str = ""

    @property
    def ansi(self) -> bool:
        """Whether the colours are the terminal's own."""
        return self.background in TERMINAL_COLOURS

    def tokens(self) -> dict[str, str]:
        """Colour by token: this table's own fields and the five environments."""
        colours = {name: getattr(self, name) for name in TOKENS}
        return colours | msgspec.structs.asdict(self.environments)


TOKENS: Final = tuple(
    name for name in Theme.__struct_fields__ if name not in {"dark", "environments", "name"}
)


def names() -> tuple[str, ...]:
    """The bundled themes, the default first."""
    found = sorted(path.stem for path in _FOLDER.glob("*.toml"))
    return tuple(sorted(found, key=lambda name: name != DEFAULT))


def load(name: str) -> Theme:
    """A bundled theme. Raises ThemeError that names the nearest one."""
    if name not in names():
        near = nearest(name, names())
        raise ThemeError(f"there is no theme {name!r}", near or f"one of {', '.join(names())}")
    return parse(name, (_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Theme:
    """A theme from the text of its file. Raises ThemeError: broken TOML, a token that is unknown
    (with the nearest name) or missing, a value that is not a colour."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ThemeError(f"theme {name}: not valid TOML: {error}", "mend that line") from error
    environments = table.get("environments", {})
    if not isinstance(environments, dict):
        raise ThemeError(f"theme {name}: environments is not a table", "write [environments]")
    _check_tokens(name, table, ("dark", *TOKENS, "environments"))
    _check_tokens(name, environments, EnvironmentColours.__struct_fields__)
    _check_colours(name, table | environments)
    try:
        return msgspec.convert(table | {"name": name}, Theme)
    except msgspec.ValidationError as error:
        raise ThemeError(f"theme {name}: {error}", "see the bundled themes") from error


def nearest(word: str, choices: tuple[str, ...]) -> str:
    """`did you mean …?` or an empty string."""
    close = difflib.get_close_matches(word, choices, n=1)
    return f"did you mean {close[0]}?" if close else ""


def _check_tokens(name: str, table: dict[str, Any], known: tuple[str, ...]) -> None:
    for token in table:
        if token not in known:
            hint = nearest(token, known) or f"known are {', '.join(known)}"
            raise ThemeError(f"theme {name}: unknown token {token!r}", hint)
    for token in known:
        if token not in table:
            raise ThemeError(f"theme {name}: {token} is missing", f'add a line {token} = "#rrggbb"')


def _check_colours(name: str, table: dict[str, Any]) -> None:
    """All colours are of one kind: a blend of both would be legible on some terminals only."""
    colours = {key: value for key, value in table.items() if key not in {"dark", "environments"}}
    own = colours["background"] in TERMINAL_COLOURS
    for token, value in colours.items():
        if own and value not in TERMINAL_COLOURS:
            raise ThemeError(
                f"theme {name}: {token} = {value!r} is not a colour of the terminal",
                f"beside the terminal's own, one of {', '.join(TERMINAL_COLOURS)}",
            )
        if not own and not (isinstance(value, str) and _COLOUR.fullmatch(value)):
            raise ThemeError(
                f"theme {name}: {token} = {value!r} is not a colour",
                "write it as #rrggbb, lower case",
            )

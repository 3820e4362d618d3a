"""The key table: which key runs which command line, and on which screens.

The table is `keymap.toml`, and what a file of the user puts over it. Bindings, footer, help,
palette and `docs/guide/keys.md` are all made from it, so they cannot disagree. A key runs a
command line; `{name}` in it stands for a field of the selected row.

`python -m swarmdeck.console.keymap [FILE]` writes the table as Markdown.
"""

from __future__ import annotations

import re
import string
import sys
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec

from ..engine.errors import ConfigError
from ..engine.parameters import suggestion

EVERYWHERE: Final = "everywhere"
"""The group every screen has."""

MOTION: Final = "motion"
"""The group whose rows give keys to bindings of the table itself."""

ALIASES: Final = "aliases"
"""The table of short words for a line, beside the groups."""

TITLES: Final = {
    EVERYWHERE: "Everywhere",
    "inner": "On every screen but the first",
    MOTION: "In a table",
    "rows": "On a row",
    "table": "What is shown",
    "states": "Messages by state",
}
"""What the help calls a group; others are called by the screen they are for."""

_SHOWN: Final = {
    "escape": "esc",
    "ctrl+": "^",
    "left": "←",
    "right": "→",
}
_MOST_BYTES: Final = 64 << 10
_HINT: Final = 'a key is written like: [[queue]] keys = "r", run = "queue retry {id}"'


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
        return tuple(name for name in (each.strip() for each in self.keys.split(",")) if name)

    @property
    def footer_width(self) -> int:
        """Cells it takes in the footer: a blank, key, blank, label, blank."""
        return len(self.shown) + len(self.label) + 3

    @property
    def shown(self) -> str:
        """The first key as people write it: `^x` for ctrl+x."""
        return shown_key(self.names[0])


class Keymap(msgspec.Struct, frozen=True):
    """All groups in the order of the table, and the short words for a line."""

    groups: Mapping[str, tuple[Key, ...]]
    aliases: Mapping[str, str] = {}

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

    def under(self, other: Keymap) -> Keymap:
        """This table with another laid over it: a row of that replaces those of its group that
        run the same or have one of its keys; one without keys takes them away."""
        groups = {
            group: _laid(keys, other.groups.get(group, ())) for group, keys in self.groups.items()
        }
        return Keymap(groups, {**self.aliases, **other.aliases})


def _laid(below: Sequence[Key], above: Sequence[Key]) -> tuple[Key, ...]:
    rows = list(below)
    for key in above:
        same = [row for row in rows if row.run == key.run]
        gone = [row for row in rows if row in same or not set(row.names).isdisjoint(key.names)]
        at = rows.index(gone[0]) if gone else len(rows)
        rows = [row for row in rows if row not in gone]
        if key.names:
            rows.insert(at, _filled(key, same))
    return tuple(rows)


def _filled(key: Key, same: Sequence[Key]) -> Key:
    """A user's row; what it leaves out is as in the row it replaces."""
    before = same[0] if same else Key("", key.run, key.run)
    return Key(
        key.keys,
        key.run,
        key.help or before.help,
        key.label or before.label,
        key.footer or before.footer,
    )


def shown_key(name: str) -> str:
    """A key name as people write it."""
    for full, short in _SHOWN.items():
        name = name.replace(full, short)
    return name


# --- reading --------------------------------------------------------------------------------


def parse_keymap(text: str, source: str = "keymap") -> Keymap:
    """The key table in `text` (TOML). Raises ConfigError that names `source`."""
    return _parsed(text, source, Key)


class _UserKey(Key, frozen=True, forbid_unknown_fields=True):
    """A row of a user's file, which may leave out what it does not change."""

    help: str = ""


def parse_user_keymap(text: str, source: str, known: Keymap) -> Keymap:
    """What a user's file says, for laying over `known`. Raises ConfigError with file and line."""
    return _parsed(text, source, _UserKey, known.groups)


def _parsed(
    text: str, source: str, kind: type[Key], known: Collection[str] | None = None
) -> Keymap:
    try:
        tables = tomllib.loads(text)
        aliases = msgspec.convert(tables.pop(ALIASES, {}), dict[str, str])
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{_broken(source, text, error)}: {error}", hint=_HINT) from error
    except msgspec.ValidationError as error:
        message = f"{_place(source, text, ALIASES)}: {error}"
        raise ConfigError(message, hint='an alias is written like: dl = "queue dead"') from error
    for group in tables:
        if known is not None and group not in known:
            hint = suggestion(group, known, f"one of {', '.join(known)}")
            raise ConfigError(f"{_place(source, text, group)}: no group {group}", hint=hint)
    groups = {group: _read_group(group, rows, source, text, kind) for group, rows in tables.items()}
    return Keymap(groups, aliases)


def _read_group(
    group: str, rows: object, source: str, text: str, kind: type[Key]
) -> tuple[Key, ...]:
    if not isinstance(rows, list):
        where = _place(source, text, group)
        raise ConfigError(f"{where}: {group} must be rows of keys", hint=_HINT)
    found: list[Key] = []
    seen: set[str] = set()
    for number, row in enumerate(rows):
        where = _place(source, text, group, number)
        try:
            key = msgspec.convert(row, kind)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{where}: {error}", hint=_HINT) from error
        for name in key.names:
            if name in seen:
                raise ConfigError(f"{where}: group {group} has the key {name} twice")
            seen.add(name)
        found.append(key)
    return tuple(found)


def _place(source: str, text: str, group: str, number: int = 0) -> str:
    """`file:line` of the row of that number in a group; the file alone where it is not found."""
    header = re.compile(rf"\s*\[\[?\s*[\"']?{re.escape(group)}[\"']?\s*\]")
    lines = [at for at, line in enumerate(text.split("\n"), 1) if header.match(line)]
    return f"{source}:{lines[number]}" if number < len(lines) else source


def _broken(source: str, text: str, error: tomllib.TOMLDecodeError) -> str:
    found = re.search(r"line (\d+)", str(error))
    return f"{source}:{found[1] if found else text.rstrip().count(chr(10)) + 1}"


@cache
def packaged() -> Keymap:
    """The key table as it is shipped."""
    text = resources.files(__package__).joinpath("keymap.toml").read_text(encoding="utf-8")
    return parse_keymap(text, "keymap.toml")


def user_keymap(file: Path | None) -> Keymap:
    """The shipped table with a user's file over it; a file need not exist. Blocks for the reading
    of a small file. Raises ConfigError."""
    if file is None:
        return packaged()
    try:
        with file.open("rb") as opened:
            body = opened.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return packaged()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    if len(body) > _MOST_BYTES:
        raise ConfigError(f"{file}: larger than {_MOST_BYTES} bytes", hint=_HINT)
    text = body.decode(errors="replace")
    return packaged().under(parse_user_keymap(text, str(file), packaged()))


_used: list[Keymap] = []


def keymap() -> Keymap:
    """The key table of this console."""
    return _used[0] if _used else packaged()


def use(table: Keymap) -> None:
    """Have `keymap()` answer this table from now on. Screens take it with their `rekey`."""
    _used[:] = [table]


def fill(
    line: str,
    row: Any,  # noqa: ANN401 - any view
    subject: str = "",
    environment: str = "",
) -> tuple[str, ...] | None:
    """The words of a key's command line: `{name}` is that field of `row`, `{subject}` what the
    screen is about, or on one about nothing the row, and `{environment}` on a screen about one
    needs no row.

    None when the line needs a row and there is none, or the row has no such value.
    """
    words = []
    for word in line.split():
        known = {"subject": subject or getattr(row, "subject", None)}
        if row is None:
            known["environment"] = environment
        values = {
            name: known[name] if name in known else getattr(row, name, None)
            for name in fields_of(word)
        }
        if any(value is None or value == "" for value in values.values()):
            return None
        words.append(word.format(**values))
    return tuple(words)


def fields_of(line: str) -> tuple[str, ...]:
    """The names in braces in a key's line. Raises ConfigError for braces that are not closed."""
    try:
        return tuple(name for _, name, _, _ in string.Formatter().parse(line) if name)
    except ValueError as error:
        raise ConfigError(f"{line!r} cannot be read: {error}", hint="close each brace") from error


# --- as Markdown ----------------------------------------------------------------------------

_HEAD: Final = """\
# Keys

Made from the key table by `python -m swarmdeck.console.keymap docs/guide/keys.md`; not edited by
hand. A key runs the command line beside it, the same that can be typed after `:`; `{id}` and the
like stand for fields of the row under the cursor. Rows can be marked: a key then acts on all of
them.

Your own keys stand in `keymap.toml` below `$XDG_CONFIG_HOME/swarmdeck` (or `~/.config/swarmdeck`);
`:keymap` reads it again. A row replaces those of its group that run the same or have one of its
keys; `keys = ""` takes them away.

```toml
[[queue]]
keys = "R"
run = "queue retry {id}"

[aliases]
dl = "queue dead @production"
```
"""


def markdown(table: Keymap) -> str:
    """The key table as a page."""
    pages = [_HEAD]
    order = (EVERYWHERE, *(group for group in table.groups if group != EVERYWHERE))
    for group in order:
        title = TITLES.get(group, f"On {group}")
        rows = "".join(_row(key) for key in table.groups[group])
        pages.append(
            f"## {title} (`{group}`)\n\n| key | runs | what it does |\n|---|---|---|\n{rows}"
        )
    words = "".join(f"| `:{name}` | `{line}` |\n" for name, line in table.aliases.items())
    pages.append(f"## Short words (`{ALIASES}`)\n\n| word | stands for |\n|---|---|\n{words}")
    return "\n".join(pages)


def _row(key: Key) -> str:
    names = " ".join(f"`{shown_key(name)}`" for name in key.names).replace("|", "\\|")
    return f"| {names} | `{key.run}` | {key.help} |\n"


def main(argv: Sequence[str]) -> int:
    """Write the page to the file that is named, else to stdout."""
    page = markdown(packaged())
    if argv:
        Path(argv[0]).write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)  # painted: a page for a file, not the screen
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""The help: made from the key table, the console's words and the engine's actions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ..engine import commandline
from ..engine.actions import ACTIONS
from ..widgets import Line, line
from .commands import NARROWED, SCREENS, WORDS
from .keymap import EVERYWHERE, TITLES, Key, keymap, shown_key


class Entry(msgspec.Struct, frozen=True):
    """Something one can ask for: what to type, and what it does."""

    line: str
    help: str
    key: str = ""

    @property
    def searched(self) -> str:
        """What a search looks at."""
        return f"{self.line} {self.help}".casefold()


def entries() -> list[Entry]:
    """Every command: screens, words of the console, actions; with its key if it has one."""
    keys = {key.run: key.shown for group in keymap().groups.values() for key in group}
    verbs: dict[str, str] = {}
    for run, shown in keys.items():
        verbs.setdefault(" ".join(word for word in run.split() if "{" not in word), shown)
    found = [(name, help_) for name, help_ in SCREENS.items()]
    found += [(word.name, word.help) for word in WORDS]
    found += [(spec.name.replace(".", " "), spec.help) for spec in ACTIONS.values()]
    return [Entry(name, help_, verbs.get(name, "")) for name, help_ in found]


def help_lines(groups: Sequence[str]) -> list[Line]:
    """The keys of the screen that asked, then every command."""
    lines: list[Line] = []
    for group in dict.fromkeys((*groups, EVERYWHERE)):
        title = TITLES.get(group, f"On this screen: {group}")
        lines += [line((title, "title bold")), *_key_lines(keymap().groups.get(group, ())), ()]
    lines.append(line(("Commands", "title bold"), ("   :command, or ^p to find one", "muted")))
    lines += [_row(":" + word.usage, word.help) for word in WORDS]
    lines += [_row(f":VIEW {NARROWED}", "A view, narrowed; @ takes what the name begins with"), ()]
    lines += [line(("Short words", "title bold"), ("   your own: keymap.toml", "muted"))]
    lines += [_row(f":{short}", full) for short, full in keymap().aliases.items()]
    lines += [(), line(("Actions", "title bold"), ("   :help NOUN VERB explains one", "muted"))]
    lines += [_row(":" + spec.name.replace(".", " "), spec.help) for spec in ACTIONS.values()]
    return lines


def usage_lines(words: Sequence[str]) -> list[Line]:
    """How one action, or every action of a noun, is written. Raises InvalidInput."""
    if len(words) == 1 and words[0] in commandline.nouns() and words[0] not in ACTIONS:
        text = commandline.usage_noun(words[0])
    else:
        text = commandline.usage(commandline.find(words)[0])
    return [line(part) for part in text.splitlines()]


def _key_lines(keys: Sequence[Key]) -> Iterator[Line]:
    for key in keys:
        yield _row(", ".join(shown_key(name) for name in key.names), key.help)


def _row(left: str, right: str) -> Line:
    return line((f"  {left:<26}", "accent"), f" {right}")

"""The options in front of a command: where the data is, how to answer, how much to say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from ..errors import InvalidInput
from ..model import printable
from ..parameters import check_encoding, suggestion

OPTIONS_HELP: Final = """\
options, before the command:
  --data DIR                data directory (default: the XDG data home)
  --config FILE             settings file instead of ~/.config/swarmdeck/config.toml
  --json                    one JSON document on stdout, errors as JSON on stderr;
                            also after the verb
  --debug                   a traceback for a defect
  --log-level LEVEL         debug, info, warning or error
  --version                 print the version
  --help                    this help; behind a command, help for it

for the console, without a command:
  --view VIEW               begin there: queue, or "queue dead /digest @development"
  --filter FILTER           show only rows that fit, such as kind=digest or age>10m
  --read-only               look, change nothing
  --low-bandwidth           send little: 16 colours, a look every 5 s
  --interval SECONDS        how often to look when nothing is said to change
  --theme NAME              its colours
"""

INIT_USAGE: Final = "init [--key-source file|passphrase|keyring]"
SERVE_USAGE: Final = "serve [--wait SECONDS] [--quiet] | serve --unit [--user]"
_VALUED: Final = {
    "--data": "data",
    "--config": "config",
    "--log-level": "log_level",
    "--theme": "theme",
    "--view": "view",
    "--filter": "filter",
    "--interval": "interval",
}
_SWITCHES: Final = {
    "--json": "json",
    "--debug": "debug",
    "--version": "version",
    "--read-only": "read_only",
    "--low-bandwidth": "low_bandwidth",
    "--help": "help",
    "-h": "help",
}
_CONSOLE: Final = (
    "--view", "--filter", "--read-only", "--low-bandwidth", "--interval", "--theme",
)  # fmt: skip
_ANYWHERE: Final = frozenset({"--json", "--help", "-h"})


class Options(msgspec.Struct, frozen=True):
    """What was asked for besides the command itself. `key_source` stands behind `init` only."""

    data: str | None = None
    config: str | None = None
    log_level: str | None = None
    theme: str | None = None
    view: str | None = None
    filter: str | None = None
    interval: str | None = None
    key_source: str | None = None
    read_only: bool = False
    low_bandwidth: bool = False
    json: bool = False
    debug: bool = False
    version: bool = False
    help: bool = False

    @property
    def config_file(self) -> Path | None:
        return None if self.config is None else Path(self.config)

    def overrides(self) -> dict[str, str]:
        """The options that stand for a setting, by the setting's name."""
        given = {
            "engine.data_dir": self.data,
            "logging.level": self.log_level,
            "vault.source": self.key_source,
            "console.theme": self.theme,
            "console.interval_s": self.interval,
            "console.read_only": "all" if self.read_only else None,
            "console.low_bandwidth": "true" if self.low_bandwidth else None,
        }
        return {name: value for name, value in given.items() if value is not None}

    def refuse_for_command(self) -> None:
        """Raises InvalidInput when one of them is for the console only."""
        names = _VALUED | _SWITCHES
        for name in _CONSOLE:
            if getattr(self, names[name]):
                hint = "leave the command out to open it"
                raise InvalidInput(f"{name} is for the console", hint=hint)


def read_options(argv: Sequence[str]) -> tuple[Options, list[str]]:
    """The options, and the words of the command. Raises InvalidInput for an unknown option, one
    without its value, and one that stands behind the command but belongs before it."""
    values: dict[str, str | bool] = {}
    words = list(argv)
    for word in words:
        check_encoding(word)
    while words and words[0].startswith("-") and words[0] != "--":
        name, assigned, text = words.pop(0).partition("=")
        if name in _SWITCHES and not assigned:
            values[_SWITCHES[name]] = True
        elif name in _VALUED:
            values[_VALUED[name]] = _value(name, text if assigned else None, words)
        else:
            _refuse(name)
    command = _command_words(words, values)
    return msgspec.convert(values, Options), command


def asks_for_json(argv: Sequence[str]) -> bool:
    """Whether errors go out as JSON, told without reading the rest."""
    return "--json" in _before_rest(argv)


def _command_words(words: list[str], values: dict[str, str | bool]) -> list[str]:
    """Take the options that may stand anywhere out of a command."""
    before = _before_rest(words)
    values.update({_SWITCHES[word]: True for word in before if word in _ANYWHERE})
    for word in before:
        name = word.partition("=")[0]
        if name in _VALUED or (name in _SWITCHES and name not in _ANYWHERE):
            raise InvalidInput(
                f"{name} stands behind the command", hint=f"write swarmdeck {name} … {words[0]} …"
            )
    return [word for word in before if word not in _ANYWHERE] + words[len(before) :]


def _before_rest(words: Sequence[str]) -> list[str]:
    return list(words[: words.index("--")] if "--" in words else words)


def _value(name: str, assigned: str | None, words: list[str]) -> str:
    if assigned is None and words and not words[0].startswith("--"):
        assigned = words.pop(0)
    if not assigned:
        raise InvalidInput(f"{name} needs a value", hint="see swarmdeck --help")
    return assigned


def _refuse(name: str) -> None:
    if name in _SWITCHES:
        raise InvalidInput(f"{name} takes no value", hint="see swarmdeck --help")
    hint = suggestion(name, [*_VALUED, *_SWITCHES], "see swarmdeck --help")
    raise InvalidInput(f"unknown option {printable(name)}", hint=hint)

"""What can be asked for in the console, by key, command line, form or palette: one vocabulary.

A line is the name of a screen (`queue`), a command of the console itself (`theme`), or an action
of the engine (`swarm create development --agents 4 --memory 512MB`), which the engine's own
command language reads. Everything here is pure: a line goes in, what it asks for comes out.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from ..engine import commandline
from ..engine.actions import ACTIONS, Action, ActionSpec
from ..engine.commandline import Completion
from ..engine.errors import InvalidInput
from ..engine.model import Environment, MessageState
from ..engine.parameters import Parameter, nearest, parameters


class Word(msgspec.Struct, frozen=True):
    """A command of the console itself. `takes` names its arguments for the help."""

    name: str
    help: str
    takes: str = ""

    @property
    def usage(self) -> str:
        return f"{self.name} {self.takes}".rstrip()


SCREENS: Final[Mapping[str, str]] = {
    "overview": "Host, swarms, queue and access at a glance",
    "swarms": "All swarms",
    "agents": "All agents",
    "queue": "Messages by environment and state",
    "memory": "Memory by environment, and the records in each",
    "access": "Grants and denials in force",
    "bench": "Benchmarks of this machine",
    "audit": "What was changed, by whom",
}

WORDS: Final = (
    Word("back", "Leave this screen"),
    Word("cancel", "Stop waiting for the operation that runs longest"),
    Word("command", "Type a command"),
    Word("describe", "Show the selected row in full"),
    Word("environment", "Show one environment only", "[NAME | all]"),
    Word("filter", "Show only rows that contain a text", "[TEXT]"),
    Word("form", "Fill in a command as a form", "COMMAND"),
    Word("help", "Every key and every command", "[COMMAND]"),
    Word("next", "Go to the next table"),
    Word("open", "Open the selected row"),
    Word("palette", "Find a command by its name"),
    Word("pause", "Hold the screen still; again to go on"),
    Word("quit", "Leave the console"),
    Word("records", "The records that an agent or an environment has", "AGENT | ENVIRONMENT"),
    Word("refresh", "Read everything again now"),
    Word("reopen", "Open the data directory again after the engine was lost"),
    Word("state", "Show messages of one state only", "next | previous | NAME"),
    Word("theme", "Next theme, or the one named", "[NAME]"),
)
_WORDS: Final = {word.name: word for word in WORDS}
ALIASES: Final = {"q": "quit", "q!": "quit", "h": "help", "o": "overview", "acl": "access"}
"""Short forms of a whole line; an action's noun keeps its meaning when a verb follows."""


class GoTo(msgspec.Struct, frozen=True):
    """Show a screen."""

    screen: str


class Tell(msgspec.Struct, frozen=True):
    """Run a command of the console itself."""

    word: str
    arguments: tuple[str, ...] = ()


class Run(msgspec.Struct, frozen=True):
    """Ask the engine for an action."""

    action: Action


class Fill(msgspec.Struct, frozen=True):
    """Ask for the missing fields of an action. `texts` are those already given, as typed."""

    name: str
    texts: Mapping[str, str]
    error: str = ""

    @property
    def spec(self) -> ActionSpec:
        return ACTIONS[self.name]


Intent: TypeAlias = GoTo | Tell | Run | Fill


def split(line: str) -> tuple[str, ...]:
    """The words of a typed line, quotes as in a shell. Raises InvalidInput."""
    try:
        return tuple(shlex.split(line.strip().removeprefix(":")))
    except ValueError as error:
        hint = "close every quote, or put a backslash before it"
        raise InvalidInput(f"the line cannot be read: {error}", hint=hint) from error


def interpret(words: Sequence[str]) -> Intent:
    """What a line asks for. Raises InvalidInput for a line that asks for nothing known."""
    if not words:
        raise InvalidInput("no command is given", hint="? lists them all")
    first = ALIASES.get(words[0], words[0]) if len(words) == 1 else words[0]
    if len(words) == 1 and first in SCREENS:
        return GoTo(first)
    if first in _WORDS:
        return _told(_WORDS[first], words[1:])
    return _asked(words)


def _told(word: Word, arguments: Sequence[str]) -> Intent:
    if arguments and not word.takes:
        raise InvalidInput(f"{word.name} takes nothing more", hint=f"usage: {word.usage}")
    if word.name == "form":
        spec, behind = commandline.find(arguments)
        return Fill(spec.name, typed(spec, behind))
    return Tell(word.name, tuple(arguments))


def _asked(words: Sequence[str]) -> Run | Fill:
    try:
        spec, behind = commandline.find(words)
    except InvalidInput as error:
        raise _unknown(words[0], error) from error
    try:
        return Run(commandline.parse(words))
    except InvalidInput as error:
        return Fill(spec.name, typed(spec, behind), error.message if behind else "")


def _unknown(word: str, error: InvalidInput) -> InvalidInput:
    """The error with a hint that knows the console's own words too."""
    found = nearest(word, (*SCREENS, *_WORDS)) if word not in commandline.nouns() else ""
    return InvalidInput(error.message, hint=f"did you mean {found}?") if found else error


def typed(spec: ActionSpec, words: Sequence[str]) -> dict[str, str]:
    """The fields that the words of an unfinished line already give, as text, by field name.

    Nothing is checked: the form shows what is wrong beside each field.
    """
    texts: dict[str, str] = {}
    flags = {parameter.flag: parameter for parameter in parameters(spec) if parameter.flag}
    places = iter([p for p in parameters(spec) if p.place == "positional"])
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            texts |= {p.field: shlex.join(waiting) for p in parameters(spec) if p.place == "rest"}
            break
        name, assigned, value = word.partition("=")
        parameter = flags.get(name)
        if parameter is None:
            parameter, value = next(places, None), word
        elif parameter.kind == "switch":
            value = "true"
        elif not assigned:
            value = waiting.pop(0) if waiting else ""
        if parameter is not None:
            _add(texts, parameter, value)
    return texts


def _add(texts: dict[str, str], parameter: Parameter, value: str) -> None:
    before = texts.get(parameter.field)
    texts[parameter.field] = f"{before} {value}" if before and parameter.repeated else value


class Known(msgspec.Struct, frozen=True):
    """What completion may offer besides the words of the language: ids that exist, and themes."""

    ids: tuple[str, ...] = ()
    themes: tuple[str, ...] = ()


def complete(text: str, known: Known) -> list[Completion]:
    """Ways to go on with the line `text`, best first. Never raises."""
    last = "" if not text or text[-1].isspace() else text.rsplit(maxsplit=1)[-1]
    head = text[: len(text) - len(last)]
    own = [
        Completion(word, help_, f"{head}{word} ")
        for word, help_ in _own_words(head.split(), known)
        if word.startswith(last)
    ]
    found = own + commandline.complete(text)
    if head and last and not found:
        found = [
            Completion(ident, "", f"{head}{ident} ")
            for ident in known.ids
            if ident.startswith(last)
        ]
    return list({candidate.word: candidate for candidate in reversed(found)}.values())[::-1]


def _own_words(head: Sequence[str], known: Known) -> Iterator[tuple[str, str]]:
    if not head:
        yield from SCREENS.items()
        yield from ((word.name, word.help) for word in WORDS)
    elif head == ["theme"]:
        yield from ((name, "") for name in known.themes)
    elif head in (["help"], ["form"]):
        yield from ((noun, ", ".join(verbs)) for noun, verbs in commandline.nouns().items())
    elif head == ["environment"]:
        yield from ((name, "") for name in ("all", *Environment))
    elif head == ["state"]:
        yield from ((state, "") for state in ("next", "previous", "open", *MessageState))


def line_of(action: Action) -> str:
    """The command line that asks for the same outside the console."""
    return shlex.join([commandline.PROGRAM, *commandline.render(action)])

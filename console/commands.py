"""What can be asked for in the console, by key, command line, form or palette: one vocabulary.

A line is the name of a screen, which may be narrowed (`queue dead /digest @dev`), a command of the
console itself (`theme`), or an action of the engine (`swarm create development --agents 4 --memory
512MB`), which the engine's own command language reads. Everything here is pure: a line goes in,
what it asks for comes out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from ..engine import commandline
from ..engine.actions import ACTIONS, Action, ActionSpec, spec_of
from ..engine.commandline import Completion
from ..engine.errors import InvalidInput
from ..engine.model import PREFIXES, Environment, MessageState, printable
from ..engine.parameters import Parameter, nearest, parameters, suggestion
from .export import FORMATS
from .keymap import keymap


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
    "schedules": "Messages that are sent again and again",
    "tasks": "What agents have to do, and what that waits for",
    "events": "What agents say has happened, and what becomes of it",
    "consensus": "What is put to the vote, and how the ballots stand",
    "conflicts": "What stands between two, and what is done about it",
    "artifacts": "Files that agents have made, by version",
    "memory": "Memory by environment, and the records in each",
    "access": "Grants and denials in force, and who may do what",
    "bench": "Benchmarks of this machine",
    "audit": "What was changed, read and refused, by whom",
    "log": "What has happened since the engine opened",
    "alerts": "What needs a person",
    "health": "What probes found, and what is done about it",
    "vault": "Whether records can be read, and every key",
    "backups": "Copies of environments",
    "db": "Database files: size, log, readers, slow statements",
    "metrics": "What is measured over time: host, environments, swarms, agents",
    "measures": "Metrics that users and agents record, with charts",
    "tree": "Swarms, their agents and what these hold, as a tree",
}

NARROWED: Final = "[STATE] [/FILTER] [@ENVIRONMENT]"
"""What may stand behind a screen's name, in any order."""

STATES: Final = ("open", *MessageState)
"""What the queue may be narrowed to; open is all that is still to be done."""

WORDS: Final = (
    Word("as", "Everything as one agent sees it; esc ends it", "AGENT"),
    Word("back", "Leave this screen"),
    Word("cancel", "Stop waiting for the operation that runs longest"),
    Word("charts", "What was measured of one subject over time, as charts", "SUBJECT"),
    Word("command", "Type a command"),
    Word(
        "copy", "Copy the selected or marked rows as JSON, or the line that asks for them", "[line]"
    ),
    Word("deny", "Deny what the selected row is about, in a form"),
    Word("describe", "Show the selected row in full"),
    Word("detach", "Leave engine and swarms to a headless engine, and this console"),
    Word("detail", "Show the selected row in full beside the table, or no longer"),
    Word("edit", "Change the selected row: a form with what it is now"),
    Word("endread", "End the break-glass reads that are in force"),
    Word("environment", "Show one environment only; @dev does the same", "[NAME | all]"),
    Word("export", "Write what is shown to a new file", "[csv | json] [FILE]"),
    Word("filter", "Show only rows that fit: text !not -f letters key=value key>5", "[FILTER]"),
    Word("fold", "Shut a branch of the tree, or open it", "open | shut"),
    Word("form", "Fill in a command as a form", "COMMAND"),
    Word("forward", "To the view one has come back from"),
    Word("grant", "Allow what the selected row is about, in a form"),
    Word("help", "Every key and every command", "[COMMAND]"),
    Word("history", "Back through the views one has seen"),
    Word(
        "interval", "How often to look when nothing is said to change", "SECONDS | slower | faster"
    ),
    Word("keymap", "Read the file of your own keys again"),
    Word("last", "To the view before this one; again to come back"),
    Word("maximise", "Give all the room to what has the focus; again to share it"),
    Word("next", "Go to the next table"),
    Word("open", "Open the selected row"),
    Word("palette", "Find a command by its name"),
    Word("pause", "Hold the screen still; again to go on"),
    Word("quit", "Leave the console"),
    Word("records", "The records that an agent or an environment has", "AGENT | ENVIRONMENT"),
    Word("refresh", "Read everything again now"),
    Word("reopen", "Open the data directory again after the engine was lost"),
    Word("refused", "On audit: only what was refused; again for all"),
    Word("risk", "On audit: only what has this risk and above", "next | NAME"),
    Word("state", "Show messages of one state only", "next | previous | NAME"),
    Word("theme", "Next theme, or the one named", "[NAME]"),
    Word("unseal", "Unseal the vault; asks for the passphrase where it has one"),
    Word("window", "On charts: how far back they go", "next | previous | NAME"),
    Word("why", "Why the selected row is as it is: reasons, rules, remedies"),
)
_WORDS: Final = {word.name: word for word in WORDS}


class GoTo(msgspec.Struct, frozen=True):
    """Show a screen, or a part of it: empty is all, or what the screen begins with."""

    screen: str
    filter: str = ""
    environment: str = ""
    state: str = ""


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


def read(line: str) -> Intent:
    """What a typed line asks for. A filter keeps its quotes. Raises InvalidInput."""
    words = _QUOTED.findall(line.strip().removeprefix(":"))
    return interpret(words if _narrows(words) else split(line))


_QUOTED: Final = re.compile(r"""(?:[^\s"']|"[^"]*"?|'[^']*'?)+""")


def interpret(words: Sequence[str]) -> Intent:
    """What the words of a line ask for. Raises InvalidInput for those that ask for nothing
    known."""
    if not words:
        raise InvalidInput("no command is given", hint="? lists them all")
    words = expanded(words)
    if words[0] in SCREENS and (len(words) == 1 or _narrows(words)):
        return _place(words[0], words[1:])
    if words[0][:1] in {"/", "@"} and len(words[0]) > 1:
        return _here(words)
    if words[0] in _WORDS:
        return _told(_WORDS[words[0]], words[1:])
    return _asked(words)


def expanded(words: Sequence[str]) -> tuple[str, ...]:
    """The words with an alias at their head spelled out. A word that is a noun of the engine
    keeps its meaning when a verb follows."""
    first, *rest = words
    meaning = keymap().aliases.get(first)
    if meaning is None or (rest and first in commandline.nouns() and rest[0][:1] not in {"/", "@"}):
        return tuple(words)
    return (*meaning.split(), *rest)


def _narrows(words: Sequence[str]) -> bool:
    """Whether the words behind a screen's name narrow it, instead of being a verb's."""
    words = expanded(words) if words else ()
    if not words or (words[0] not in SCREENS and words[0][:1] not in {"/", "@"}):
        return False
    behind = words[1:] if words[0] in SCREENS else words
    states = STATES if words[0] == "queue" else ()
    alone = len(behind) == 1 and behind[0] in states
    return alone or any(word[:1] in {"/", "@"} for word in behind)


def _here(words: Sequence[str]) -> Tell:
    """`/text` and `@dev` alone narrow what is on the screen."""
    narrowed = _place("", words)
    if narrowed.filter and narrowed.environment:
        raise InvalidInput("one at a time", hint="name the view before: queue /text @dev")
    if narrowed.environment:
        return Tell("environment", (narrowed.environment,))
    return Tell("filter", (narrowed.filter,))


def _place(screen: str, words: Sequence[str]) -> GoTo:
    """A screen and what narrows it. A filter goes on until the environment or the end."""
    states: list[str] = []
    filters: list[str] = []
    environment = ""
    for word in words:
        if word.startswith("@"):
            environment = environment_named(word[1:])
        elif word.startswith("/") and not filters:
            filters.append(word[1:])
        elif filters and not environment:
            filters.append(word)
        else:
            states.append(word)
    return GoTo(screen, " ".join(filters).strip(), environment, _state(screen, states))


def _state(screen: str, words: Sequence[str]) -> str:
    if not words:
        return ""
    if screen != "queue":
        raise InvalidInput(
            f"{screen} does not take {printable(words[0])}", hint=f"{screen} {NARROWED}"
        )
    if len(words) > 1 or words[0] not in STATES:
        hint = suggestion(words[-1], STATES, f"one of {', '.join(STATES)}")
        raise InvalidInput(f"unknown state {printable(words[-1])}", hint=hint)
    return words[0]


def beginning(view: str | None, filter_: str | None) -> GoTo | None:
    """The view the console begins with, from `--view` and `--filter`; None for the first screen.
    Raises InvalidInput for a line that names no view."""
    if view is None:
        if filter_ is not None:
            raise InvalidInput("--filter needs --view", hint="such as --view queue --filter age>1h")
        return None
    hint = suggestion(view, SCREENS, f"one of {', '.join(SCREENS)}")
    refusal = InvalidInput(f"--view {printable(view)} is no view", hint=hint)
    if split(view)[:1] and expanded(split(view))[0] not in SCREENS:
        raise refusal
    wanted = read(f"{view} /{filter_}" if filter_ else view)
    if not isinstance(wanted, GoTo):
        raise refusal
    return wanted


def environment_named(text: str) -> str:
    """An environment by name, by the prefix of its ids or by what no other begins with; `all`
    is none of them. Raises InvalidInput."""
    wanted = text.casefold()
    names = {**{str(name): str(name) for name in Environment}, "all": "all"}
    names |= {prefix: str(name) for name, prefix in PREFIXES.items()}
    if wanted in names:
        return names[wanted]
    begun = {name for word, name in names.items() if wanted and word.startswith(wanted)}
    if len(begun) == 1:
        return begun.pop()
    hint = f"one of {', '.join(sorted(begun) or (*Environment, 'all'))}"
    what = "could be several environments" if begun else "is no environment"
    raise InvalidInput(f"{printable(text)} {what}", hint=hint)


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
    found = (
        nearest(word, (*SCREENS, *_WORDS, *keymap().aliases))
        if word not in commandline.nouns()
        else ""
    )
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
        yield from keymap().aliases.items()
        yield from ((word.name, word.help) for word in WORDS)
    elif head == ["theme"]:
        yield from ((name, "") for name in known.themes)
    elif head in (["help"], ["form"]):
        yield from ((noun, ", ".join(verbs)) for noun, verbs in commandline.nouns().items())
    elif head == ["environment"]:
        yield from ((name, "") for name in ("all", *Environment))
    elif head == ["state"]:
        yield from ((state, "") for state in ("next", "previous", *STATES))
    elif head == ["export"]:
        yield from ((suffix, "") for suffix in FORMATS)
    elif head == ["interval"]:
        yield from ((word, "") for word in ("slower", "faster"))
    elif _is_place(head):
        yield from ((f"@{name}", "only this environment") for name in Environment)
        yield from ((state, "only this state") for state in STATES if head == ["queue"])


def _is_place(head: Sequence[str]) -> bool:
    """Whether a screen is named, and no verb of the engine's behind it."""
    words = expanded(head)
    return words[0] in SCREENS and (len(words) == 1 or _narrows(words))


CONTENT: Final = frozenset({"json", "value", "secret", "variable"})
"""Kinds of fields whose text is kept nowhere."""


def carries_value(words: Sequence[str]) -> bool:
    """Whether a line gives an action a value: content of a record or of a message, which is
    nobody's business in a file of past commands."""
    return _carries(words, CONTENT)


def carries_secret(words: Sequence[str]) -> bool:
    """Whether a line may give an action a passphrase."""
    return _carries(words, {"secret"})


def _carries(words: Sequence[str], kinds: Collection[str]) -> bool:
    try:
        spec, behind = commandline.find(words[1:] if words and words[0] == "form" else words)
    except InvalidInput:
        return False
    found = (each for each in parameters(spec) if each.kind in kinds)
    return bool(behind) and any(
        each.kind != "variable" or any(word.startswith(each.flag) for word in behind)
        for each in found
    )


def line_of(action: Action) -> str:
    """The command line that asks for the same outside the console. Values of variables, which may
    be secret, are left out: a name alone stands for the value where the line is run."""
    named = {
        each.field: tuple(text.partition("=")[0] for text in getattr(action, each.field))
        for each in parameters(spec_of(action))
        if each.kind == "variable"
    }
    shown = msgspec.structs.replace(action, **named) if named else action
    return shlex.join([commandline.PROGRAM, *commandline.render(shown)])

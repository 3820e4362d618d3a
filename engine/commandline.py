"""The language of commands: `<noun> <verb> [positional…] [--flags] [-- rest…]`.

It is read from the action registry; no action is written here by hand. The same four functions
serve the shell and the console's command bar: `parse` text into an action, `render` an action as
the line that asks for it, `complete` a line being typed, explain an action with `usage`.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from .actions import ACTIONS, Action, ActionSpec, spec_of
from .errors import InvalidInput
from .model import printable
from .parameters import Parameter, bounds, check_encoding, parameters, read, suggestion, write

PROGRAM: Final = "swarmdeck"
_REST: Final = "--"
_HELP_COLUMN: Final = 28


class Completion(msgspec.Struct, frozen=True):
    """A way to go on: the completed last word, what it means, and the whole line with it."""

    word: str
    help: str
    line: str


def parse(argv: Sequence[str]) -> Action:
    """The action that a command line asks for. Raises InvalidInput with a hint."""
    for word in argv:
        check_encoding(word)
    spec, words = find(argv)
    return build(spec, _values(spec, words))


def build(spec: ActionSpec, values: Mapping[str, Any]) -> Action:
    """An action from values that `parameters.read` returned. Raises InvalidInput for a field that
    is missing or has too few elements."""
    missing = [p for p in parameters(spec) if p.required and p.field not in values]
    if missing:
        wanted = " and ".join(_synopsis(parameter) for parameter in missing)
        raise InvalidInput(f"{_spoken(spec)} needs {wanted}", hint=f"usage: {usage_line(spec)}")
    for parameter in parameters(spec):
        given = values.get(parameter.field, parameter.default)
        if parameter.min_length and len(given) < parameter.min_length:
            what = "" if parameter.repeated else " characters"
            raise InvalidInput(f"{parameter.label} needs at least {parameter.min_length}{what}")
    return spec.type(**values)


def render(action: Action) -> list[str]:
    """The words of the command line for `action`, defaults and secrets left out:
    `parse(render(a)) == a` but for its secrets. Raises InvalidInput for what no command line can
    say (bytes as a value)."""
    spec = spec_of(action)
    positional: list[str] = []
    flags: list[str] = []
    rest: list[str] = []
    places = {"positional": positional, "flag": flags, "rest": rest}
    for parameter in parameters(spec):
        value = getattr(action, parameter.field)
        if parameter.kind == "secret":
            continue
        if parameter.required or value != parameter.default:
            places[parameter.place].extend(_written(parameter, value))
    if any(word.startswith("-") for word in positional):
        return [*spec.name.split("."), *flags, _REST, *positional]
    return [*spec.name.split("."), *positional, *flags, *([_REST, *rest] if rest else ())]


def complete(text: str) -> list[Completion]:
    """What could be typed next after `text` (a whole line up to the cursor), best order first.
    Never raises; a line that cannot be understood has no completions."""
    last = "" if not text or text[-1].isspace() else text.rsplit(maxsplit=1)[-1]
    head = text[: len(text) - len(last)]
    try:
        candidates = list(_candidates(shlex.split(head), last))
    except (InvalidInput, ValueError):
        return []
    return [
        Completion(word, help_, f"{head}{word} ")
        for word, help_ in candidates
        if word.startswith(last)
    ]


def find(argv: Sequence[str]) -> tuple[ActionSpec, list[str]]:
    """The action that the first words name, and the words behind them. Raises InvalidInput."""
    if not argv:
        raise InvalidInput("no command is given", hint=f"see {PROGRAM} --help")
    noun, *words = argv
    if noun in ACTIONS:
        return ACTIONS[noun], words
    verbs = ACTIONS.verbs(noun)
    if noun not in ACTIONS.nouns:
        hint = suggestion(noun, nouns(), f"see {PROGRAM} --help")
        raise InvalidInput(f"unknown command {printable(noun)}", hint=hint)
    if not words or words[0].startswith("-"):
        raise InvalidInput(f"{noun} needs a verb", hint=f"one of {', '.join(verbs)}")
    if words[0] not in verbs:
        hint = suggestion(words[0], verbs, f"one of {', '.join(verbs)}")
        raise InvalidInput(f"unknown command {noun} {printable(words[0])}", hint=hint)
    return ACTIONS[f"{noun}.{words[0]}"], words[1:]


@functools.cache
def nouns() -> Mapping[str, tuple[str, ...]]:
    """Every first word, in order of definition, with its verbs; none for an action of one word."""
    return {noun: ACTIONS.verbs(noun) for noun in ACTIONS.nouns}


# --- help -----------------------------------------------------------------------------------


def usage(spec: ActionSpec) -> str:
    """Help for one action: how it is written, what it does, each parameter with its bounds."""
    rows = [_explained(parameter) for parameter in parameters(spec)]
    table = "".join(_row(left, right) for left, right in rows)
    return f"usage: {usage_line(spec)}\n\n{spec.help}\n" + (f"\n{table}" if table else "")


def usage_line(spec: ActionSpec) -> str:
    """How an action is written: `swarmdeck swarm health ID`."""
    order = {"positional": 0, "flag": 1, "rest": 2}
    written = [parameter for parameter in parameters(spec) if parameter.kind != "secret"]
    ordered = sorted(written, key=lambda p: (order[p.place], not p.required))
    shown = [
        _synopsis(parameter) if parameter.required else f"[{_synopsis(parameter)}]"
        for parameter in ordered
    ]
    return " ".join([PROGRAM, _spoken(spec), *shown])


def usage_noun(noun: str) -> str:
    """Help for a noun: its verbs, one a line."""
    rows = [_row(_spoken(spec), spec.help) for spec in ACTIONS.values() if _noun(spec) == noun]
    return f"usage: {PROGRAM} {noun} VERB …\n\n" + "".join(rows)


def summary() -> str:
    """Every command with its line of help."""
    return "".join(_row(_spoken(spec), spec.help) for spec in ACTIONS.values())


def _row(left: str, right: str) -> str:
    gap = " " * max(2, _HELP_COLUMN - 2 - len(left))
    return f"  {left}{gap}{right}\n"


def _explained(parameter: Parameter) -> tuple[str, str]:
    notes = [parameter.help]
    if parameter.kind == "choice":
        notes.append(f"({', '.join(parameter.choices)})")
    elif bounds(parameter):
        notes.append(f"({bounds(parameter)})")
    if parameter.default not in (msgspec.NODEFAULT, None, False, "", ()):
        shown = parameter.default
        words = shown if parameter.repeated else [write(parameter, shown)]
        notes.append(f"[{' '.join(words)}]")
    return _synopsis(parameter), " ".join(notes)


def _synopsis(parameter: Parameter) -> str:
    if parameter.place == "rest":
        return f"{_REST} {parameter.metavar}…"
    if parameter.kind == "secret":
        return f"({parameter.field})"
    if parameter.kind == "switch":
        return parameter.flag
    many = "…" if parameter.repeated else ""
    return f"{parameter.flag} {parameter.metavar}{many}".lstrip()


def _spoken(spec: ActionSpec) -> str:
    return spec.name.replace(".", " ")


def _noun(spec: ActionSpec) -> str:
    return spec.name.partition(".")[0]


# --- from words to values -------------------------------------------------------------------


class _Words(msgspec.Struct):
    """A command line taken apart but not yet read. `pending` is a flag still without its value;
    `rest` is None until `--` is met."""

    positional: list[str] = []
    flags: list[tuple[Parameter, str | None]] = []
    pending: Parameter | None = None
    rest: list[str] | None = None


def _scan(spec: ActionSpec, words: Sequence[str]) -> _Words:
    """Sort words into positionals, flags and rest. Raises InvalidInput for an unknown flag."""
    found = _Words()
    flags = _flags(spec)
    for index, word in enumerate(words):
        if found.pending is not None:
            if _looks_like_flag(word):
                break
            found.flags.append((found.pending, word))
            found.pending = None
        elif word == _REST:
            found.rest = list(words[index + 1 :])
            break
        elif _looks_like_flag(word):
            _take_flag(spec, flags, word, found)
        else:
            found.positional.append(word)
    return found


def _take_flag(spec: ActionSpec, flags: Mapping[str, Parameter], word: str, found: _Words) -> None:
    name, assigned, text = word.partition("=")
    parameter = flags.get(name)
    if parameter is None:
        otherwise = f"usage: {usage_line(spec)}"
        hint = suggestion(name, flags, otherwise)
        raise InvalidInput(f"{_spoken(spec)} has no flag {printable(name)}", hint=hint)
    if parameter.kind == "secret":
        hint = "it is asked for, or read as one line from standard input"
        raise InvalidInput(f"{name} is never written on a command line", hint=hint)
    valued = parameter.kind != "switch" and name != parameter.negation
    if assigned and not valued:
        raise InvalidInput(f"{name} takes no value")
    if valued and not assigned:
        found.pending = parameter
    else:
        found.flags.append((parameter, text if valued else None))


def _flags(spec: ActionSpec) -> dict[str, Parameter]:
    named = {p.flag: p for p in parameters(spec) if p.flag}
    return named | {p.negation: p for p in parameters(spec) if p.negation}


def _looks_like_flag(word: str) -> bool:
    """Numbers and a lone dash are values."""
    return word.startswith("-") and not word[1:2].isdigit() and word[1:2] not in {"", "."}


def _values(spec: ActionSpec, words: Sequence[str]) -> dict[str, Any]:
    found = _scan(spec, words)
    if found.pending is not None:
        flag = found.pending.flag
        raise InvalidInput(
            f"{flag} needs a value", hint=f"a value that begins with - is written {flag}=-…"
        )
    values: dict[str, Any] = {}
    for parameter, text in found.flags:
        _put(values, parameter, text)
    takes_rest = [p for p in parameters(spec) if p.place == "rest"]
    if found.rest is not None and takes_rest:
        values[takes_rest[0].field] = tuple(found.rest)
    elif found.rest is not None:
        found.positional += found.rest
    _put_positional(spec, values, found.positional)
    return values


def _put(values: dict[str, Any], parameter: Parameter, text: str | None) -> None:
    """Add one flag; `text` is None for a switch or a negation."""
    given = values.get(parameter.field)
    if given is not None and (not parameter.repeated or text is None or given == ()):
        twice = f"{parameter.flag} is given twice"
        against = f"{parameter.flag} contradicts {parameter.negation}"
        raise InvalidInput(against if parameter.repeated else twice)
    if text is None:
        values[parameter.field] = () if parameter.repeated else True
    elif parameter.repeated:
        # Names of a choice hold no comma, so several of them may stand in one word.
        words = text.split(",") if parameter.kind == "choice" else [text]
        read_words = tuple(read(parameter, word) for word in words)
        values[parameter.field] = (*(given or ()), *read_words)
    else:
        values[parameter.field] = read(parameter, text)


def _put_positional(spec: ActionSpec, values: dict[str, Any], words: Sequence[str]) -> None:
    waiting = list(words)
    for parameter in parameters(spec):
        if parameter.place != "positional" or not waiting:
            continue
        if parameter.repeated:
            values[parameter.field] = tuple(read(parameter, word) for word in waiting)
            waiting = []
        else:
            values[parameter.field] = read(parameter, waiting.pop(0))
    if waiting:
        raise InvalidInput(
            f"{_spoken(spec)} does not take {printable(waiting[0])}",
            hint=f"usage: {usage_line(spec)}",
        )


def _written(parameter: Parameter, value: Any) -> Iterator[str]:  # noqa: ANN401 - the field's own
    if parameter.place == "rest":
        yield from value
    elif parameter.kind == "switch":
        yield parameter.flag
    elif parameter.repeated and not value:
        yield parameter.negation
    else:
        for item in value if parameter.repeated else (value,):
            text = write(parameter, item)
            if parameter.place == "positional":
                yield text
            elif text.startswith("-"):
                yield f"{parameter.flag}={text}"
            else:
                yield from (parameter.flag, text)


# --- completion -----------------------------------------------------------------------------


def _candidates(words: Sequence[str], last: str) -> Iterator[tuple[str, str]]:
    """Words that could stand where `last` is being typed, each with its help."""
    if not words:
        for noun, verbs in nouns().items():
            yield noun, ", ".join(verbs) or ACTIONS[noun].help
    elif len(words) == 1 and words[0] not in ACTIONS:
        for verb in nouns().get(words[0], ()):
            yield verb, ACTIONS[f"{words[0]}.{verb}"].help
    else:
        spec, behind = find(words)
        yield from _argument_candidates(spec, _scan(spec, behind), last)


def _argument_candidates(spec: ActionSpec, found: _Words, last: str) -> Iterator[tuple[str, str]]:
    if found.rest is not None:
        return
    if found.pending is not None:
        yield from ((choice, found.pending.help) for choice in found.pending.choices)
        return
    name, assigned, _ = last.partition("=")
    if assigned and name in _flags(spec):
        parameter = _flags(spec)[name]
        yield from ((f"{name}={choice}", parameter.help) for choice in parameter.choices)
        return
    places = [p for p in parameters(spec) if p.place == "positional"]
    waiting = places[len(found.positional) :] or [p for p in places[-1:] if p.repeated]
    if waiting:
        yield from ((choice, waiting[0].help) for choice in waiting[0].choices)
        if waiting[0].required and not last:
            return
    yield from _flag_candidates(spec, found)


def _flag_candidates(spec: ActionSpec, found: _Words) -> Iterator[tuple[str, str]]:
    used = {parameter.field for parameter, _ in found.flags}
    for parameter in sorted(parameters(spec), key=lambda p: not p.required):
        if parameter.place == "rest":
            yield _REST, parameter.help
        elif parameter.kind == "secret":
            continue
        elif parameter.flag and (parameter.repeated or parameter.field not in used):
            yield parameter.flag, parameter.help

"""Conditions of dependencies: what must hold of a task once it has ended.

    status = completed and result.score >= 0.9
    not (status = cancelled) or confidence > 0.5

A comparison has a name on its left: status, progress, confidence, attempt, reason, or result with a
path into it (`result.rows.0.name`). What is not there equals nothing and is not above or below
anything; `result.x` alone asks whether it is there and says yes to something. Nothing is called and
nothing else can be reached.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from ..errors import InvalidInput
from ..model import printable
from .task import ENDED

MAX_LENGTH: Final = 500
MAX_DEPTH: Final = 20

NAMES: Final = frozenset({"status", "progress", "confidence", "attempt", "reason", "result"})
_COMPARED: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<sign>!=|<=|>=|==|=|<|>|\(|\))
          |(?P<number>-?\d+(?:\.\d+)?(?![\w.]))
          |(?P<text>"[^"\\]*"|'[^'\\]*')
          |(?P<word>[A-Za-z_][\w-]*(?:\.[\w-]+)*))""",
    re.VERBOSE | re.ASCII,
)
_WORDS: Final = {"true": True, "false": False, "null": None}
_HINT: Final = "such as: status = completed and result.score >= 0.9"
_ABSENT: Final = object()

Facts: TypeAlias = Mapping[str, Any]
"""What is known of a task that has ended, by NAMES."""
Condition: TypeAlias = Callable[[Facts], bool]


class _Token(NamedTuple):
    kind: str
    text: str


@lru_cache(maxsize=256)
def condition(text: str) -> Condition:
    """A condition as it is asked. Raises InvalidInput with what is wrong in it."""
    if len(text) > MAX_LENGTH:
        raise InvalidInput(
            f"the condition has {len(text)} characters", hint=f"at most {MAX_LENGTH}"
        )
    return _Parser(text).whole()


class _Parser:
    """One pass over the words of a condition: or below and below not below a comparison."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def whole(self) -> Condition:
        found = self._either()
        if self._at < len(self._tokens):
            raise _wrong(f"{printable(self._tokens[self._at].text)} is one word too many")
        return found

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._takes("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda facts: any(part(facts) for part in parts)

    def _both(self) -> Condition:
        parts = [self._one()]
        while self._takes("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda facts: all(part(facts) for part in parts)

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _wrong("it is nested too deeply")
        try:
            if self._takes("not"):
                inner = self._one()
                return lambda facts: not inner(facts)
            if self._takes("("):
                inner = self._either()
                if not self._takes(")"):
                    raise _wrong("a bracket is not closed")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Condition:
        path = self._path()
        sign = self._next() if self._peek().kind == "sign" and self._peek().text != ")" else None
        if sign is None:
            return lambda facts: bool(_reach(facts, path)) and _reach(facts, path) is not _ABSENT
        compare = _COMPARED.get(sign.text.replace("==", "="))
        if compare is None:
            raise _wrong(f"{sign.text} compares nothing")
        value = self._value()
        if path == ("status",) and value not in ENDED:
            raise _wrong(f"no task ends {value}; they end {', '.join(sorted(ENDED))}")
        return _compared(path, compare, value)

    def _path(self) -> tuple[str, ...]:
        token = self._next()
        path = tuple(token.text.split("."))
        if token.kind != "word" or path[0] not in NAMES:
            raise _wrong(f"{printable(token.text)} is none of {', '.join(sorted(NAMES))}")
        if len(path) > 1 and path[0] != "result":
            raise _wrong(f"{path[0]} has nothing inside")
        return path

    def _value(self) -> Any:  # noqa: ANN401 - a JSON scalar
        token = self._next()
        if token.kind == "number":
            return float(token.text) if "." in token.text else int(token.text)
        if token.kind == "text":
            return token.text[1:-1]
        if token.kind == "word":
            return _WORDS.get(token.text.lower(), token.text)
        raise _wrong(f"{token.text} is no value")

    def _peek(self) -> _Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else _Token("end", "")

    def _next(self) -> _Token:
        token = self._peek()
        if token.kind == "end":
            raise _wrong("it ends too early")
        self._at += 1
        return token

    def _takes(self, text: str) -> bool:
        found = self._peek()
        if found.kind in ("word", "sign") and found.text.lower() == text:
            self._at += 1
            return True
        return False


def _tokens(text: str) -> list[_Token]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise _wrong(f"{printable(text[at:end])} cannot be read")
        assert match.lastgroup is not None
        found.append(_Token(match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return found


def _compared(path: tuple[str, ...], compare: Callable[[Any, Any], bool], value: Any) -> Condition:  # noqa: ANN401 - JSON types
    def ask(facts: Facts) -> bool:
        found = _reach(facts, path)
        if found is _ABSENT:
            return False
        if compare in (operator.eq, operator.ne):
            # JSON tells true from 1.
            same = found == value and isinstance(found, bool) is isinstance(value, bool)
            return same is (compare is operator.eq)
        numbers = _is_number(found) and _is_number(value)
        return (numbers or type(found) is type(value) is str) and compare(found, value)

    return ask


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _reach(facts: Facts, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - JSON types
    """What stands at a path, _ABSENT where it leads nowhere."""
    found: Any = facts.get(path[0], _ABSENT)
    for step in path[1:]:
        if isinstance(found, Mapping):
            found = found.get(step, _ABSENT)
        elif isinstance(found, list) and step.isdigit() and len(step) < 10:
            found = found[int(step)] if int(step) < len(found) else _ABSENT
        else:
            return _ABSENT
    return found


def _wrong(why: str) -> InvalidInput:
    return InvalidInput(f"the condition cannot be used: {why}", hint=_HINT)

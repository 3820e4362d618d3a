"""How an action is defined, and the registry of all of them.

A field carries its unit, bounds and help in `Annotated[..., arg(...)]`; `@action` adds what the
dispatcher must know.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from ..errors import InvalidInput
from ..model import Role
from .registry import Registry

Lane = Literal["interactive", "background", "bulk"]

Environment = Literal["production", "development", "testing", "research", "staging"]
LevelName = str
A = TypeVar("A", bound="Action")


class Action(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """Base of all actions. Its repr, which ends up in tracebacks and logs, hides what is secret."""

    def __repr__(self) -> str:
        hidden = _secrets(type(self))
        shown = (
            f"{name}={'…' if name in hidden else repr(getattr(self, name))}"
            for name in self.__struct_fields__
        )
        return f"{type(self).__name__}({', '.join(shown)})"


class ActionSpec(msgspec.Struct, frozen=True):
    """What is known of an action besides its fields.

    `role`: the least role it needs in the environment it is about (an agent needs none for what
    is its own, see authority.py). `query`: changes nothing. `destructive`: the console shows a plan
    and asks first. `lasting`: leaves processes running, so it needs an engine that stays.
    `offline`: can run with no data directory open.
    """

    name: str
    type: type[Action]
    help: str
    result: Any
    lane: Lane
    timeout_s: float
    role: Role
    query: bool
    idempotent: bool
    destructive: bool
    lasting: bool
    offline: bool


ACTIONS: Final = Registry()


def action(  # noqa: PLR0913 - what is known of an action
    result: Any,  # noqa: ANN401 - a type expression, also list[View]
    *,
    lane: Lane = "interactive",
    timeout_s: float = 30,
    role: Role | None = None,
    query: bool = False,
    idempotent: bool = False,
    destructive: bool = False,
    lasting: bool = False,
    offline: bool = False,
) -> Callable[[type[A]], type[A]]:
    """Register an action. Its help is the first line of its docstring. `role` None: monitor for a
    question, coordinator for a change."""

    def register(kind: type[A]) -> type[A]:
        name = str(kind.__struct_config__.tag)
        text = (kind.__doc__ or "").strip().splitlines()[0]
        ACTIONS.add(ActionSpec(
            name, kind, text, result, lane, timeout_s,
            role or (Role.MONITOR if query else Role.COORDINATOR), query, idempotent or query,
            destructive, lasting, offline,
        ))  # fmt: skip
        return kind

    return register


def arg(
    text: str,
    *,
    positional: bool = False,
    flag: str = "",
    unit: Literal[
        "", "size", "json", "value", "rest", "level", "priority", "secret", "path", "variable"
    ] = "",
    ge: float | None = None,
    le: float | None = None,
    min_length: int | None = None,
) -> msgspec.Meta:
    """Describe a field: help, how it is written on a command line, and its bounds.

    Units: `size` takes MB and GB, `json` a JSON text, `value` a JSON text or else a plain string,
    `rest` all that follows `--`, `level` and `priority` a word or a number. A `secret` is never
    written on a command line: it is asked for or read from standard input. A `path` is made
    absolute where it is typed. A `variable` is `NAME=VALUE` or `NAME`; its value may be a secret,
    so it is shown and kept nowhere.
    """
    extra = {"positional": positional, "flag": flag, "unit": unit}
    return msgspec.Meta(description=text, ge=ge, le=le, min_length=min_length, extra=extra)


Where = Annotated[Environment, arg("environment", positional=True)]
OptionalWhere = Annotated[Environment | None, arg("only this environment", positional=True)]
Reader = Annotated[str | None, arg("act as this agent instead of the operator", flag="--as")]
Namespace = Annotated[str, arg("key space inside the environment")]
Limit = Annotated[int, arg("at most so many rows", ge=1, le=10_000)]

# Bounds stand inside an optional type: msgspec takes none on a union with None.
Version = Annotated[int, msgspec.Meta(ge=1)]
VersionOrNone = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]

Order = Annotated[bool, arg("turn the order around")]
Offset = Annotated[int, arg("leave out so many rows before", ge=0)]
Contains = Annotated[str, arg("only rows in which this text occurs, in any case")]


def check(wanted: Action) -> Action:
    """The action, its fields checked against their types and bounds. Raises InvalidInput."""
    try:
        return msgspec.convert(msgspec.to_builtins(wanted, builtin_types=(bytes,)), type(wanted))
    except (msgspec.ValidationError, TypeError) as error:
        raise refused(spec_of(wanted), error) from error


def refused(spec: ActionSpec, error: Exception) -> InvalidInput:
    """The error for fields that do not fit an action."""
    return InvalidInput(
        f"{spec.name}: {error}", hint=f"see swarmdeck {spec.name.replace('.', ' ')} --help"
    )


def spec_of(wanted: Action) -> ActionSpec:
    return ACTIONS[name_of(wanted)]


def name_of(wanted: Action) -> str:
    """Its name, `swarm.create`. Asked before its class is: naming a class loads its module."""
    return str(wanted.__struct_config__.tag)


def named(name: str) -> ActionSpec:
    """The action called `name`. Raises InvalidInput."""
    try:
        return ACTIONS[name]
    except KeyError:
        raise InvalidInput(f"unknown action {name!r}", hint="see swarmdeck --help") from None


@cache
def _secrets(kind: type[Action]) -> frozenset[str]:
    units = ((field.name, (meta.extra or {}).get("unit")) for field, meta in fields(kind))
    return frozenset(name for name, unit in units if unit in {"secret", "variable"})


def fields(kind: type[Action]) -> tuple[tuple[msgspec.structs.FieldInfo, msgspec.Meta], ...]:
    """The fields of an action with what `arg` said of each, in order of definition."""
    described = []
    for field in msgspec.structs.fields(kind):
        metadata = getattr(field.type, "__metadata__", ())
        meta = next((m for m in metadata if isinstance(m, msgspec.Meta)), arg(field.name))
        described.append((field, meta))
    return tuple(described)

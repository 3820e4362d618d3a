"""How one field of an action is written as text: on a command line, in a command bar, in a form.

Everything is derived from the field's type and its `actions.arg(...)`. `read` turns text into the
value, `write` turns the value back into text that `read` takes; both are pure.
"""

from __future__ import annotations

import functools
import math
import re
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from . import codec, model
from .actions import ActionSpec, fields
from .errors import InvalidInput

Kind = Literal[
    "text",
    "integer",
    "number",
    "switch",
    "choice",
    "size",
    "json",
    "value",
    "level",
    "priority",
    "secret",
    "path",
    "variable",
]
Place = Literal["positional", "flag", "rest"]

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_INT64: Final = range(-(1 << 63), 1 << 63)
_LEVELS: Final = tuple(name.lower() for name in model.Level.__members__)
_METAVARS: Final = {
    "integer": "N",
    "size": "SIZE",
    "json": "JSON",
    "value": "VALUE",
    "path": "PATH",
    "variable": "NAME[=VALUE]",
}
_WRITTEN_UNITS: Final = ("_bytes", "_s")
_WRAPPERS: Final = frozenset({typing.Annotated, typing.Union, types.UnionType, tuple})


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One field of an action as text.

    `flag` is empty for a positional and for `rest`. `choices` are all values of a choice, and the
    words of a level or priority (whose numbers are taken as well). `repeated` fields hold a tuple.
    `default` is what an absent field has, NODEFAULT if it must be given. A field of kind `secret`
    stands on no command line: whoever asks for the action asks for it apart, without echo.
    """

    field: str
    help: str
    kind: Kind
    place: Place
    default: Any
    flag: str = ""
    choices: tuple[str, ...] = ()
    repeated: bool = False
    ge: float | None = None
    le: float | None = None
    min_length: int = 0

    @property
    def required(self) -> bool:
        return self.default is msgspec.NODEFAULT

    @property
    def negation(self) -> str:
        """The flag that says "none of them", where leaving a repeated flag out does not."""
        needed = (
            self.place == "flag" and self.repeated and self.default != () and not self.min_length
        )
        return f"--no-{self.flag[2:]}" if needed else ""

    @property
    def metavar(self) -> str:
        """What stands for the value in help: `ENVIRONMENT`, `N`, `SIZE`."""
        if self.place == "flag" and self.kind == "number":
            return "SECONDS" if self.field.endswith("_s") else "X"
        spelled = _spelled(self.field).upper()
        return spelled if self.place == "positional" else _METAVARS.get(self.kind, spelled)

    @property
    def label(self) -> str:
        """The parameter's name in an error: its flag, or the metavar of a positional."""
        return self.flag or self.metavar


def parameters(spec: ActionSpec) -> tuple[Parameter, ...]:
    """The parameters of an action, in order of definition."""
    return _parameters(spec.name, spec.type)


@functools.cache
def _parameters(name: str, kind: type) -> tuple[Parameter, ...]:
    return tuple(_parameter(field, meta) for field, meta in fields(kind))


def read(parameter: Parameter, text: str) -> Any:  # noqa: ANN401 - the type is the field's own
    """The value that `text` says; one element of it when repeated. Raises InvalidInput."""
    try:
        value = _READERS[parameter.kind](parameter, text)
        _check_bounds(parameter, value)
    except InvalidInput as error:
        raise InvalidInput(f"{parameter.label}: {error.message}", hint=error.hint) from error
    return value


def write(parameter: Parameter, value: Any) -> str:  # noqa: ANN401 - the type is the field's own
    """Text that `read` turns back into `value`. Raises InvalidInput for bytes as a value."""
    if parameter.kind == "size":
        return _write_size(value)
    if parameter.kind in {"json", "value"}:
        return _write_json(parameter, value)
    if parameter.kind == "number":
        return repr(float(value)).removesuffix(".0")
    return str(value)


def check_encoding(word: str) -> None:
    """Raise InvalidInput for bytes that are not UTF-8: they reach us as lone surrogates, which
    nothing behind us can store."""
    try:
        word.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{model.printable(word)} is not UTF-8") from None


def nearest(word: str, names: Iterable[str]) -> str:
    """The name most like a mistyped `word`, or an empty string."""
    import difflib  # noqa: PLC0415 - needed only on the way to an error

    known = list(names)
    begun = [name for name in known if len(word) > 1 and name.startswith(word.lower())]
    return next(iter(begun or difflib.get_close_matches(word, known, 1, 0.6)), "")


def suggestion(word: str, names: Iterable[str], otherwise: str) -> str:
    """A hint: the nearest name, else `otherwise`."""
    found = nearest(word, names)
    return f"did you mean {found}?" if found else otherwise


# --- from the registry ----------------------------------------------------------------------


def _parameter(field: msgspec.structs.FieldInfo, meta: msgspec.Meta) -> Parameter:
    extra = meta.extra or {}
    plain, repeated, inner = _plain_type(field.type)
    unit = extra.get("unit", "")
    kind, choices = _kind(plain, "" if unit == "rest" else unit)
    place: Place = "rest" if unit == "rest" else "positional" if extra.get("positional") else "flag"
    return Parameter(
        field=field.name,
        help=meta.description or "",
        kind=kind,
        place=place,
        flag=(extra.get("flag") or f"--{_spelled(field.name)}") if place == "flag" else "",
        choices=choices,
        repeated=repeated,
        default=field.default,
        ge=inner.ge,
        le=inner.le,
        min_length=meta.min_length or 0,
    )


def _spelled(field: str) -> str:
    """A field's name as people write it: no unit, dashes."""
    for unit in _WRITTEN_UNITS:
        field = field.removesuffix(unit)
    return field.replace("_", "-")


def _plain_type(annotation: Any) -> tuple[Any, bool, msgspec.Meta]:  # noqa: ANN401 - a type
    """The type without Annotated, None and tuple, whether it was a tuple, and the bounds that
    stand inside an optional type."""
    inner, repeated = msgspec.Meta(), False
    while (origin := typing.get_origin(annotation)) in _WRAPPERS:
        if origin is typing.Annotated:
            inner = next(m for m in annotation.__metadata__ if isinstance(m, msgspec.Meta))
        repeated = repeated or origin is tuple
        annotation = next(a for a in typing.get_args(annotation) if a is not types.NoneType)
    return annotation, repeated, inner


def _kind(plain: Any, unit: str) -> tuple[Kind, tuple[str, ...]]:  # noqa: ANN401 - a type expression
    if typing.get_origin(plain) is Literal:
        return "choice", typing.get_args(plain)
    if unit == "level":
        return "level", _LEVELS
    if unit == "priority":
        return "priority", tuple(model.PRIORITY_WORDS)
    if unit:
        return typing.cast("Kind", unit), ()
    kinds: dict[Any, Kind] = {bool: "switch", int: "integer", float: "number", str: "text"}
    return kinds[plain], ()


# --- reading and writing --------------------------------------------------------------------


def _read_text(_: Parameter, text: str) -> str:
    return text


def _read_integer(_: Parameter, text: str) -> int:
    if not _INTEGER.fullmatch(text) or int(text) not in _INT64:
        raise InvalidInput(f"{model.printable(text)} is not a whole number")
    return int(text)


def _read_number(_: Parameter, text: str) -> float:
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise InvalidInput(f"{model.printable(text)} is not a number")
    return float(text)


def _read_switch(_: Parameter, text: str) -> bool:
    if text not in {"true", "false"}:
        raise InvalidInput(f"{model.printable(text)} is neither true nor false")
    return text == "true"


def _read_choice(parameter: Parameter, text: str) -> str:
    if text in parameter.choices:
        return text
    what = parameter.field.removesuffix("s") if parameter.repeated else parameter.field
    known = f"one of {', '.join(parameter.choices)}"
    found = nearest(text, parameter.choices)
    hint = f"did you mean {found}? {known}" if found else known
    raise InvalidInput(f"unknown {what} {model.printable(text)}", hint=hint)


def _read_size(_: Parameter, text: str) -> int:
    if _INTEGER.fullmatch(text):  # exactly, where a float would round
        return int(text)
    try:
        return model.parse_size(text)
    except (OverflowError, ValueError):
        raise InvalidInput(f"{model.printable(text)} is not a size") from None


def _read_level(_: Parameter, text: str) -> str | int:
    level = model.parse_level(text)
    return int(level) if text.isdigit() else level.name.lower()


def _read_priority(_: Parameter, text: str) -> int:
    if not text.isascii() or (text.isdigit() and len(text) > 2):
        raise InvalidInput(f"priority {model.printable(text)} is out of range", hint="1 to 10")
    return model.parse_priority(text)


def _read_path(_: Parameter, text: str) -> str:
    """Absolute: whoever serves the action works in another directory."""
    if not text or "\0" in text:
        raise InvalidInput(f"{model.printable(text)} is not a path")
    try:
        return str(Path(text).expanduser().absolute())
    except (OSError, RuntimeError) as error:  # the working directory is gone; an unknown ~user
        hint = "write the path in full, from / on"
        raise InvalidInput(f"{model.printable(text)} cannot be found: {error}", hint=hint) from None


def _read_json(_: Parameter, text: str) -> Any:  # noqa: ANN401 - any JSON value
    return codec.decode_json(codec.check_json(codec.utf8(text)))


def _read_value(parameter: Parameter, text: str) -> Any:  # noqa: ANN401 - any JSON value
    """JSON, or a string for text that nobody can have meant as JSON."""
    try:
        return _read_json(parameter, text)
    except InvalidInput as error:
        meant_as_json = text.lstrip()[:1] in set('{["-0123456789') or text in {"NaN", "Infinity"}
        if not meant_as_json or not text:
            return text
        hint = error.hint or "a string that looks like JSON needs quotes of its own: '\"…\"'"
        raise InvalidInput(error.message, hint=hint) from error


_READERS: Final[dict[Kind, Any]] = {
    "text": _read_text,
    "integer": _read_integer,
    "number": _read_number,
    "switch": _read_switch,
    "choice": _read_choice,
    "size": _read_size,
    "json": _read_json,
    "value": _read_value,
    "level": _read_level,
    "priority": _read_priority,
    "secret": _read_text,
    "variable": _read_text,
    "path": _read_path,
}


def _check_bounds(parameter: Parameter, value: Any) -> None:  # noqa: ANN401 - the field's own type
    low, high = parameter.ge, parameter.le
    if (low is None or value >= low) and (high is None or value <= high):
        return
    shown = _bound(parameter, value)
    raise InvalidInput(f"{shown} is out of range", hint=bounds(parameter))


def bounds(parameter: Parameter) -> str:
    """The range of a number in words, empty when there is none: `0 to 74`, `at least 16 MB`."""
    low, high = (_bound(parameter, edge) for edge in (parameter.ge, parameter.le))
    if low and high:
        return f"{low} to {high}"
    return f"at least {low}" if low else f"at most {high}" if high else ""


def _bound(parameter: Parameter, value: float | None) -> str:
    if value is None:
        return ""
    return model.format_size(int(value)) if parameter.kind == "size" else f"{value:.15g}"


def _write_size(size_bytes: int) -> str:
    for unit, shift in (("GB", 30), ("MB", 20)):
        if size_bytes and size_bytes % (1 << shift) == 0:
            return f"{size_bytes >> shift}{unit}"
    return str(size_bytes)


def _write_json(parameter: Parameter, value: Any) -> str:  # noqa: ANN401 - any JSON value
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise InvalidInput(f"{parameter.label}: bytes cannot be written on a command line")
    if parameter.kind == "value" and isinstance(value, str) and _is_plain(parameter, value):
        return value
    return codec.encode_json(value).decode()


def _is_plain(parameter: Parameter, text: str) -> bool:
    """Whether the string needs no JSON quotes to be read as itself."""
    try:
        return bool(_read_value(parameter, text) == text)
    except InvalidInput:
        return False

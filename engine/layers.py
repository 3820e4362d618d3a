"""Values from TOML files, the environment and the command line, laid over each other.

Knows how to read, locate, check and merge settings; knows no setting by name. `settings.py`
defines what can be set. Every refusal is a ConfigError that begins with the place of the value
(`config.toml:12`, `REDIS_PORT in the environment`, `command line`), names the setting and says
what was expected.
"""

from __future__ import annotations

import enum
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from typing import Any, Final, TypeVar

import msgspec

from .errors import ConfigError, InvalidInput
from .model import format_size, parse_size, printable

PREFIX: Final = "SWARMDECK_"
COMMAND_LINE: Final = "command line"
_UNITS: Final = {"_s": " of seconds", "_ms": " of milliseconds", "_pages": " of pages"}
_NOUNS: Final[dict[Any, str]] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
}
_MAX_DOTS: Final = 64  # in a line; tomllib takes time quadratic in the parts of a name
_LOOKED_CHARS: Final = 16 << 10  # read again and again for the lines of keys
S = TypeVar("S", bound=msgspec.Struct)


class Secret:
    """A value that no repr, log line or view shows. msgspec cannot encode it either."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself. Never log or store what this returns."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class Field(msgspec.Struct, frozen=True):
    """One setting: its dotted name, the type its value must have, and what describes it.

    `type` as annotated, `plain` without None and description; `size` takes MB and GB as text;
    `variable` is a second name in the environment.
    """

    name: str
    type: Any
    plain: Any
    help: str
    meta: msgspec.Meta
    size: bool
    variable: str

    @property
    def secret(self) -> bool:
        return self.plain is Secret

    @property
    def several(self) -> bool:
        """Whether the value is a list of words."""
        return typing.get_origin(self.plain) is tuple


class Given(msgspec.Struct, frozen=True):
    """A checked value and the place it came from."""

    value: Any
    source: str


def setting(
    text: str,
    *,
    ge: float | None = None,
    le: float | None = None,
    pattern: str | None = None,
    size: bool = False,
    variable: str = "",
) -> msgspec.Meta:
    """Describe a setting: what it does, its bounds, and how it may be written."""
    extra = {"size": size, "variable": variable}
    return msgspec.Meta(description=text, ge=ge, le=le, pattern=pattern, extra=extra)


class Catalogue:
    """Every setting below a root struct, by dotted name, in order of definition."""

    def __init__(self, root: type[msgspec.Struct]) -> None:
        self.fields: dict[str, Field] = {}
        self.sections: dict[str, Any] = {}
        self.variables: dict[str, Field] = {}
        self._add(root, "")
        for field in self.fields.values():
            if field.variable:
                self.variables[field.variable] = field
        # After the short names, so that the form that names its section wins over them.
        for field in self.fields.values():
            self.variables[PREFIX + field.name.upper().replace(".", "__")] = field

    def _add(self, kind: Any, prefix: str) -> None:  # noqa: ANN401 - a struct or its generic alias
        for found in _fields_of(kind):
            name = prefix + found.name
            if _is_section(found.type):
                self.sections[name] = found.type
                self._add(found.type, name + ".")
            else:
                self.fields[name] = _describe(name, found.type)

    def nearest(self, name: str) -> str:
        """A hint that names the setting or section most like `name`: its neighbours first, then
        the same name in another section, then all."""
        import difflib  # noqa: PLC0415 - only ever needed for a refusal

        names = [*self.sections, *self.fields]
        parent, _, last = name.rpartition(".")
        near = {n.rpartition(".")[2]: n for n in names if n.rpartition(".")[0] == parent}
        found = [near[close] for close in difflib.get_close_matches(last, near, n=1)]
        found = found or [known for known in names if known.rpartition(".")[2] == last]
        if not found and parent and near:
            return "one of " + ", ".join(near)
        found = found or difflib.get_close_matches(name, names, n=1)
        return f"did you mean {found[0]}?" if found else "see swarmdeck config show"


@cache
def _fields_of(kind: Any) -> tuple[msgspec.structs.FieldInfo, ...]:  # noqa: ANN401 - a type
    """Found out once: each section is looked at for the catalogue, and again when it is built."""
    return msgspec.structs.fields(kind)


def _is_section(kind: Any) -> bool:  # noqa: ANN401 - a type expression
    origin = typing.get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, msgspec.Struct)


def _describe(name: str, kind: Any) -> Field:  # noqa: ANN401 - a type expression
    plain, meta = _split(kind)
    extra = meta.extra or {}
    return Field(
        name=name,
        type=kind,
        plain=plain,
        help=meta.description or "",
        meta=meta,
        size=bool(extra.get("size")),
        variable=str(extra.get("variable", "")),
    )


def _split(kind: Any) -> tuple[Any, msgspec.Meta]:  # noqa: ANN401 - a type expression
    """The type and the description out of `Annotated[T, meta]` or `Annotated[T, meta] | None`."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next(choice for choice in typing.get_args(kind) if choice is not type(None))
    plain, meta = typing.get_args(kind)
    return plain, meta


def expected(field: Field) -> str:
    """What a value of this setting must be, in words."""
    kind = field.plain
    if field.several:
        return "a list of " + ", ".join(typing.get_args(typing.get_args(kind)[0]))
    if typing.get_origin(kind) is typing.Literal:
        return "one of " + ", ".join(str(choice) for choice in typing.get_args(kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "one of " + ", ".join(str(member.value) for member in kind)
    if field.secret:
        return "text, not empty"
    return _noun(field) + _bounds(field)


def _noun(field: Field) -> str:
    if field.size:
        return "a size such as 512MB or 2GB,"
    unit = next((text for end, text in _UNITS.items() if field.name.endswith(end)), "")
    return _NOUNS[field.plain] + unit


def _bounds(field: Field) -> str:
    meta = field.meta
    if meta.pattern is not None:
        return f" that matches {meta.pattern}"
    if meta.ge is None or meta.le is None:
        return ""
    if field.size:
        return f" from {format_size(int(meta.ge))} to {format_size(int(meta.le))}"
    return f" from {meta.ge:g} to {meta.le:g}"


def checked(field: Field, value: object, source: str, *, as_text: bool = False) -> Given:
    """The value as its setting's type. `as_text` also takes numbers written as text, for places
    that can hold only text. Raises ConfigError; the value of a secret is never in it."""
    try:
        if field.secret:
            return Given(_secret(value), source)
        if field.size and isinstance(value, str):
            value = parse_size(value)
        if as_text and field.several and isinstance(value, str):
            value = value.replace(",", " ").split()
        return Given(msgspec.convert(value, field.type, strict=not as_text), source)
    except (InvalidInput, ValueError, OverflowError) as error:
        got = "" if field.secret else f", not {printable(str(value))}"
        message = f"{source}: {field.name} must be {expected(field)}{got}"
        raise ConfigError(message, hint=field.help) from (None if field.secret else error)


def _secret(value: object) -> Secret:
    if not isinstance(value, str) or not value:
        raise ValueError("not text")
    return Secret(value)


class TomlText:
    """A TOML file as layers see it: its label, its tables and the line of each key."""

    def __init__(self, label: str, text: str) -> None:
        self.label = label
        self.text = text
        for number, line in enumerate(text.split("\n"), 1):
            if line.count(".") > _MAX_DOTS:
                raise self._broken(f"a name of too many parts (at line {number})")
        try:
            self.tables = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # also: too many digits, nested too deep
            raise self._broken(str(error)) from error

    def _broken(self, reason: str) -> ConfigError:
        what, _, where = reason.partition(" (at ")
        found = re.match(r"line (\d+)", where)
        line = int(found[1]) if found else self.text.rstrip().count("\n") + 1
        return ConfigError(
            f"{self.label}:{line}: not valid TOML: {what}",
            hint='a setting is written like: page_size = 4096, or cache_bytes = "16MB"',
        )

    def place(self, path: tuple[str, ...]) -> str:
        """`file:line` of a key, of the section around it when the key itself has no line."""
        while path and path not in self._lines:
            path = path[:-1]
        return f"{self.label}:{self._lines.get(path, 1)}"

    @cached_property
    def _lines(self) -> dict[tuple[str, ...], int]:
        """The line of every key. tomllib tells none, so statements are cut out one by one: lines
        are added until what stands there is TOML, which also gets strings and arrays of several
        lines right. Only for files that are valid as a whole. A value of hundreds of lines ends
        the search; what stands behind it is placed in the section around it."""
        lines: dict[tuple[str, ...], int] = {}
        section: tuple[str, ...] = ()
        statement, start = "", 1
        left = len(self.text) + _LOOKED_CHARS
        for number, line in enumerate(self.text.split("\n"), 1):
            start, statement = (start, f"{statement}\n{line}") if statement else (number, line)
            left -= len(statement)
            if left < 0:
                break
            table = _complete(statement)
            if table is None:
                continue
            header = statement.lstrip().startswith("[")
            paths = list(_paths(table))
            if header and paths:
                section = paths[-1]
            for path in paths:
                lines.setdefault(path if header else section + path, start)
            statement = ""
        return lines


def _complete(statement: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(statement)
    except (ValueError, RecursionError):
        return None


def _paths(table: dict[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in table.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from _paths(value, (*prefix, key))


def from_toml(catalogue: Catalogue, file: TomlText, source: str = "") -> dict[str, Given]:
    """The settings of a file. `source` replaces `file:line` as the place they come from, and
    saves looking for the lines. Raises ConfigError for an unknown key, a value in place of a
    section and a value of the wrong kind."""
    layer: dict[str, Given] = {}
    for path, value in _walk(catalogue, file.tables, ()):
        name, place = ".".join(path), source or file.place(path)
        if name in catalogue.sections:
            message = f"{place}: {name} must be a section, not {printable(str(value))}"
            raise ConfigError(message, hint=f"write [{name}] and its settings below")
        field = catalogue.fields.get(name)
        if field is None or any("." in part for part in path):
            raise _unknown(catalogue, place, name)
        layer[name] = checked(field, value, place)
    return layer


def _walk(
    catalogue: Catalogue, table: dict[str, Any], prefix: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        path = (*prefix, key)
        if isinstance(value, dict) and ".".join(path) in catalogue.sections:
            yield from _walk(catalogue, value, path)
        else:
            yield path, value


def from_environment(catalogue: Catalogue, env: Mapping[str, str]) -> dict[str, Given]:
    """The settings among environment variables: the short names, and SWARMDECK_SECTION__NAME,
    which wins over a short name. An empty variable counts as unset. Names that begin with
    SWARMDECK_ but have no double underscore are not settings. Raises ConfigError."""
    layer: dict[str, Given] = {}
    for variable in env:
        if variable.startswith(PREFIX) and "__" in variable and variable not in catalogue.variables:
            name = variable.removeprefix(PREFIX).lower().replace("__", ".")
            raise _unknown(catalogue, f"{printable(variable)} in the environment", name)
    for variable, field in catalogue.variables.items():
        if text := env.get(variable, ""):
            place = f"{variable} in the environment"
            layer[field.name] = checked(field, text, place, as_text=True)
    return layer


def from_overrides(catalogue: Catalogue, overrides: Mapping[str, Any]) -> dict[str, Given]:
    """The settings of a command line: dotted name to text or value. Raises ConfigError."""
    layer = {}
    for name, value in overrides.items():
        field = catalogue.fields.get(name)
        if field is None:
            raise _unknown(catalogue, COMMAND_LINE, name)
        layer[name] = checked(field, value, COMMAND_LINE, as_text=True)
    return layer


def _unknown(catalogue: Catalogue, place: str, name: str) -> ConfigError:
    message = f"{place}: unknown setting {printable(name)[1:-1]}"
    return ConfigError(message, hint=catalogue.nearest(name))


def build(kind: type[S], given: Mapping[str, Given], prefix: str = "") -> S:
    """The struct of one section, filled from checked values. A setting that is given nowhere
    keeps the default of its struct; one without a default is a hole in the packaged files."""
    values: dict[str, Any] = {}
    for found in _fields_of(kind):
        name = prefix + found.name
        if _is_section(found.type):
            values[found.name] = build(found.type, given, name + ".")
        elif name in given:
            values[found.name] = given[name].value
    return kind(**values)

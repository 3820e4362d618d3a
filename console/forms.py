"""A form made from an action's fields. Pure: texts in, an action or what is wrong with each out.

The screen that shows it is `screens.dialogs.FormScreen`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ..engine.actions import Action, ActionSpec, check
from ..engine.commandline import build
from ..engine.errors import InvalidInput
from ..engine.parameters import Parameter, bounds, parameters, read, write

NONE: Final = ""
"""The text of a field that is left out."""


class Checked(msgspec.Struct, frozen=True):
    """A form read: the action, or None and what is wrong, by field name. What is wrong with the
    whole stands under the empty name."""

    action: Action | None
    errors: Mapping[str, str]


def initial(spec: ActionSpec, given: Mapping[str, str]) -> dict[str, str]:
    """The texts a form begins with: what was typed already, else the defaults."""
    return {p.field: given.get(p.field, default_text(p)) for p in parameters(spec)}


def default_text(parameter: Parameter) -> str:
    """A field's default as it would be typed."""
    default = parameter.default
    if default in (msgspec.NODEFAULT, None, "", ()):
        return NONE
    if parameter.kind == "switch":
        return "true" if default else "false"
    if parameter.repeated:
        return shlex.join(write(parameter, each) for each in default)
    return write(parameter, default)


def choices(parameter: Parameter) -> tuple[str, ...]:
    """The texts a field chooses from; none for one that is typed. A field without a default
    begins as none of them: nothing is chosen for the person, least of all production."""
    if parameter.kind == "switch":
        return ("false", "true")
    if parameter.repeated or not parameter.choices or parameter.kind == "priority":
        return ()  # a priority is a number too
    return parameter.choices if default_text(parameter) else (NONE, *parameter.choices)


def note(parameter: Parameter) -> str:
    """What may be entered, in a few words, for a field that does not show its choices."""
    if parameter.repeated and parameter.choices:
        return "some of " + " ".join(parameter.choices)
    if parameter.kind == "priority":
        return f"1 to 10, {parameter.choices[0]} to {parameter.choices[-1]}"
    words = {
        "size": "such as 512MB or 2GB", "json": "JSON", "value": "JSON or text",
        "secret": "not shown, not kept", "path": "a path",
        "variable": "NAME=VALUE or NAME",
    }  # fmt: skip
    limits = bounds(parameter)
    parts = [limits, "" if limits and parameter.kind == "size" else words.get(parameter.kind, "")]
    if not parameter.required:
        parts.append("optional")
    return ", ".join(part for part in parts if part)


def read_form(spec: ActionSpec, texts: Mapping[str, str]) -> Checked:
    """The action a form describes, or what is wrong with it."""
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for parameter in parameters(spec):
        text = texts.get(parameter.field, NONE)
        try:
            values |= _value(parameter, text)
        except InvalidInput as error:
            errors[parameter.field] = _beside(parameter, error)
    if errors:
        return Checked(None, errors)
    try:
        return Checked(check(build(spec, values)), {})
    except InvalidInput as error:
        return Checked(None, {"": error.message})


def _value(parameter: Parameter, text: str) -> dict[str, Any]:
    """The field and its value; nothing for one that is left out. Raises InvalidInput."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput("it holds half a character, which nothing could store")
    if not text.strip():
        if parameter.required:
            raise InvalidInput("needed")
        if parameter.repeated and parameter.default:
            raise InvalidInput("at least one is needed")
        return {}
    if not parameter.repeated:
        return {parameter.field: read(parameter, text.strip())}
    return {parameter.field: tuple(read(parameter, word) for word in _words(text))}


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InvalidInput("a quote is not closed") from error


def _beside(parameter: Parameter, error: InvalidInput) -> str:
    """An error as it stands beside its field, which names it already."""
    message = error.message.removeprefix(f"{parameter.label}: ")
    return f"{message} ({error.hint})" if error.hint else message

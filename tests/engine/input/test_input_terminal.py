"""No answer of any command acts on the terminal it is shown on, whatever stands in the data."""

from __future__ import annotations

import enum
import types
import typing
import unicodedata
from typing import Any, Final

import msgspec
import pytest

from swarmdeck.engine import views
from swarmdeck.engine.actions import ACTIONS
from swarmdeck.engine.cli.main import report
from swarmdeck.engine.cli.output import Shown, as_json, as_text
from swarmdeck.engine.cli.status import plan_text, status_text
from swarmdeck.engine.errors import InvalidInput

NOW_US: Final = 1_700_000_000_000_000
EVIL: Final = (
    "".join(map(chr, range(32)))
    + "\x7f\x85\x9b2J\x9d52;c;x\x07\u061c\u200b\u200e\u202e\u2028\u2066"
    "\ufeff\u3164\ufe0f\U000e0041[@click=app.exit]\x1b]0;title\x07\x1b[2J"
)


def hostile(kind: Any) -> Any:  # noqa: PLR0911 - a line for each form of type
    """A value of a type, with the worst text wherever there is text."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return hostile(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return hostile(next(k for k in typing.get_args(kind) if k is not types.NoneType))
    if origin is typing.Literal:
        return typing.get_args(kind)[0]
    if origin is dict:
        return {hostile(each): hostile(of) for each, of in [typing.get_args(kind)]}
    if origin in (tuple, list):
        return origin([hostile(typing.get_args(kind)[0])])
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = msgspec.structs.fields(kind)
        return kind(**{each.name: hostile(each.type) for each in fields})
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return next(iter(kind))
    plain: dict[Any, Any] = {str: EVIL, int: 5, float: 1.5, bool: False, bytes: b"x", Any: [EVIL]}
    return plain[kind]


def acting(text: str) -> set[str]:
    """What in a text could act or hide."""
    bad = {each for each in text if unicodedata.category(each) in {"Cc", "Cf", "Zl", "Zp"}}
    return (bad - {"\n"}) | (set(text) & {"\u3164", "\ufe0f", "\U000e0041"})


@pytest.mark.parametrize("width", [None, 40, 200])
@pytest.mark.parametrize("name", ACTIONS)
def test_no_result_acts_on_a_terminal(name: str, width: int | None) -> None:
    result = hostile(ACTIONS[name].result)
    shown = Shown(width, NOW_US)
    if isinstance(result, views.Overview):
        assert not acting(status_text(result, shown) + plan_text(result, shown))
    else:
        assert not acting(as_text(result, shown))
    document = as_json(result)
    assert not acting(document.decode())
    assert document.count(b"\n") == 1
    assert msgspec.json.decode(document) == msgspec.json.decode(msgspec.json.encode(result))


@pytest.mark.parametrize("as_json", [False, True])
def test_no_error_acts_on_a_terminal(capsys: pytest.CaptureFixture[str], *, as_json: bool) -> None:
    report(InvalidInput(f"{EVIL}\udcff", hint=EVIL), as_json=as_json)
    said = capsys.readouterr().err
    assert not acting(said)
    assert said.count("\n") == 1


def test_a_long_value_is_cut_with_its_length() -> None:
    record = hostile(ACTIONS["memory.get"].result)
    text = as_text(msgspec.structs.replace(record, value="x" * 1_000_000), Shown(None, NOW_US))
    assert "… (1,000,002 characters; --json has them all)" in text
    assert len(text) < 10_000

"""Forms: every action's fields as texts, and back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swarmdeck.console import forms
from swarmdeck.engine import actions
from swarmdeck.engine.actions import ACTIONS
from swarmdeck.engine.commandline import parse, render
from swarmdeck.engine.parameters import parameters

SAMPLES = {
    "text": "dev_agent_1", "integer": "3", "number": "1.5", "switch": "true", "size": "64MB",
    "secret": "correct horse", "path": "/tmp/trail.jsonl",
    "variable": "LANGUAGE=en",
    "json": '{"a": 1}', "value": '{"a": 1}', "level": "team", "priority": "high",
}  # fmt: skip


def _sample(parameter: Any) -> str:
    """A text of that kind within the bounds of the field."""
    text = SAMPLES[parameter.kind]
    if parameter.kind in {"number", "size"} and parameter.le is not None:
        return f"{int(parameter.le)}"
    if parameter.kind == "integer" and parameter.ge is not None:
        return f"{max(int(text), int(parameter.ge))}"
    return text


def filled(spec: Any) -> dict[str, str]:
    texts = {}
    for parameter in parameters(spec):
        texts[parameter.field] = parameter.choices[0] if parameter.choices else _sample(parameter)
        if parameter.kind in {"level", "priority"}:
            texts[parameter.field] = SAMPLES[parameter.kind]
    return texts


@pytest.mark.parametrize("name", ACTIONS)
def test_a_form_with_every_field_filled_is_the_action_its_command_line_is(name: str) -> None:
    spec = ACTIONS[name]
    checked = forms.read_form(spec, filled(spec))
    assert not checked.errors
    secrets = {p.field: p.default for p in parameters(spec) if p.kind == "secret"}
    assert parse(render(checked.action)) == msgspec.structs.replace(checked.action, **secrets)


@pytest.mark.parametrize("name", ACTIONS)
def test_a_form_begins_with_defaults_and_asks_only_for_what_has_none(name: str) -> None:
    spec = ACTIONS[name]
    checked = forms.read_form(spec, forms.initial(spec, {}))
    assert set(checked.errors) == {p.field for p in parameters(spec) if p.required}
    assert set(checked.errors.values()) <= {"needed"}


def test_nothing_is_chosen_for_the_person_where_there_is_no_default() -> None:
    environment = parameters(ACTIONS["swarm.create"])[0]
    assert forms.choices(environment)[0] == forms.NONE
    role = next(p for p in parameters(ACTIONS["agent.register"]) if p.field == "role")
    assert forms.choices(role) == ("agent", "monitor", "coordinator", "admin")


def test_what_is_wrong_stands_beside_its_field() -> None:
    spec = ACTIONS["swarm.create"]
    texts = {"environment": "moon", "agents": "900", "memory_bytes": "1 KB", "command": "'open"}
    errors = forms.read_form(spec, texts).errors
    assert set(errors) == set(texts)
    assert "0 to 74" in errors["agents"]
    assert "16 MB" in errors["memory_bytes"]
    assert not any(error.startswith("--") for error in errors.values()), (
        "the field is named already"
    )


def test_several_values_are_written_with_blanks_between() -> None:
    spec = ACTIONS["acl.grant"]
    checked = forms.read_form(spec, {"subject": "dev_agent_1", "actions": "read write"})
    assert isinstance(checked.action, actions.AclGrant)
    assert checked.action.actions == ("read", "write")
    assert forms.read_form(spec, {"subject": "dev_agent_1", "actions": " "}).errors["actions"]


def test_blanks_around_a_value_do_not_count() -> None:
    spec = ACTIONS["swarm.health"]
    assert forms.read_form(spec, {"id": "  dev_swarm_1 "}).action.id == "dev_swarm_1"
    assert forms.read_form(spec, {"id": "  "}).errors == {"id": "needed"}

"""A console that may only look: nothing but queries leaves it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swarmdeck.console.guard import Guard, environments_named
from swarmdeck.console.preferences import Preferences
from swarmdeck.engine import actions
from swarmdeck.engine.actions import ACTIONS, Action, ActionSpec
from swarmdeck.engine.errors import Denied
from swarmdeck.engine.parameters import parameters

_TEXTS = {
    "id": "prod_thing_1", "subject": "prod_agent_1", "agent": "prod_agent_1",
    "team": "prod_team_1",
}  # fmt: skip
_VALUES: dict[str, Any] = {
    "integer": 4, "number": 4.0, "size": 1 << 30, "switch": True, "json": {}, "value": "x",
    "level": "team", "priority": 5,
}  # fmt: skip


def sample(spec: ActionSpec) -> Action:
    """An action of that kind, about production where it is about an environment."""
    values = {}
    for parameter in parameters(spec):
        if parameter.required:
            text = _TEXTS.get(parameter.field, "x")
            one = parameter.choices[0] if parameter.kind == "choice" else text
            one = _VALUES.get(parameter.kind, one)
            values[parameter.field] = (one,) if parameter.repeated else one
    return spec.type(**values)


@pytest.mark.parametrize("name", ACTIONS)
async def test_nothing_but_queries_leaves_a_read_only_console(fakes: Any, name: str) -> None:
    host = fakes.FakeHost(fakes.busy(), attached=True)
    spec = ACTIONS[name]
    wanted = Preferences(read_only=("all",), read_only_source="--read-only")
    async with fakes.console(host=host, preferences=wanted, size=(80, 24)) as deck:
        if spec.query:
            deck.app.request(sample(spec))
        else:
            with pytest.raises(Denied) as refused:
                deck.app.request(sample(spec))
            assert "--read-only" in refused.value.hint
            await deck.type(name.replace(".", " "))
            await deck.until(lambda: any(toast.startswith("Denied") for toast in deck.toasts))
        await deck.pilot.pause()
        assert host.changes() == []


def test_one_environment_can_be_closed() -> None:
    guard = Guard(("production",))
    for action in (
        actions.QueueRetry(id="prod_msg_1"),
        actions.SwarmCreate(environment="production", agents=1, memory_bytes=1 << 30),
        actions.AclGrant(subject="prod_agent_1"),
        actions.AclGrant(subject="dev_agent_1", environment="production"),
        actions.TeamAdd(team="prod_team_1", agent="prod_agent_1"),
    ):
        with pytest.raises(Denied, match="production"):
            guard.check(action)
    for action in (
        actions.QueueRetry(id="dev_msg_1"),
        actions.QueueShow(id="prod_msg_1"),
        actions.Demo(),
        actions.BenchRun(),
    ):
        guard.check(action)


def test_the_environments_of_an_action_are_read_from_its_fields() -> None:
    send = actions.QueueSend(environment="staging", kind="prod_x", body={}, to="dev_agent_1")
    assert environments_named(msgspec.structs.asdict(send)) == {"staging", "development"}
    assert environments_named({"id": "nonsense", "subject": "operator"}) == set()


def test_the_head_says_what_may_not_be_done() -> None:
    assert Guard().banner == ""
    assert Guard(("all", "production")).banner == "READ-ONLY"
    assert Guard(("staging", "production")).banner == "READ-ONLY production staging"


@pytest.mark.parametrize(
    ("run", "hidden"),
    [
        ("swarm create", True),
        ("queue cancel {id}", True),
        ("edit", True),
        ("demo", True),
        ("logs {id}", False),
        ("theme", False),
        ("acl explain", False),
    ],
)
def test_keys_of_refused_actions_are_hidden(run: str, hidden: bool) -> None:
    assert Guard(("all",)).hides(run, "") is hidden
    assert Guard(("production",)).hides(run, "production") is hidden
    assert not Guard(("production",)).hides(run, "development")
    assert not Guard().hides(run, "production")


async def test_a_read_only_console_says_so_and_names_no_key_in_vain(fakes: Any) -> None:
    wanted = Preferences(read_only=("all",))
    async with fakes.console(fakes.busy(), preferences=wanted) as deck:
        await deck.press("4")
        await deck.until(lambda: "digest" in deck.text)
        lines = deck.text.splitlines()
        assert "READ-ONLY" in lines[0]
        assert "retry" not in lines[-1]
        assert "send" not in lines[-1]
        assert "quit" in lines[-1]
        await deck.press("ctrl+x")
        await deck.until(lambda: any("only looks" in toast for toast in deck.toasts))
        await deck.press("D", "n")
        assert deck.host.changes() == []


async def test_with_one_environment_closed_the_others_go_on(fakes: Any) -> None:
    wanted = Preferences(read_only=("production",), read_only_source="config.toml:3")
    async with fakes.console(fakes.busy(), preferences=wanted) as deck:
        await deck.type("queue retry prod_msg_1")
        await deck.until(lambda: any("config.toml:3" in toast for toast in deck.toasts))
        await deck.type("queue retry dev_msg_1")
        await deck.until(deck.host.changes)
        assert deck.host.changes() == [actions.QueueRetry(id="dev_msg_1")]
        await deck.type("queue @prod")
        await deck.until(lambda: "retry" not in deck.text.splitlines()[-1])
        await deck.type("queue @dev")
        await deck.until(lambda: "retry" in deck.text.splitlines()[-1])

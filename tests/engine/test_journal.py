"""What happened since the engine opened, as people are told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import open_core
from swarmdeck.engine.errors import (
    Conflict,
    Defect,
    Denied,
    NotFound,
    OverBudget,
    StorageError,
    SwarmDeckError,
)
from swarmdeck.engine.events import AgentChanged, EngineStopping, Reclaimed, SwarmChanged
from swarmdeck.engine.journal import Journal
from swarmdeck.engine.model import GIB, OPERATOR_PRINCIPAL, Principal, Role

AGENT = Principal("dev_agent_a", Role.AGENT, "development")
CREATE = act.SwarmCreate(environment="testing", agents=1, memory_bytes=GIB)


@pytest.fixture
def journal() -> Journal:
    return Journal(FakeClock())


def told(journal: Journal, **asked: object) -> list[tuple[str, str, str, str, str]]:
    """Environment, kind, subject, severity and text, newest first."""
    wanted = {"environment": None, "contains": "", "limit": 100} | asked
    return [
        (each.environment, each.kind, each.subject, each.severity, each.text)
        for each in journal.list(**wanted)  # type: ignore[arg-type]
    ]


def test_changes_of_agents_and_swarms_are_told_by_how_bad_they_are(journal: Journal) -> None:
    journal.heed(SwarmChanged("dev_swarm_1", "running"))
    journal.heed(AgentChanged("dev_agent_1", "ready", 41))
    journal.heed(AgentChanged("dev_agent_1", "starting", None, "exit code 1; again in 2 s"))
    journal.heed(AgentChanged("dev_agent_1", "failed", None, "exit code 1; gave up"))
    journal.heed(SwarmChanged("dev_swarm_1", "terminated", "terminated"))
    journal.heed(SwarmChanged("dev_swarm_2", "terminated", "its engine has ended"))
    journal.heed(Reclaimed("test_swarm_1", 2 * GIB, "production"))
    journal.heed(EngineStopping("stopped by the operator"))
    assert told(journal) == [
        ("", "engine", "engine", "info", "stopping: stopped by the operator"),
        ("testing", "reclaim", "test_swarm_1", "warning", "2 GB taken back for production"),
        ("development", "swarm", "dev_swarm_2", "warning", "terminated: its engine has ended"),
        ("development", "swarm", "dev_swarm_1", "info", "terminated: terminated"),
        ("development", "agent", "dev_agent_1", "critical", "failed: exit code 1; gave up"),
        ("development", "agent", "dev_agent_1", "warning", "starting: exit code 1; again in 2 s"),
        ("development", "agent", "dev_agent_1", "info", "ready as process 41"),
        ("development", "swarm", "dev_swarm_1", "info", "running"),
    ]


@pytest.mark.parametrize(
    ("error", "severity"),
    [
        (OverBudget("no memory", hint="less"), "warning"),
        (Denied("not yours", hint="less"), "warning"),
        (Conflict("moved on", hint="less"), "warning"),
        (StorageError("disk full", hint="less"), "critical"),
        (Defect("oh", hint="less"), "critical"),
    ],
)
def test_a_refusal_says_who_asked_for_what(
    journal: Journal, error: SwarmDeckError, severity: str
) -> None:
    journal.refused(CREATE, OPERATOR_PRINCIPAL, error)
    text = f"swarm.create by operator: {error.message} (less)"
    assert told(journal) == [("testing", "refusal", "testing", severity, text)]


def test_wrong_input_and_questions_about_what_is_gone_are_no_events(journal: Journal) -> None:
    journal.refused(CREATE, OPERATOR_PRINCIPAL, NotFound("no such thing"))
    journal.refused(act.QueueShow(id="dev_msg_1"), AGENT, Conflict("moved on"))
    assert told(journal) == []
    journal.refused(act.QueueShow(id="dev_msg_1"), AGENT, Denied("not yours"))
    assert told(journal) == [
        ("development", "refusal", "dev_msg_1", "warning",
         "queue.show by dev_agent_a: not yours"),
    ]  # fmt: skip


def test_the_last_refusal_of_an_action_is_found(journal: Journal) -> None:
    journal.refused(CREATE, OPERATOR_PRINCIPAL, OverBudget("first"))
    journal.refused(CREATE, OPERATOR_PRINCIPAL, OverBudget("second"))
    scale = act.SwarmScale(id="test_swarm_1", agents=1, memory_bytes=GIB)
    journal.refused(scale, OPERATOR_PRINCIPAL, OverBudget("third"))
    found = journal.last_refusal("testing", "swarm.create")
    assert found is not None
    assert found.text.endswith("second")
    assert journal.last_refusal("staging", "swarm.create") is None


def test_a_caller_that_insists_pushes_nobody_out(journal: Journal) -> None:
    journal.note("engine", "engine", "opened")
    for _ in range(5000):
        journal.refused(CREATE, AGENT, Denied("only the operator may"))
    events = journal.list(None, "", 10)
    assert [event.kind for event in events] == ["refusal", "engine"]
    assert events[0].sequence == 5001


def test_only_the_last_events_are_kept_newest_first() -> None:
    journal = Journal(FakeClock(), limit=3)
    for number in range(5):
        journal.note("engine", "engine", f"n{number}")
    assert [event.text for event in journal.list(None, "", 10)] == ["n4", "n3", "n2"]
    assert [event.sequence for event in journal.list(None, "", 2)] == [5, 4]


def test_a_list_is_of_one_environment_and_of_a_text_in_any_case(journal: Journal) -> None:
    journal.note("swarm", "dev_swarm_1", "Über", environment="development")
    journal.note("swarm", "test_swarm_1", "other", environment="testing")
    journal.note("engine", "engine", "opened")
    assert [row[4] for row in told(journal, environment="development")] == ["Über"]
    assert [row[4] for row in told(journal, contains="ÜBER")] == ["Über"]
    assert [row[4] for row in told(journal, contains="Swarm")] == ["other", "Über"]
    assert told(journal, contains="nothing like it") == []


# --- in an engine ---------------------------------------------------------------------------


async def test_an_engine_tells_of_its_opening_swarms_and_refusals(tmp_path: Path) -> None:
    async with open_core(
        tmp_path, settings=None, transient=True, headless=True, clock=None
    ) as core:
        swarm = await core.engine.swarms.create("testing", agents=0, memory_bytes=16 << 20)
        with pytest.raises(OverBudget):
            await core.engine.swarms.create("testing", agents=74, memory_bytes=16 << 20)
        agent = await core.engine.agents.register("testing", name="a")
        with pytest.raises(Denied):
            core.dispatch(act.Stop(), core.resolve(agent.id))
        events = await core.engine.run(act.JournalList(limit=10))
        kinds = [(event.kind, event.environment, event.subject) for event in events]
        assert kinds == [
            ("refusal", "", "engine"),
            ("refusal", "testing", "testing"),
            ("swarm", "testing", swarm.id),
            ("swarm", "testing", swarm.id),
            ("engine", "", "engine"),
        ]
        assert events[0].text.startswith(f"stop by {agent.id}: ")
        assert "testing may have 12 agents" in events[1].text
        core.request_stop("enough")
        (last,) = await core.engine.run(act.JournalList(limit=1))
        assert last.text == "stopping: enough"


async def test_a_failure_behind_an_accepted_action_is_told(tmp_path: Path) -> None:
    async with open_core(
        tmp_path, settings=None, transient=True, headless=True, clock=None
    ) as core:
        receipt = core.dispatch(CREATE, OPERATOR_PRINCIPAL)
        receipt.cancel()
        with pytest.raises(Conflict):
            await receipt
        await asyncio.sleep(0)
        events = core.journal.list("testing", "cancelled", 5)
        assert [event.kind for event in events] == ["refusal"]

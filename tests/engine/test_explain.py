"""Why things are as they are, said with commands that can be typed."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import pytest

from swarmdeck.engine import Engine, commandline
from swarmdeck.engine import actions as act
from swarmdeck.engine.acl import Wanted
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import NotFound, OverBudget
from swarmdeck.engine.explain import explain
from swarmdeck.engine.explain.draft import count, loans, span
from swarmdeck.engine.model import GIB, MIB, OPERATOR_PRINCIPAL, AgentState
from swarmdeck.engine.views import ExplanationView, LoanView

FAILING = [sys.executable, "-c", "raise SystemExit('no way')"]
SLEEPING = [sys.executable, "-c", "import time; time.sleep(600)"]


class Asked:
    """An engine, and what it says when it is asked."""

    def __init__(self, core: Core, clock: FakeClock) -> None:
        self.core = core
        self.clock = clock
        self.engine: Engine = core.engine
        self.place = core.places["testing"]
        self.queue = core.engine.queue("testing")

    async def why(self, subject: str, actor: str = "") -> ExplanationView:
        """An explanation, each remedy of which is a command that is understood."""
        principal = self.core.resolve(actor) if actor else OPERATOR_PRINCIPAL
        view = await explain(self.core, principal, subject)
        for line in view.remedies:
            program, *words = shlex.split(line)
            assert program == "swarmdeck"
            act.check(commandline.parse(words))
        blocking = [reason.blocks for reason in view.reasons]
        assert blocking == sorted(blocking, reverse=True)
        return view

    async def agent(self, name: str = "a", **kind: str) -> str:
        return (await self.engine.agents.register("testing", name=name, **kind)).id  # type: ignore[arg-type]

    def connect(self, agent: str) -> None:
        self.place.registry.connected(agent)


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    clock = FakeClock()
    async with open_core(
        tmp_path, settings=None, transient=True, headless=True, clock=clock
    ) as core:
        yield Asked(core, clock)


def rules(view: ExplanationView, *, blocks: bool = True) -> list[str]:
    return [reason.rule for reason in view.reasons if reason.blocks is blocks]


def text(view: ExplanationView, rule: str) -> str:
    (found,) = [reason.text for reason in view.reasons if reason.rule == rule]
    return found


async def until(condition: Callable[[], object], within_s: float = 15) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


# --- messages -------------------------------------------------------------------------------


async def test_a_ready_message_counts_what_is_before_it(asked: Asked) -> None:
    agent = await asked.agent()
    asked.connect(agent)
    await asked.queue.send("digest", priority=9)
    await asked.queue.send("digest", priority=5)
    await asked.queue.send("other", priority=9)
    ident = await asked.queue.send("digest", priority=5)
    await asked.queue.send("digest", priority=5)
    await asked.queue.send("digest", priority=9)
    view = await asked.why(ident)
    assert (view.kind, view.state, view.environment) == ("message", "ready", "testing")
    assert view.verdict == "it waits for its turn"
    assert rules(view) == ["turn"]
    assert text(view, "turn").startswith("3 more urgent or older messages of kind digest")
    assert text(view, "takers").startswith("1 running agent may take it, 1 of them without")


async def test_a_ready_message_of_a_paused_queue(asked: Asked) -> None:
    asked.connect(await asked.agent())
    ident = await asked.queue.send("digest")
    await asked.core.engine.run(act.QueuePause(environment="testing", reason="upgrade"))
    view = await asked.why(ident)
    assert view.verdict == "its queue is paused, and hands nothing out"
    assert text(view, "paused") == "operator paused the queue of testing: upgrade"
    assert view.remedies == ("swarmdeck queue resume testing",)


async def test_a_ready_message_that_nobody_may_take(asked: Asked) -> None:
    ident = await asked.queue.send("digest", expires_s=90)
    view = await asked.why(ident)
    assert view.verdict == "no running agent may take it"
    assert rules(view) == ["nobody"]
    assert text(view, "expires") == "it expires in 2 min"
    assert view.remedies == (
        f"swarmdeck swarm create testing --agents 1 --memory {commandline_size(GIB // 4)}",
        f"swarmdeck queue cancel {ident}",
    )
    await asked.agent()
    view = await asked.why(ident)
    assert rules(view) == ["not-running"]
    assert text(view, "not-running") == "of 1 registered agent of testing none runs or is connected"


def commandline_size(size_bytes: int) -> str:
    words = commandline.render(
        act.SwarmCreate(environment="testing", agents=1, memory_bytes=size_bytes)
    )
    return words[-1]


async def test_a_message_to_a_swarm_asks_for_agents_of_that_swarm(asked: Asked) -> None:
    swarm = await asked.engine.swarms.create("testing", agents=0, memory_bytes=64 * MIB)
    stranger = await asked.agent("stranger")
    asked.connect(stranger)
    ident = await asked.queue.send("digest", to=swarm.id)
    view = await asked.why(ident)
    assert text(view, "nobody") == f"no agent for {swarm.id} may take it"
    assert view.remedies[0].startswith(f"swarmdeck swarm scale {swarm.id} 1 ")
    asked.connect(await asked.agent("member", swarm=swarm.id))
    assert rules(await asked.why(ident)) == []


async def test_a_message_waits_while_every_agent_works_on_another(asked: Asked) -> None:
    agent = await asked.agent()
    asked.connect(agent)
    await asked.queue.send("digest")
    await asked.engine.queue("testing", as_=agent).claim()
    view = await asked.why(await asked.queue.send("digest"))
    assert view.verdict == "it waits until an agent is free"
    assert rules(view) == ["busy"]


async def test_a_delayed_message_is_due_or_tried_again(asked: Asked) -> None:
    later = await asked.why(await asked.queue.send("digest", delay_s=300))
    assert (later.state, later.verdict) == ("delayed", "it is due in 5 min")
    assert text(later, "delayed") == "operator sent it for later: it is due in 5 min"
    ident = await asked.queue.send("digest", priority=9)
    (message,) = await asked.queue.claim()
    await asked.queue.nack(message, error="no such file", delay_s=10)
    again = await asked.why(ident)
    assert again.verdict == "it is tried again in 10 s, because it failed"
    assert text(again, "backoff") == "attempt 1 of 3 failed: no such file"
    assert again.remedies == (
        f"swarmdeck queue edit {ident} --delay 0",
        f"swarmdeck queue cancel {ident}",
    )


async def test_a_leased_message_names_its_holder_and_what_is_left(asked: Asked) -> None:
    agent = await asked.agent()
    ident = await asked.queue.send("digest")
    await asked.engine.queue("testing", as_=agent).claim(lease_s=60)
    asked.clock.advance(15)
    view = await asked.why(ident)
    assert view.verdict == f"{agent} works on it"
    assert text(view, "lease").startswith("attempt 1 of 3; its lease ends in 50 s")
    assert text(view, "holder") == f"{agent} is external"
    asked.place.registry.heartbeat(agent)
    asked.clock.advance(20)
    assert text(await asked.why(ident), "stale") == f"{agent} was last heard of 20 s ago"


async def test_a_dead_message_shows_its_last_error_and_how_to_retry(asked: Asked) -> None:
    ident = await asked.queue.send("digest", max_attempts=1)
    (message,) = await asked.queue.claim()
    await asked.queue.nack(message, error="no such file")
    view = await asked.why(ident)
    assert view.state == "dead"
    assert [text(view, rule) for rule in ("attempts", "error")] == [
        "1 of 1 attempts are used up", "no such file",
    ]  # fmt: skip
    assert view.remedies[0] == f"swarmdeck queue retry {ident}"
    await asked.engine.run(act.QueueRetry(id=ident))
    assert (await asked.why(ident)).state == "ready"


async def test_done_expired_and_cancelled_messages(asked: Asked) -> None:
    agent = await asked.agent()
    done = await asked.queue.send("digest")
    queue = asked.engine.queue("testing", as_=agent)
    await queue.ack((await queue.claim())[0])
    assert (await asked.why(done)).verdict == f"it was done by {agent}"
    expired = await asked.queue.send("digest", expires_s=5)
    cancelled = await asked.queue.send("digest")
    await asked.engine.run(act.QueueCancel(id=cancelled))
    asked.clock.advance(65)
    await asked.place.queue.tick()
    view = await asked.why(expired)
    assert text(view, "expired").endswith("1 min ago")
    assert (await asked.why(cancelled)).verdict == "it was cancelled by hand"
    for ident in (expired, cancelled):
        assert (await asked.why(ident)).remedies == (f"swarmdeck queue retry {ident}",)


# --- swarms and agents ----------------------------------------------------------------------


async def test_a_swarm_tells_what_was_done_for_memory(asked: Asked) -> None:
    swarm = await asked.engine.swarms.create(
        "testing", agents=1, memory_bytes=64 * MIB, command=SLEEPING
    )
    vitals = asked.core.swarms.vitals
    vitals.breaches, vitals.gave_way = {swarm.id: 2}, {swarm.id: "the host is short"}
    view = await asked.why(swarm.id)
    assert text(view, "killed").startswith("2 agents of it killed")
    assert text(view, "gave-way") == "it is stopped until there is room: the host is short"
    assert view.remedies[:2] == (
        "swarmdeck memory plan", f"swarmdeck swarm scale {swarm.id} 1 128MB"
    )  # fmt: skip


async def test_a_swarm_tells_why_agents_are_missing(asked: Asked) -> None:
    swarm = await asked.engine.swarms.create(
        "testing", agents=1, memory_bytes=64 * MIB, command=FAILING
    )
    (agent,) = asked.place.registry.select(swarm=swarm.id)
    await until(lambda: "again in" in asked.place.registry.agent(agent.id).reason)
    view = await asked.why(swarm.id)
    assert view.verdict == "it is critical: 0 of 1 agents run"
    assert rules(view) == ["backoff"]
    assert "no way; again in 1 s" in text(view, "backoff")
    assert f"swarmdeck logs {agent.id}" in view.remedies
    one = await asked.why(agent.id)
    assert one.verdict == "it waits for its next start"
    await asked.place.registry.ended(agent.id, AgentState.FAILED, "exit code 1; gave up")
    view = await asked.why(swarm.id)
    assert text(view, "failed") == f"agent {agent.id} failed: exit code 1; gave up"
    assert any(line.startswith(f"swarmdeck swarm scale {swarm.id} 1") for line in view.remedies)
    assert (await asked.why(agent.id)).verdict == "its process has failed"
    ended = await asked.engine.swarms.terminate(swarm.id, force=True)
    view = await asked.why(swarm.id)
    assert (view.state, view.verdict) == ("terminated", "it has ended")
    assert text(view, "terminated") == ended.reason


async def test_a_swarm_tells_whose_memory_it_holds(asked: Asked) -> None:
    plan = asked.core.ledger.plan
    base = plan.environments["testing"].base_bytes
    swarm = await asked.engine.swarms.create("testing", agents=0, memory_bytes=base + 32 * MIB)
    view = await asked.why(swarm.id)
    assert view.verdict == "it is healthy"
    assert "32 MB of it borrowed: 32 MB from the buffer" in text(view, "borrowed")
    asked.core.swarms.vitals.used_bytes = {}
    small = await asked.engine.swarms.create("staging", agents=0, memory_bytes=16 * MIB)
    assert text(await asked.why(small.id), "memory") == (
        "it holds 16 MB, all of it within the base of staging"
    )


async def test_a_swarm_from_which_memory_was_taken_back_says_so(asked: Asked) -> None:
    plan = asked.core.ledger.plan
    made = {}
    for name in ("testing", "research", "production", "development"):
        room = asked.core.budgets.use(name).available_bytes
        made[name] = await asked.engine.swarms.create(name, agents=0, memory_bytes=room)
    held = asked.core.budgets.use("research").allocated_bytes
    staging = plan.environments["staging"].base_bytes
    waiting = await asked.why("staging")
    (reason,) = [r.text for r in waiting.reasons if r.rule in {"maximum", "free"}]
    assert "above its base" in reason
    borrowers = [r.text for r in waiting.reasons if r.rule == "borrower"]
    assert borrowers[0].startswith(f"{made['research'].id} of research has borrowed ")
    await asked.engine.swarms.create("staging", agents=0, memory_bytes=staging)
    lost = held - asked.core.budgets.use("research").allocated_bytes
    assert lost > 0
    view = await asked.why(made["research"].id)
    assert text(view, "taken-back").endswith("taken back for staging")


async def test_an_agent_tells_its_work_and_what_it_may_not_do(asked: Asked) -> None:
    agent = await asked.agent()
    ident = await asked.queue.send("digest")
    await asked.engine.queue("testing", as_=agent).claim()
    denial = await asked.engine.acl.deny(agent, level="swarm", actions=["write"], key_prefix="x")
    view = await asked.why(agent)
    assert (view.state, view.verdict) == ("external", "it is registered and not connected")
    assert text(view, "holds") == f"it works on {ident}"
    assert text(view, "explicit-deny") == (
        f"it may not write swarm records default/x* of testing, by {denial.id}"
    )
    shut, public = [r.text for r in view.reasons if r.rule == "isolation"]
    assert shut == "it reaches nothing of production, staging"
    assert public == "it reads only what is public of development, research"
    assert view.remedies == (
        f"swarmdeck acl revoke {denial.id}",
        f"swarmdeck acl matrix testing --subjects {agent}",
    )
    asked.connect(agent)
    assert (await asked.why(agent)).verdict == "it is connected"


async def test_a_running_agent(asked: Asked) -> None:
    swarm = await asked.engine.swarms.create(
        "testing", agents=1, memory_bytes=64 * MIB, command=SLEEPING
    )
    (agent,) = asked.place.registry.select(swarm=swarm.id)
    pid = asked.place.registry.agent(agent.id).pid
    assert (await asked.why(agent.id)).verdict == f"it is starting as process {pid}"
    await asked.place.registry.ready(agent.id)
    asked.clock.advance(7)
    view = await asked.why(agent.id)
    assert view.verdict == f"it runs as process {pid}"
    assert text(view, "heartbeat") == "it was last heard of 7 s ago"
    asked.clock.advance(60)
    view = await asked.why(agent.id)
    assert (view.state, rules(view)) == ("stale", ["stale"])


# --- grants ---------------------------------------------------------------------------------


async def test_a_grant_tells_what_outweighs_it(asked: Asked) -> None:
    agent = await asked.agent()
    allow = await asked.engine.acl.grant(
        agent, level="swarm", actions=["read", "write"], key_prefix="a/", expires_s=3600
    )
    view = await asked.why(allow.id)
    assert view.verdict == f"it allows {agent} to read, write swarm records default/a/*"
    assert text(view, "expires") == "it ends in 1 h; operator made it"
    part = await asked.engine.acl.deny(agent, level="swarm", actions=["write"])
    view = await asked.why(allow.id)
    assert rules(view) == []
    assert text(view, "explicit-deny").startswith(f"{part.id} denies to write swarm records")
    assert text(await asked.why(part.id), "outweighs").endswith(f"of {allow.id}")
    whole = await asked.engine.acl.deny(agent, level="swarm", actions=["read", "write"])
    view = await asked.why(allow.id)
    assert view.verdict.endswith("but has no effect")
    assert f"swarmdeck acl revoke {whole.id}" in view.remedies
    other = await asked.engine.acl.deny(agent, level="public", actions=["read", "write"])
    assert "outweighs" not in rules(await asked.why(other.id), blocks=False)
    asked.clock.advance(4000)
    with pytest.raises(NotFound):
        await asked.why(allow.id)


async def test_a_grant_that_no_rule_lets_count_says_so(asked: Asked) -> None:
    agent = await asked.agent()
    far = await asked.engine.acl.grant(agent, environment="production", level="swarm")
    assert text(await asked.why(far.id), "isolation") == "testing reaches nothing of production"
    near = await asked.engine.acl.grant(
        agent, environment="research", level="team", actions=["write"]
    )
    assert "only reads in research" in text(await asked.why(near.id), "isolation")
    both = await asked.engine.acl.grant(
        agent, environment="research", level="team", actions=["read", "write"]
    )
    assert rules(await asked.why(both.id)) == []
    owner = await asked.agent("owner")
    opened = await asked.place.access.add(
        asked.core.resolve(owner),
        Wanted(subject=agent, effect="allow", level="private", rights=("read",)),
    )
    view = await asked.why(opened.id)
    assert text(view, "default") == f"of private records only those of {owner} are opened"
    await asked.engine.agents.unregister(agent)
    assert rules(await asked.why(opened.id)) == ["subject"]


# --- environments, engine, host -------------------------------------------------------------


async def test_a_schedule_tells_when_it_sends_and_why_not(asked: Asked) -> None:
    made = await asked.engine.schedules.create(
        "testing", name="sweep", kind="sweep", body={}, every_s=60
    )
    view = await asked.why(made.id)
    assert (view.kind, view.state) == ("schedule", "active")
    assert view.verdict.startswith("its next message is sent in")
    assert "it sends sweep every 60 s" in view.reasons[0].text
    await asked.engine.schedules.pause(made.id)
    view = await asked.why(made.id)
    assert (view.verdict, view.reasons[0].rule) == ("it is paused", "paused")
    assert view.remedies[0] == f"swarmdeck schedule resume {made.id}"
    stranger = await asked.agent("other")
    with pytest.raises(NotFound):
        await asked.why(made.id, stranger)


async def test_an_environment_tells_what_one_more_swarm_could_get(asked: Asked) -> None:
    swarm = await asked.engine.swarms.create("testing", agents=0, memory_bytes=64 * MIB)
    view = await asked.why("testing")
    assert view.verdict.startswith("one more swarm could have up to ")
    assert view.verdict.endswith(" and 12 agents")
    assert rules(view) == []
    assert text(view, "holder") == f"{swarm.id} holds 64 MB"
    assert "allocated 64 MB; used 0 B" in text(view, "plan")


async def test_an_environment_that_is_full_says_who_holds_it_and_what_was_refused(
    asked: Asked,
) -> None:
    most = asked.core.ledger.plan.environments["testing"].max_bytes
    swarm = await asked.engine.swarms.create("testing", agents=0, memory_bytes=most)
    with pytest.raises(OverBudget):
        await asked.engine.swarms.create("testing", agents=0, memory_bytes=GIB)
    asked.clock.advance(120)
    view = await asked.why("testing")
    assert view.verdict == "no more memory can be granted in it"
    assert rules(view) == ["maximum"]
    assert text(view, "refused").startswith("2 min ago: swarm.create by operator: testing may hold")
    assert text(view, "holder").startswith(f"{swarm.id} holds ")
    assert any(line.startswith("swarmdeck memory admit testing --base") for line in view.remedies)


async def test_an_environment_without_agents_left_says_so(asked: Asked) -> None:
    for number in range(12):
        asked.connect(await asked.agent(f"a{number}"))
    view = await asked.why("testing")
    assert rules(view) == ["agents"]
    assert view.verdict.endswith(" and no agent")


async def test_an_environment_shows_its_alerts(asked: Asked) -> None:
    await asked.queue.send("digest", max_attempts=1)
    (message,) = await asked.queue.claim()
    await asked.queue.nack(message)
    assert text(await asked.why("testing"), "alert").startswith("dead-letters: testing: 1 ")


async def test_engine_and_host_are_what_their_alerts_say(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await asked.why("host")).kind == "host"
    assert (await asked.why("engine")).verdict == "all is well"
    monkeypatch.setattr("swarmdeck.engine.alerts.rules.WAL_BYTES", 0)
    await asked.core.watch.tick()
    await asked.core.watch.tick()
    view = await asked.why("engine")
    assert (view.verdict, rules(view)) == ("it has 1 alert", ["wal"])


# --- who may ask ----------------------------------------------------------------------------


async def test_an_agent_is_told_only_of_its_own(asked: Asked) -> None:
    swarm = await asked.engine.swarms.create("testing", agents=0, memory_bytes=16 * MIB)
    mine, other = await asked.agent("mine", swarm=swarm.id), await asked.agent("other")
    message = await asked.engine.queue("testing", as_=mine).send("digest", to=swarm.id)
    grant = (await asked.engine.acl.grant(mine)).id
    for subject in (message, swarm.id, mine, grant):
        assert (await asked.why(subject, mine)).subject == subject
        with pytest.raises(NotFound) as caught:
            await asked.why(subject, other)
        assert caught.value.message == f"nothing to explain is called '{subject}'"
    for subject in ("testing", "engine", "host"):
        with pytest.raises(NotFound):
            await asked.why(subject, mine)


@pytest.mark.parametrize(
    "subject",
    ["", "nonsense", "dev_msg_7", "test_msg_7", "test_msg_x", "test_swarm_x", "test_agent_x",
     "test_grant_x", "test_team_x", "test", "prod_", "testing_swarm"],
)  # fmt: skip
async def test_what_is_unknown_is_not_found_with_a_hint(asked: Asked, subject: str) -> None:
    with pytest.raises(NotFound) as caught:
        await asked.why(subject)
    kinds = "message, schedule, task, event, artifact, proposal, conflict, swarm, agent or grant"
    assert caught.value.hint == f"a {kinds} id, or an environment"


# --- words ----------------------------------------------------------------------------------


def test_a_span_of_minutes_changes_once_a_minute() -> None:
    said = [span(s) for s in range(600, 60, -1)]
    assert sum(a != b for a, b in pairwise(said)) == 9


def test_words() -> None:
    assert [span(s) for s in (0, 4.4, 44, 59, 90, 280, 7300, 9000, 86_400 * 3)] == [
        "0 s", "4 s", "40 s", "1 min", "2 min", "5 min", "2 h", "2.5 h", "3 d",
    ]  # fmt: skip
    assert [count(n, "agent") for n in (0, 1, 1200)] == ["no agent", "1 agent", "1,200 agents"]
    lent = (LoanView(lender="buffer", bytes=GIB), LoanView(lender="staging", bytes=MIB))
    assert loans(lent) == "1 GB from the buffer and 1 MB from staging"

"""Names, values, errors and output from outside never reach the terminal as they are."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swarmdeck.console.places import Place
from swarmdeck.console.screens.dialogs import ConfirmScreen, FormScreen, TokenScreen
from swarmdeck.engine import actions, views
from swarmdeck.engine.errors import InvalidInput
from swarmdeck.engine.events import AgentChanged, Sampled

IDENT = "dev_agent_00000001"


def poisoned(fakes: Any) -> views.Overview:
    """The busy overview with every free text replaced by something hostile."""
    bad = fakes.HOSTILE
    seen = fakes.busy()
    swarms = tuple(
        msgspec.structs.replace(
            swarm,
            name=bad,
            reason=bad,
            command=(bad, bad),
            lenders=(views.LoanView(lender=bad, bytes=1),),
        )
        for swarm in seen.swarms
    )
    agents = tuple(
        msgspec.structs.replace(agent, name=bad, type=bad, reason=bad, capabilities=(bad,))
        for agent in seen.agents
    )
    benchmarks = tuple(msgspec.structs.replace(b, name=bad) for b in seen.benchmarks)
    glass = fakes.samples.breaking(key_prefix=bad, namespace=bad, granted_by=bad, reason=bad)
    places = tuple(
        msgspec.structs.replace(each, state="quarantined", reason=bad)
        if each.name == "research"
        else each
        for each in seen.environments
    )
    return msgspec.structs.replace(
        seen,
        swarms=swarms,
        agents=agents,
        benchmarks=benchmarks,
        environments=places,
        breaking=(glass,),
        clock=bad,
        vault=views.VaultGlance(state="sealed", source=bad, reason=bad),
    )


def _poisoned_vault(fakes: Any) -> views.VaultView:
    bad = fakes.HOSTILE
    vault = fakes.samples.vault()
    rings = tuple(
        msgspec.structs.replace(ring, environment=bad, state=bad, reason=bad)
        for ring in vault.environments
    )
    return msgspec.structs.replace(
        vault, state=bad, source=bad, place=bad, reason=bad, environments=rings
    )


def _poisoned_schedule(fakes: Any) -> views.ScheduleView:
    bad = fakes.HOSTILE
    found: views.ScheduleView = fakes.samples.schedule(
        1, id=bad, environment=bad, name=bad, state=bad, kind=bad, to=bad, cron=bad, zone=bad,
        reason=bad, created_by=bad, last_message=bad, body={bad: bad},
    )  # fmt: skip
    return found


def hostile_host(fakes: Any) -> Any:
    bad = fakes.HOSTILE
    host = fakes.FakeHost(poisoned(fakes))
    messages = [
        fakes.message(n, "dead", kind=bad, error=bad, sender=bad, to=bad, body={bad: [bad]})
        for n in range(3)
    ]
    host.answers |= {
        actions.QueueList: lambda _: messages,
        actions.QueueDead: lambda _: messages,
        actions.QueueShow: lambda _: messages[0],
        actions.MemoryList: lambda _: [fakes.record(1, key=bad, namespace=bad, owner=bad)],
        actions.MemoryGet: lambda _: fakes.record(
            1, key=bad, value={bad: bad, "n": [bad, 1, None]}
        ),
        actions.AclList: lambda _: [fakes.grant(1, subject=bad, key_prefix=bad, granted_by=bad)],
        actions.AuditList: lambda _: [fakes.audit(1, actor=bad, object=bad, detail=bad)],
        actions.EventList: lambda _: [
            fakes.samples.event(
                n, type=bad, source=bad, target=bad, tags=(bad,), holder=bad, error=bad, level=bad
            )
            for n in range(3)
        ],
        actions.EventShow: lambda _: fakes.samples.event(1, type=bad, payload={bad: bad}),
        actions.MetricSeries: lambda _: [
            fakes.samples.measure(1, name=bad, unit=bad, labels={bad: bad}, source=bad, kind=bad)
        ],
        actions.MetricQuery: lambda a: msgspec.structs.replace(
            fakes.samples.recorded(a), name=bad, unit=bad, kind=bad
        ),
        actions.AlertList: lambda _: [
            fakes.samples.alert(1, rule=bad, subject=bad, detail=bad, hint=bad, environment=bad)
        ],
        actions.JournalList: lambda _: [
            fakes.samples.happening(1, kind=bad, subject=bad, text=bad)
        ],
        actions.Explain: lambda _: views.ExplanationView(
            subject=bad,
            kind=bad,
            environment=bad,
            state=bad,
            verdict=bad,
            reasons=(views.ReasonView(rule=bad, text=bad),),
            remedies=(bad,),
        ),
        actions.AclMatrix: lambda _: views.MatrixView(
            environment="development",
            subjects=(views.SubjectView(id=bad, name=bad, swarm=bad, teams=(bad,), role=bad),),
            rows=(
                views.MatrixRow(
                    key=bad,
                    namespace=bad,
                    level=bad,
                    owner=bad,
                    team=bad,
                    cells=(views.CellView(rights=bad, rule=bad),),
                ),
            ),
        ),
        actions.AclWho: lambda _: [
            views.DecisionView(
                allowed=False,
                rule=bad,
                detail=bad,
                subject=bad,
                action=bad,
                environment=bad,
                namespace=bad,
                key=bad,
                level=bad,
                owner=bad,
            )
        ],
        actions.BenchShow: lambda _: [
            msgspec.structs.replace(
                fakes.samples.measured(fakes.busy().benchmarks[0], 0),
                name=bad,
                workload=bad,
                baseline=bad,
                verdict=bad,
                machine=bad,
                commit=bad,
            )
        ],
        actions.MemoryAdmit: lambda a: msgspec.structs.replace(
            fakes.samples.admission(a),
            accepted=False,
            reason=bad,
            hint=bad,
            holders=(
                views.HolderView(
                    swarm=bad,
                    environment=bad,
                    bytes=1,
                    borrowed_bytes=1,
                    lenders=(views.LoanView(lender=bad, bytes=1),),
                ),
            ),
        ),
        actions.ScheduleList: lambda _: [_poisoned_schedule(fakes)],
        actions.ScheduleShow: lambda _: _poisoned_schedule(fakes),
        actions.QueueHistory: lambda _: [
            views.HistoryView(
                environment=bad, sequence=1, at_us=1, actor=bad, action=bad, detail=bad
            )
        ],
        actions.VaultStatus: lambda _: _poisoned_vault(fakes),
        actions.BackupList: lambda _: [fakes.samples.backup(1, name=bad, status=bad, detail=bad)],
        actions.DatabaseStats: lambda _: [
            fakes.samples.database(1, environment=bad, path=bad, tables=(bad,))
        ],
        actions.DatabaseSlow: lambda _: [
            fakes.samples.statement(1, environment=bad, statement=bad, plan=f"{bad}\n{bad}")
        ],
        actions.AuditVerify: lambda _: [
            fakes.samples.chain(1, environment=bad, status=bad, detail=bad, hint=bad)
        ],
        actions.AgentToken: lambda _: views.TokenView(agent=bad, token=bad, expires_at_us=1),
        actions.Logs: lambda _: [bad, "\x1b]0;title\x07", "a\nb\rc"],
    }
    return host


PLACES = [
    *(Place(name) for name in ("swarms", "agents", "queue", "memory", "access", "bench", "audit")),
    *(
        Place(name)
        for name in ("schedules", "log", "alerts", "health", "tree", "vault", "backups", "db")
    ),
    *(Place(name) for name in ("events", "measures")),
    Place("event", "dev_event_1"),
    Place("schedule", "dev_schedule_1"),
    Place("records", "research"),
    Place("explain", "dev_msg_00000001"),
    Place("as", IDENT),
    Place("swarm", "dev_swarm_7m2pz0tb"),
    Place("agent", IDENT),
    Place("records", "development"),
    Place("message", "dev_msg_00000001"),
    Place("logs", IDENT),
    Place("answer", action=actions.SwarmHealth(id="dev_swarm_7m2pz0tb")),
    Place("answer", action=actions.QueueDead()),
]


def painted(deck: Any) -> str:
    """Everything the terminal would be sent, toasts and dialogs included."""
    return "".join(
        segment.text
        for screen in deck.app.screen_stack
        for strip in screen._compositor.render_strips()
        for segment in strip
    )


def assert_harmless(deck: Any) -> None:
    text = painted(deck)
    forbidden = {c for c in text if (ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or c == "\u202e")}
    assert not forbidden
    assert deck.app.is_running


@pytest.mark.parametrize("place", PLACES, ids=lambda p: f"{p.name} {p.subject}".strip())
async def test_no_screen_passes_an_escape_or_runs_markup(fakes: Any, place: Place) -> None:
    async with fakes.console(host=hostile_host(fakes), size=(200, 60)) as deck:
        deck.app.visit(place)
        await deck.pilot.pause()
        await deck.until(lambda: "reading" not in deck.text)
        assert_harmless(deck)
        await deck.press("d")
        assert_harmless(deck)


async def test_who_may_and_a_running_benchmark_are_harmless(fakes: Any) -> None:
    async with fakes.console(host=hostile_host(fakes), size=(200, 60)) as deck:
        deck.app.visit(Place("who", row=fakes.record(1, key=fakes.HOSTILE)))
        await deck.until(lambda: "denied" in deck.text)
        assert_harmless(deck)
        deck.app.visit(Place("bench"))
        await deck.until(lambda: "Latencies" in deck.text)
        deck.app._on_event(Sampled("op", fakes.HOSTILE, 0.1, 1.0, 1.0, 1.0))
        await deck.until(lambda: "Live" in deck.text)
        assert_harmless(deck)


async def test_a_hostile_remedy_runs_no_markup_and_says_why_it_cannot_be_run(fakes: Any) -> None:
    async with fakes.console(host=hostile_host(fakes), size=(200, 60)) as deck:
        deck.app.visit(Place("explain", "dev_msg_00000001"))
        await deck.until(lambda: "[@click=app.exit]x[/]" in deck.text)
        await deck.press("enter")
        await deck.until(lambda: deck.toasts)
        assert_harmless(deck)


async def test_a_hostile_plan_is_harmless(fakes: Any) -> None:
    async with fakes.console(host=hostile_host(fakes)) as deck:
        await deck.type("memory budget development --base 1GB --max 1GB")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        assert "It does not fit" in deck.text
        assert_harmless(deck)


async def test_a_hostile_token_and_chain_are_harmless(fakes: Any) -> None:
    async with fakes.console(host=hostile_host(fakes)) as deck:
        await deck.type("audit verify")
        await deck.until(lambda: deck.app.deck.crumb == "audit verify")
        assert_harmless(deck)
        deck.app.push_screen(
            TokenScreen(deck.host.answers[actions.AgentToken](actions.AgentToken(id="x")))
        )
        await deck.until(lambda: "Shown this once" in deck.text)
        assert_harmless(deck)


async def test_the_overview_and_its_events_are_harmless(fakes: Any) -> None:
    async with fakes.console(host=hostile_host(fakes), size=(200, 60)) as deck:
        deck.app._on_event(AgentChanged(IDENT, "failed", None, fakes.HOSTILE))
        await deck.until(lambda: "failed" in deck.text)
        assert "[@click=app.exit]x[/]" in deck.text, "shown as the text it is"
        assert_harmless(deck)
        await deck.pilot.click("#events", offset=(20, 1))
        await deck.pilot.click("#agents", offset=(4, 1))
        assert deck.app.is_running


async def test_toasts_are_harmless(fakes: Any) -> None:
    async with fakes.console(fakes.busy(), notifications=True) as deck:
        deck.app.say_error(InvalidInput(fakes.HOSTILE, hint=fakes.HOSTILE))
        deck.app.say(fakes.HOSTILE, fakes.HOSTILE)
        await deck.until(lambda: "red]end" in painted(deck).replace(" ", ""))
        assert_harmless(deck)


async def test_dialogs_are_harmless(fakes: Any) -> None:
    async with fakes.console(host=hostile_host(fakes)) as deck:
        await deck.press("ctrl+x")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        assert_harmless(deck)
        await deck.press("escape", "q")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        assert_harmless(deck)
        await deck.press("escape")
        deck.app.ask(["form", "agent", "update", IDENT, "--name", fakes.HOSTILE])
        await deck.until(lambda: isinstance(deck.app.screen, FormScreen))
        assert_harmless(deck)


async def test_a_hostile_name_can_be_pasted_and_still_is_only_text(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("colon")
        deck.app.focused.insert(fakes.HOSTILE)
        await deck.pilot.pause()
        assert_harmless(deck)
        await deck.press("enter")
        assert_harmless(deck)

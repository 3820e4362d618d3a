"""The screens as pictures, at three sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pytest

from swarmdeck.console.deck import SwarmDeck
from swarmdeck.console.preferences import Preferences
from swarmdeck.console.screens.listing import WIDE_CELLS
from swarmdeck.engine import actions
from swarmdeck.engine.actions import Action
from swarmdeck.engine.errors import Sealed, SwarmDeckError, Unavailable
from swarmdeck.engine.events import Sampled

SIZES: Final = ((80, 24), (120, 30), (200, 60))


async def filled(deck: Any, state: str) -> None:
    """Wait for those tiles of the overview that have answers of their own."""
    lanes = "" if state == "empty" else " 10  ▓"
    alerts = ("nothing fires", "dead-letters", "cannot be read")
    if deck.app.size.width >= 110:
        await deck.until(lambda: any(words in deck.text for words in alerts))
    if deck.app.size.height >= 45:
        await deck.until(lambda: lanes in deck.text)


@pytest.fixture
def look(snapshot: Any, fakes: Any) -> Any:
    async def look(
        name: str,
        state: str,
        *keys: str,
        awaits: str = "",
        failures: Mapping[type[Action], SwarmDeckError] | None = None,
        after: Callable[[SwarmDeck], None] | None = None,
        preferences: Preferences | None = None,
        sizes: Sequence[tuple[int, int]] = SIZES,
    ) -> None:
        """Open the console over sample data, press the keys, wait for a text, compare. A key
        `wait:text` waits for that text; `after` is called with the app when all is pressed."""

        def host() -> Any:
            made = fakes.FakeHost(getattr(fakes, state)())
            made.failures |= failures or {}
            return made

        make: Callable[[], SwarmDeck] = lambda: SwarmDeck(  # noqa: E731 - typed
            lambda _on_event: host(), "~/swarmdeck", preferences
        )

        async def ready(pilot: Any) -> None:
            deck = fakes.Deck(pilot.app, None, pilot)
            await deck.until(lambda: pilot.app.last.overview is not None)
            pilot.app.bridge._monotonic_s = lambda: 0.0  # however long the picture takes,
            pilot.app.bridge._pulled_s = 0.0  # its data is as old
            await filled(deck, state)
            for key in keys:
                if len(key) > 1 and key.startswith(":"):
                    await deck.type(key[1:])
                elif key.startswith("wait:"):
                    await deck.until(lambda key=key: key.removeprefix("wait:") in deck.text)
                else:
                    await deck.press(fakes.KEYS.get(key, key))
            if after is not None:
                after(pilot.app)
            await deck.until(lambda: awaits in deck.text and "reading …" not in deck.text)
            if pilot.app.size.width >= WIDE_CELLS:
                await pilot.pause(0.3)  # the row in full follows a tenth of a second later

        await snapshot(make, f"console/{name}", before=ready, sizes=sizes)

    return look


@pytest.mark.parametrize("state", ["busy", "empty", "failing"])
async def test_overview(look: Any, state: str) -> None:
    await look(f"overview-{state}", state)


async def test_help(look: Any) -> None:
    await look("help", "busy", "question_mark", awaits="To the next part")


async def test_form(look: Any) -> None:
    await look("form", "busy", "c", "d", "tab", "9", "9", awaits="still open")


async def test_confirm(look: Any) -> None:
    await look("confirm", "busy", "j", "ctrl+x", awaits="y yes")


async def test_confirm_in_production(look: Any) -> None:
    await look("confirm-production", "busy", "ctrl+x", awaits="This is production")


SCREENS = {
    "memory": ("5", "Budgets", "Budgets"),
    "swarms": ("2", "running", "No swarm runs yet"),
    "agents": ("3", "beating", "No agents"),
    "queue": ("4", "due in < 50 s", "No message is in this state"),
    "schedules": (":schedules", "morning report", "Nothing is sent again"),
    "artifacts": (":artifacts", "src/parser.py", "No artifact is kept here"),
    "consensus": (":consensus", "67% of 90%", "Nothing is put to the vote"),
    "conflicts": (":conflicts", "✗ escalated", "Nothing stands between anybody"),
    "tasks": (":tasks", "write the guide", "Nothing is to be done"),
    "events": (":events", "again in", "Nothing is said to have happened"),
    "access": ("6", "✓ may", "No record is in"),
    "bench": ("7", "Latencies · memory set", "Nothing measured yet"),
    "audit": ("8", "memory.get", "Nothing was changed yet"),
    "log": ("9", "said so", "Nothing has happened"),
    "alerts": ("0", "failed for good", "All is well"),
    "vault": ("V", "● active", "none yet"),
    "backups": (":backups", "verified", "No backup was made yet"),
    "db": (":db", "USE TEMP B-TREE", "No statement took longer"),
    "health": ("I", "✗ failed", "Nothing is probed"),
    "metrics": (":metrics", "memory available", "Nothing was measured yet"),
    "measures": (":measures", "p50", "Nobody has recorded a metric"),
    "tree": ("T", "payments", "No swarm runs yet"),
}
"""By name: the key that leads there, what a busy one shows, what an empty one says."""


@pytest.mark.parametrize("name", SCREENS)
async def test_busy(look: Any, name: str) -> None:
    key, shown, _ = SCREENS[name]
    await look(f"{name}-busy", "busy", key, awaits=shown)


@pytest.mark.parametrize("name", SCREENS)
async def test_empty(look: Any, name: str) -> None:
    key, _, said = SCREENS[name]
    await look(f"{name}-empty", "empty", key, awaits=said)


FAILING = {
    "queue": actions.QueueList, "schedules": actions.ScheduleList,
    "access": actions.AclMatrix, "bench": actions.BenchShow,
    "audit": actions.AuditList, "log": actions.JournalList, "alerts": actions.AlertList,
    "metrics": actions.MetricsList, "health": actions.HealthList,
}  # fmt: skip
"""Screens with a query of their own, which can fail."""


@pytest.mark.parametrize("name", FAILING)
async def test_failing(look: Any, name: str) -> None:
    key = SCREENS[name][0]
    failures = {FAILING[name]: Unavailable("the disk does not answer", hint="look at the host")}
    await look(f"{name}-failing", "busy", key, awaits="✗ the disk", failures=failures)


async def test_charts(look: Any) -> None:
    await look("charts", "busy", ":charts development", "right", "right", awaits="last 24h · steps")


@pytest.mark.parametrize("name", ["memory", "swarms", "agents", "tree"])
async def test_degraded(look: Any, name: str) -> None:
    await look(f"{name}-degraded", "failing", SCREENS[name][0], awaits=SCREENS[name][1])


@pytest.mark.parametrize("name", ["overview", "memory", "vault", "tree"])
async def test_sealed(look: Any, name: str) -> None:
    await look(f"{name}-sealed", "sealed", f":{name}", awaits="■ SEALED")


async def test_records_of_a_sealed_vault(look: Any) -> None:
    refused = {actions.MemoryList: Sealed("the vault is sealed", hint="unseal it")}
    line = ":records development"
    await look("records-sealed", "sealed", line, awaits="unseals it", failures=refused)


@pytest.mark.parametrize("name", ["overview", "memory", "access"])
async def test_emergency(look: Any, name: str) -> None:
    await look(f"{name}-emergency", "emergency", f":{name}", awaits="BREAK-GLASS")


async def test_unseal(look: Any) -> None:
    await look("unseal", "sealed", "u", "wait:passphrase", *"secret", awaits="••••••")


@pytest.mark.parametrize(
    ("name", "line", "says"),
    [
        ("confirm-shred", ":vault shred production", "can never be read again"),
        ("confirm-restore", ":backup restore development development-20261119-020000", "Lost"),
        ("confirm-seal", ":vault seal", "No record of any"),
        ("confirm-clock", ":clock confirm", "(date)"),
        ("form-grant", ":form acl grant dev_agent_00000001", "zone"),
        ("verify", ":audit verify", "✗ failed"),
    ],
)
async def test_protection(look: Any, name: str, line: str, says: str) -> None:
    await look(name, "busy", line, awaits=says)


async def test_break_glass(look: Any) -> None:
    keys = (":records development", "wait:module_1", "B", "wait:why, for", *"outage", "enter")
    await look("confirm-break-glass", "busy", *keys, awaits="owner is told")


async def test_redrive(look: Any) -> None:
    line = ":queue redrive development"
    await look("confirm-redrive", "busy", line, awaits="ready at once")


async def test_token(look: Any) -> None:
    keys = (":agent token dev_agent_00000001", "wait:y yes", "y")
    await look("token", "busy", *keys, awaits="Shown this once")


async def test_audit_narrowed(look: Any) -> None:
    await look("audit-refused", "busy", "8", "r", "r", "f", awaits="risk high and above · refused")


async def test_swarm(look: Any) -> None:
    await look("swarm", "busy", "j", "enter", awaits="Agents of the swarm")


async def test_agent(look: Any) -> None:
    await look("agent", "busy", "j", "enter", "j", "enter", awaits="< 30 s left")


async def test_message(look: Any) -> None:
    await look("message", "busy", "4", "enter", awaits='"path"')


async def test_records(look: Any) -> None:
    await look("records", "busy", "5", "j", "enter", awaits="digest:lib/module_1.py")


async def test_explanation(look: Any) -> None:
    await look("explanation", "busy", "4", "j", "x", awaits="It waits")


async def test_who_may(look: Any) -> None:
    await look("who", "busy", "6", "wait:✓ may", "j", "enter", awaits="nothing allows it")


async def test_grants(look: Any) -> None:
    await look("grants", "busy", "6", "tab", awaits="✓ allow")


async def test_view_as(look: Any) -> None:
    await look("view-as", "busy", "3", "j", "A", "wait:AS worker 1", awaits="▐rwd")


async def test_budget(look: Any) -> None:
    line = "memory budget development --base 12GB --max 14GB"
    await look("budget", "busy", "colon", *line, "enter", awaits="buffer of the host")


async def test_budget_that_does_not_fit(look: Any) -> None:
    line = "memory budget development --base 20GB --max 20GB"
    await look("budget-refused", "busy", "colon", *line, "enter", awaits="It does not fit")


async def test_bench_while_it_runs(look: Any) -> None:
    def sample(app: SwarmDeck) -> None:
        for at in range(90):
            rate = 41_000.0 + 2_500 * math.sin(at / 7) + 900 * (at % 3)
            app._on_event(Sampled("op1", "memory set", at / 10, rate, 1_810.0, 3_400.0))

    await look("bench-live", "busy", "7", awaits="Live · memory set", after=sample)


async def test_command_bar(look: Any) -> None:
    await look("command", "busy", "colon", *"swarm cr", awaits="create")


async def test_palette(look: Any) -> None:
    await look("palette", "busy", "ctrl+p", *"queue", awaits="queue send")


@pytest.mark.parametrize(("name", "keys"), [("overview", ""), ("queue", "4")])
async def test_read_only(look: Any, name: str, keys: str) -> None:
    looking = Preferences(read_only=("all",), read_only_source="--read-only")
    await look(
        f"{name}-read-only", "busy", *keys, awaits="READ-ONLY", preferences=looking,
        sizes=SIZES[:2],
    )  # fmt: skip

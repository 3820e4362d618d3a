"""The audit trail as people look through it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from swarmdeck.engine.audit import listing
from swarmdeck.engine.audit.risk import RISKS, risk_of
from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import Unavailable
from swarmdeck.engine.model import Environment
from swarmdeck.engine.store import aside
from swarmdeck.engine.store.database import Database, StoreOptions, Transaction, open_database


class HastyClock(FakeClock):
    """Every look at it takes a minute."""

    def monotonic_s(self) -> float:
        self.advance(60)
        return super().monotonic_s()


ROWS = [
    ("operator", "queue.retry", "dev_msg_1", "was dead"),
    ("dev_agent_a", "queue.nack", "dev_msg_2", "Größe unknown"),
    ("dev_agent_b", "memory.set", "default/user:1", ""),
]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(
        tmp_path / "d.db", "development", options=StoreOptions(), clock=FakeClock()
    ) as opened:

        def change(tx: Transaction) -> None:
            for actor, action, object_, detail in ROWS:
                tx.audit(actor, action, object_, detail=detail)

        await opened.write(change)
        yield opened


async def objects(
    database: Database, contains: str = "", actor: str | None = None, limit: int = 10
) -> list[str]:
    found = await listing.rows_of(database, listing.Wanted(actor=actor, contains=contains), limit)
    return [row.object for row in found]


async def test_the_newest_come_first(database: Database) -> None:
    assert await objects(database) == ["default/user:1", "dev_msg_2", "dev_msg_1"]
    assert await objects(database, limit=1) == ["default/user:1"]
    assert await objects(database, actor="operator") == ["dev_msg_1"]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("DEAD", [0]),
        ("queue.", [1, 0]),
        ("MSG_2", [1]),
        ("Agent_B", [2]),
        ("größe", [1]),
        ("%", []),
        ("set default", []),
    ],
)
async def test_a_text_is_looked_for_in_each_column_in_any_case(
    database: Database, text: str, numbers: list[int]
) -> None:
    assert await objects(database, text) == [ROWS[number][2] for number in numbers]


async def test_a_look_for_what_is_rare_is_bounded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long trail is looked through beside the reader, and not for ever."""
    monkeypatch.setattr(aside, "_STEPS", 1)
    database.clock = HastyClock()
    for filters in ({"contains": "nothing"}, {"actor": "nobody"}):
        with pytest.raises(Unavailable, match="took longer"):
            await objects(database, **filters)
    assert len(await objects(database)) == 3


# --- risk ---------------------------------------------------------------------------------------

ACTIONS = ["memory.get", "memory.set", "memory.delete", "acl.grant", "vault.shred", "new.thing"]


def test_what_is_refused_or_strict_matters_more() -> None:
    assert risk_of("memory.get", "development", allowed=True) == "low"
    assert risk_of("memory.get", "development", allowed=False) == "medium"
    assert risk_of("memory.get", "production", allowed=False) == "high"
    assert risk_of("memory.delete", "development", allowed=True) == "medium"
    assert risk_of("memory.delete", "staging", allowed=True) == "high"
    assert risk_of("vault.shred", "testing", allowed=True) == "critical"
    assert risk_of("new.thing", "testing", allowed=True) == "medium"


@pytest.mark.parametrize("environment", list(Environment))
@pytest.mark.parametrize("risk", RISKS)
async def test_the_filter_and_the_shown_risk_agree(
    tmp_path: Path, environment: str, risk: listing.Risk
) -> None:
    async with open_database(
        tmp_path / "d.db", environment, options=StoreOptions(), clock=FakeClock()
    ) as opened:

        def change(tx: Transaction) -> None:
            for action in ACTIONS:
                for allowed in (True, False):
                    tx.audit("operator", action, "it", allowed=allowed)

        await opened.write(change)
        every = await listing.rows_of(opened, listing.Wanted(), 100)
        some = await listing.rows_of(opened, listing.Wanted(risk=risk), 100)
        refused = await listing.rows_of(opened, listing.Wanted(risk=risk, denied=True), 100)
    least = RISKS.index(risk)
    expected = [row for row in every if RISKS.index(row.risk) >= least]
    assert some == expected
    assert refused == [row for row in expected if not row.allowed]

"""What one access decision costs, not looked up anywhere: `python tests/probes/access_cost.py`.

Microseconds of a `verdict` with no entries about the subject and with three that match: made by
the operator, made by the record's owner, and with hours. Processor time, the least of many
repeats, since whatever else the machine does only adds to it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import timeit
from pathlib import Path
from typing import Final

from swarmdeck.engine.acl import Access, Standing, Wanted
from swarmdeck.engine.clock import SystemClock
from swarmdeck.engine.model import (
    OPERATOR_PRINCIPAL,
    Environment,
    Isolation,
    Level,
    Principal,
    Right,
    Role,
)
from swarmdeck.engine.store.database import StoreOptions, open_database

CALLS: Final = 20_000
REPEATS: Final = 30
ISOLATION: Final = dict.fromkeys(Environment, Isolation.MODERATE)
OWNER: Final = Principal("dev_agent_owner", Role.AGENT, "development", "dev_swarm_1", ("dev_t",))
OTHER: Final = Principal("dev_agent_other", Role.AGENT, "development", None, ("dev_u",))
RECORD: Final = Standing(Level.TEAM, OWNER.id, "dev_t", "dev_swarm_1")


class People:
    """Who is registered: the two of them."""

    def __init__(self) -> None:
        self.principals = {each.id: each for each in (OWNER, OTHER)}
        self.epoch = 0


async def measure() -> dict[str, float]:
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "d.db"
        async with open_database(path, "development", options=StoreOptions(), clock=clock) as file:
            access = Access(Environment.DEVELOPMENT, ISOLATION, file, clock, people=People())
            await access.open()
            found = {"no entry": cost(access)}
            for name, granter, hours in (
                ("3 of the operator", OPERATOR_PRINCIPAL, ""),
                ("3 of the owner", OWNER, ""),
                ("3 with hours", OPERATOR_PRINCIPAL, "00:00-24:00"),
            ):
                wanted = Wanted(
                    subject=OTHER.id, effect="allow", level="team", rights=("read",), hours=hours
                )
                entries = [await access.add(granter, wanted) for _ in range(3)]
                found[name] = cost(access)
                for entry in entries:
                    await access.revoke(OPERATOR_PRINCIPAL, entry.id)
    return found


def cost(access: Access) -> float:
    """Microseconds a decision."""

    def decide() -> None:
        access.verdict(OTHER, Right.READ, RECORD, "default", "user:1")

    return (
        min(timeit.repeat(decide, number=CALLS, repeat=REPEATS, timer=time.process_time))
        / CALLS
        * 1e6
    )


if __name__ == "__main__":
    for name, cost_us in asyncio.run(measure()).items():
        print(f"{name:<20}{cost_us:6.2f} µs")

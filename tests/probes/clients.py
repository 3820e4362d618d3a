"""Fifty clients attached to one swarm at once: `python tests/probes/clients.py [--seconds 10]`.

An engine in a process of its own, the clients as agents in five others, each over a socket and with
a token of its own. A round of a client is a memory set, a memory get, a send to the swarm, a claim
and an ack. Paced: each client begins so many rounds a second, as agents that also work do. Full:
each begins the next as soon as one is over. Prints what each call took, from the client's side,
beside the engine's share of a core; every call of every client must have been answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from swarmdeck.engine.agent import Agent, Identity, connect_agent
from swarmdeck.engine.core import open_core
from swarmdeck.engine.settings import load_settings

CLIENTS: Final = 50
PROCESSES: Final = 5
PACE: Final = 4.0  # rounds a second of one client
WHERE: Final = "development"
CALLS: Final = ("set", "get", "send", "claim", "ack")


# --- the engine -------------------------------------------------------------------------------


async def serve(data: Path) -> None:
    """An engine with a swarm and its guests; what stands on standard input ends it."""
    settings = load_settings(None, {}, {f"queue.depth.{WHERE}": 100_000})
    async with open_core(
        data, settings=settings, transient=False, headless=True, clock=None
    ) as core:
        swarm = await core.engine.swarms.create(WHERE, agents=0, memory_bytes=64 << 20)
        registry = core.places[WHERE].registry
        guests = []
        for number in range(CLIENTS):
            agent = await registry.register(name=f"client {number}", swarm=swarm.id)
            guests.append((agent.id, await registry.renew_token(agent.id)))
        say({"socket": str(core._socket), "swarm": swarm.id, "guests": guests})
        while line := await asyncio.to_thread(sys.stdin.readline):
            counts = core.places[WHERE].queue.counters.counts()
            say({"word": line.strip(), "cpu_s": time.process_time(), "done": counts.done})


def say(what: object) -> None:
    print(json.dumps(what), flush=True)


# --- the clients ------------------------------------------------------------------------------


async def attend(orders: dict[str, Any]) -> None:
    """The clients of one process; prints the microseconds of each call."""
    taken: dict[str, list[float]] = {name: [] for name in CALLS}
    identities = [
        Identity(socket=Path(orders["socket"]), agent=agent, token=token)
        for agent, token in orders["guests"]
    ]
    everybody = asyncio.Barrier(len(identities))
    await asyncio.gather(*(attach(who, everybody, orders, taken) for who in identities))
    say(taken)


async def attach(
    who: Identity, everybody: asyncio.Barrier, orders: dict[str, Any], taken: dict[str, list[float]]
) -> None:
    async with connect_agent(who) as agent:
        await everybody.wait()
        ends_s = time.monotonic() + orders["seconds"]
        chance = random.Random(who.agent)
        while time.monotonic() < ends_s:
            if orders["pace"]:
                await asyncio.sleep(chance.uniform(0.5, 1.5) / orders["pace"])
            await one_round(agent, orders["swarm"], taken)


async def one_round(agent: Agent, swarm: str, taken: dict[str, list[float]]) -> None:
    async def timed(name: str, call: Any) -> Any:
        begun_s = time.perf_counter()
        answer = await call
        taken[name].append((time.perf_counter() - begun_s) * 1e6)
        return answer

    key = f"mine:{agent.id}"
    stored = {"by": agent.id, "text": "x" * 200}
    await timed("set", agent.memory.set(key, stored))
    assert await timed("get", agent.memory.get(key)) == stored
    await timed("send", agent.queue.send("probe", stored, to=swarm))
    messages = await timed("claim", agent.queue.claim(1, wait_s=20))
    for message in messages:
        await timed("ack", agent.queue.ack(message, {"by": agent.id}))


# --- both -------------------------------------------------------------------------------------


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(engine: subprocess.Popen[str], word: str) -> Any:
    assert engine.stdin is not None
    assert engine.stdout is not None
    engine.stdin.write(f"{word}\n")
    engine.stdin.flush()
    return json.loads(engine.stdout.readline())


def run(engine: subprocess.Popen[str], known: dict[str, Any], seconds: float, pace: float) -> None:
    before, begun_s = ask(engine, "before"), time.monotonic()
    share = CLIENTS // PROCESSES
    clients = []
    for number in range(PROCESSES):
        guests = known["guests"][number * share : (number + 1) * share]
        orders = known | {"guests": guests, "seconds": seconds, "pace": pace}
        clients.append(start("--attend", json.dumps(orders)))
    taken: dict[str, list[float]] = {name: [] for name in CALLS}
    for client in clients:
        told, _ = client.communicate(timeout=seconds + 60)
        for name, values in json.loads(told).items():
            taken[name] += values
    after, spent_s = ask(engine, "after"), time.monotonic() - begun_s
    rounds = len(taken["ack"])
    print(f"\n{'paced, ' + format(pace, 'g') + ' rounds a second each' if pace else 'full'}: "
          f"{CLIENTS} clients, {rounds} rounds, {5 * rounds / seconds:,.0f} calls a second, engine "
          f"{100 * (after['cpu_s'] - before['cpu_s']) / spent_s:.0f} % of a core, load "
          f"{os.getloadavg()[0]:.1f}")  # fmt: skip
    print(f"{'':8}{'p50':>10}{'p95':>10}{'p99':>10}{'max':>10}   ms")
    for name in CALLS:
        print(f"{name:8}" + "".join(f"{at / 1000:10.2f}" for at in marks(taken[name])))
    assert after["done"] - before["done"] == rounds, "a message was not answered"
    assert len({len(values) for values in taken.values()}) == 1, "a call was not answered"


def marks(values: Sequence[float]) -> tuple[float, float, float, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[94], cuts[98], max(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--pace", type=float, default=PACE, help="rounds a second of one client")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--attend", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        asyncio.run(serve(given.serve))
    elif given.attend is not None:
        asyncio.run(attend(json.loads(given.attend)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            engine = start("--serve", folder)
            try:
                assert engine.stdout is not None
                known = json.loads(engine.stdout.readline())
                for pace in (given.pace, 0.0):
                    run(engine, known, given.seconds, pace)
            finally:
                engine.communicate()


if __name__ == "__main__":
    main()

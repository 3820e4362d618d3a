"""Any order of calls, held against a model that is too simple to be wrong."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from swarmdeck.engine.errors import Conflict, InvalidInput, NotFound, OutcomeUnknown
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, MessageState, Principal
from swarmdeck.engine.queue import counters, steering
from swarmdeck.engine.queue import statements as sql
from swarmdeck.engine.queue.edit import Edit

SECOND = 1_000_000
OPEN = {"ready", "delayed", "leased"}
AGENTS = st.sampled_from("abc")
TARGETS = st.sampled_from([None, None, "dev_agent_a", "dev_swarm_a"])
MESSAGES = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["x", "y"]),
        "priority": st.integers(1, 2),
        "expires_s": st.sampled_from([None, None, 8]),
        "max_attempts": st.integers(1, 3),
    }
)
EDITS = st.fixed_dictionaries(
    {},
    optional={
        "priority": st.integers(1, 3),
        "delay_s": st.sampled_from([0, 2, 9]),
        "expires_s": st.sampled_from([1, 8]),
        "max_attempts": st.integers(1, 3),
    },
)
ENDED = st.sampled_from(["ready", "delayed", "done", "dead", "expired", "cancelled"])


@dataclass
class Message:
    """What the model knows of a message. Times are microseconds."""

    number: int
    kind: str
    target: str
    priority: int
    max_attempts: int
    state: str
    due_us: int = 0
    expires_us: int = 0
    lease_us: int = 0
    holder: str = ""
    attempt: int = 0
    spent: int = 0

    @property
    def ident(self) -> str:
        return f"dev_msg_{self.number}"

    def give_up(self) -> None:
        self.state = "dead" if self.attempt - self.spent >= self.max_attempts else "ready"

    def settle(self, now_us: int) -> None:
        """What time has done to it."""
        if self.state == "leased" and self.lease_us <= now_us:
            self.give_up()
        if self.state == "delayed" and self.due_us <= now_us:
            self.state = "ready"
        if self.state in {"ready", "delayed"} and 0 < self.expires_us <= now_us:
            self.state = "expired"


def ready_for(
    messages: Iterable[Message], targets: Iterable[str], kinds: list[str] | None
) -> list[Message]:
    """What a claim has to take, in order."""
    found = [
        message
        for message in messages
        if message.state == "ready"
        and message.target in targets
        and (kinds is None or message.kind in kinds)
    ]
    return sorted(found, key=lambda message: (-message.priority, message.number))


def together(found: list[Message]) -> list[Message]:
    """Of what a claim could take, what it does: one that has failed before comes alone."""
    again = next((at for at, each in enumerate(found) if each.attempt), len(found))
    return found[: max(1, again)]


class QueueMachine(RuleBasedStateMachine):
    make_scene: Callable[[Path], Any]

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.messages: dict[int, Message] = {}
        self.keys: dict[str, int] = {}
        self.deliveries: list[tuple[int, int, str]] = []
        self.redelivered = 0
        self.newest = 0
        self.scene = self.make_scene(self.folder / "development.db")
        self.loop.run_until_complete(self.scene.open())

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        self.loop.run_until_complete(self.scene.close())
        self.loop.close()
        shutil.rmtree(self.folder)

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        """The answer of a call, or its error; then everything that is due is done."""

        async def body() -> Any:
            try:
                answer = await call
            except (Conflict, InvalidInput, NotFound) as error:
                answer = error
            await self.scene.queue.tick()
            return answer

        answer = self.loop.run_until_complete(body())
        for message in self.messages.values():
            message.settle(self.now_us)
        return answer

    @property
    def now_us(self) -> int:
        return int(self.scene.clock.wall_us())

    def agent(self, name: str) -> Principal:
        agent: Principal = self.scene.town.agents[f"dev_agent_{name}"]
        return agent

    # --- rules ------------------------------------------------------------------------------

    @rule(
        fields=MESSAGES, to=TARGETS, count=st.integers(1, 5), delay_s=st.sampled_from([0, 0, 0, 3])
    )
    def send(self, fields: dict[str, Any], to: str | None, count: int, delay_s: int) -> None:
        for _ in range(count):
            self._send(None, to, delay_s=delay_s, **fields)

    @rule(fields=MESSAGES, to=TARGETS, key=st.sampled_from(["k1", "k2"]))
    def send_once(self, fields: dict[str, Any], to: str | None, key: str) -> None:
        self._send(key, to, delay_s=0, **fields)

    def _send(self, key: str | None, to: str | None, **fields: Any) -> None:
        answer = self.run(_call(self.scene.send(key=key, to=to, **fields)))
        if key in self.keys:
            assert answer == f"dev_msg_{self.keys[key]}"
            return
        number = int(answer.removeprefix("dev_msg_"))
        assert number > self.newest, "ids grow, also over a restart and after a purge"
        self.newest = number
        if key is not None:
            self.keys[key] = number
        delay_us = fields["delay_s"] * SECOND
        self.messages[number] = Message(
            number, fields["kind"], to or "", fields["priority"], fields["max_attempts"],
            "delayed" if delay_us else "ready", due_us=self.now_us + delay_us,
            expires_us=self.now_us + fields["expires_s"] * SECOND if fields["expires_s"] else 0,
        )  # fmt: skip

    @rule(
        name=AGENTS,
        limit=st.integers(1, 3),
        lease_s=st.sampled_from([2, 5]),
        kinds=st.sampled_from([None, ["x"], ["y", "x"]]),
    )
    def claim(self, name: str, limit: int, lease_s: int, kinds: list[str] | None) -> None:
        agent = self.agent(name)
        targets = ("", *self.scene.town.targets(agent))
        expected = together(ready_for(self.messages.values(), targets, kinds)[:limit])
        got = self.run(_call(self.scene.queue.claim(agent, limit, lease_s, 0, kinds)))
        assert [message[0] for message in got] == [message.ident for message in expected]
        for message, delivered in zip(expected, got, strict=True):
            message.attempt += 1
            message.state, message.holder = "leased", agent.id
            message.lease_us = self.now_us + lease_s * SECOND
            self.redelivered += message.attempt > 1
            assert delivered[4:6] == [message.attempt, message.lease_us]
            self.deliveries.append((message.number, message.attempt, name))

    @rule(name=AGENTS, limit=st.integers(1, 3), turns=st.integers(0, 2))
    def claim_and_leave(self, name: str, limit: int, turns: int) -> None:
        """A caller that goes before its claim is committed takes nothing."""

        async def leave() -> None:
            claim = self.scene.queue.claim(self.agent(name), limit)
            for _ in range(turns):
                await asyncio.sleep(0)
            claim.cancel()
            await self.scene.database.write(lambda _: None)  # behind the claim
            await self.scene.database.write(lambda _: None)  # behind what gives it back

        self.run(leave())

    @precondition(lambda self: self.deliveries)
    @rule(
        data=st.data(),
        act=st.sampled_from(["ack", "ack", "nack", "nack_now", "extend"]),
        late=st.booleans(),
    )
    def hold(self, data: st.DataObject, act: str, late: bool) -> None:
        """What a holder does, perhaps late: its lease was taken back, the next one is under way."""
        overtaken = [
            (number, attempt, name)
            for number, attempt, name in self.deliveries
            if self.messages[number].state == "leased" and self.messages[number].attempt > attempt
        ]
        from_these = overtaken if late and overtaken else self.deliveries
        number, attempt, name = data.draw(st.sampled_from(from_these))
        message = self.messages[number]
        mine = (message.state, message.attempt, message.holder) == (
            "leased", attempt, f"dev_agent_{name}"
        )  # fmt: skip
        queue, agent = self.scene.queue, self.agent(name)
        calls = {
            "ack": lambda: queue.ack(agent, message.ident, attempt),
            "nack": lambda: queue.nack(agent, message.ident, attempt, "no"),
            "nack_now": lambda: queue.nack(agent, message.ident, attempt, "no", 0),
            "extend": lambda: queue.extend(agent, message.ident, attempt, 4),
        }
        answer = self.run(_call(calls[act]()))
        if not mine:
            assert isinstance(answer, Conflict), f"{act} with a lease that is gone"
            return
        assert not isinstance(answer, Exception)
        self._held(message, act)

    def _held(self, message: Message, act: str) -> None:
        if act == "ack":
            message.state = "done"
        elif act == "extend":
            message.lease_us = self.now_us + 4 * SECOND
        else:
            failures = message.attempt - message.spent
            message.give_up()
            if message.state == "ready" and act == "nack":
                self._wait_for_retry(message, failures)
            message.settle(self.now_us)

    def _wait_for_retry(self, message: Message, failures: int) -> None:
        message.state = "delayed"
        if 0 < message.expires_us <= self.now_us:
            return  # it expired while it was held
        view = self.loop.run_until_complete(self.scene.queue.show(message.ident))
        message.due_us = view.due_at_us
        wait_s = (message.due_us - self.now_us) / SECOND
        assert 0.9 <= wait_s / 2 ** (failures - 1) <= 1.1

    @rule(seconds=st.sampled_from([0.5, 1, 2, 5]))
    def wait(self, seconds: float) -> None:
        self.scene.clock.advance(seconds)
        self.run(asyncio.sleep(0))

    @precondition(lambda self: self.messages)
    @rule(data=st.data(), act=st.sampled_from(["cancel", "retry"]))
    def steer(self, data: st.DataObject, act: str) -> None:
        message = self.messages[data.draw(st.sampled_from(sorted(self.messages)))]
        before = message.state
        answer = self.run(getattr(self.scene.queue, act)(OPERATOR_PRINCIPAL, message.ident))
        if act == "cancel" and before in OPEN:
            message.state = "cancelled"
        elif act == "retry" and before in {"dead", "expired", "cancelled"}:
            message.state, message.spent = "ready", message.attempt
            if message.expires_us <= self.now_us:
                message.expires_us = 0
        else:
            assert isinstance(answer, Conflict)

    @precondition(lambda self: self.messages)
    @rule(data=st.data(), fields=EDITS)
    def edit(self, data: st.DataObject, fields: dict[str, Any]) -> None:
        message = self.messages[data.draw(st.sampled_from(sorted(self.messages)))]
        expected = self._edited(message, **fields)
        answer = self.run(self.scene.queue.edit(OPERATOR_PRINCIPAL, message.ident, Edit(**fields)))
        if expected is None:
            assert isinstance(answer, (Conflict, InvalidInput)), f"{fields} of {message}"
        else:
            assert answer.priority == expected.priority
            self.messages[message.number] = expected
            expected.settle(self.now_us)

    def _edited(
        self,
        message: Message,
        priority: int | None = None,
        delay_s: float | None = None,
        expires_s: float | None = None,
        max_attempts: int | None = None,
    ) -> Message | None:
        """The message afterwards, None where it may not be changed so."""
        times = delay_s is not None or expires_s is not None
        if (priority, max_attempts, times) == (None, None, False):
            return None
        if message.state in {"leased", "done"}:
            return None
        if delay_s is not None and message.state not in OPEN:
            return None
        new = replace(message)
        if delay_s is not None:
            new.state = "delayed" if delay_s else "ready"
            new.due_us = self.now_us + int(delay_s * SECOND) if delay_s else 0
        if expires_s is not None:
            new.expires_us = self.now_us + int(expires_s * SECOND)
        due_us = new.due_us if new.state == "delayed" else self.now_us
        if times and 0 < new.expires_us <= due_us:
            return None
        new.priority = priority or new.priority
        new.max_attempts = max_attempts or new.max_attempts
        return new

    @rule(state=ENDED, kind=st.sampled_from([None, "x"]))
    def purge(self, state: str, kind: str | None) -> None:
        doomed = [
            number
            for number, message in self.messages.items()
            if message.state == state and kind in {None, message.kind}
        ]
        state_of = MessageState(state)
        gone = self.run(
            self.scene.queue.purge_state(OPERATOR_PRINCIPAL, state_of, kind, lambda *_: None)
        )
        assert gone == len(doomed)
        for number in doomed:
            message = self.messages.pop(number)
            self.redelivered -= max(message.attempt - 1, 0)
            self.deliveries = [each for each in self.deliveries if each[0] != number]
            self.keys = {key: known for key, known in self.keys.items() if known != number}

    @rule(name=AGENTS)
    def reap(self, name: str) -> None:
        held = [
            message
            for message in self.messages.values()
            if message.state == "leased" and message.holder == f"dev_agent_{name}"
        ]
        assert self.run(self.scene.queue.release(f"dev_agent_{name}")) == len(held)
        for message in held:
            message.give_up()
            message.settle(self.now_us)

    @rule()
    def restart(self) -> None:
        self.run(self.scene.reopen())

    # --- what always holds ------------------------------------------------------------------

    @invariant()
    def nothing_is_lost_and_every_state_is_right(self) -> None:
        if not hasattr(self, "scene"):
            return
        rows = self.loop.run_until_complete(
            self.scene.rows("SELECT id, state, attempt FROM message ORDER BY id")
        )
        found = [(number, sql.STATES[state].value, attempt) for number, state, attempt in rows]
        assert found == [(m.number, m.state, m.attempt) for m in self.messages.values()]

    @invariant()
    def memory_agrees_with_the_file(self) -> None:
        if hasattr(self, "scene"):
            self.loop.run_until_complete(self.scene.check())
            assert self.scene.queue.counters.redelivered == self.redelivered


async def _call(future: asyncio.Future[Any]) -> Any:
    return await future


def machine(make_scene: Callable[[Path], Any]) -> type[QueueMachine]:
    return type("Machine", (QueueMachine,), {"make_scene": staticmethod(make_scene)})


TIMES = int(os.environ.get("STRESS", "1"))  # `make stress` looks a hundred times longer
SETTINGS = settings(
    max_examples=30 * TIMES,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
HUNT = settings(
    SETTINGS, max_examples=1000, phases=[Phase.generate], database=None, derandomize=True
)


def test_any_order_of_calls_does_what_the_model_says(make_scene: Callable[[Path], Any]) -> None:
    run_state_machine_as_test(machine(make_scene), settings=SETTINGS)


def twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is done can be finished again."""
    monkeypatch.setattr(sql, "ACK", sql.ACK.replace("state = 2", "state IN (2, 3)"))


def no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest of a priority comes first."""
    monkeypatch.setattr(sql, "HEADS", sql.HEADS.replace("DESC, id", "DESC, id DESC"))


def lost_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message whose lease ended is not counted as ready."""
    moved = counters.Counters.moved

    def forgetful(self: counters.Counters, move: counters.Move) -> None:
        after = move.after
        moved(self, move)
        if move.before == sql.LEASED and after == sql.READY:
            self.lanes.remove(move.target, move.kind)

    monkeypatch.setattr(counters.Counters, "moved", forgetful)


def kept_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim whose caller has gone still uses up an attempt."""
    monkeypatch.setattr(sql, "UNTAKE", sql.UNTAKE.replace("attempt - 1", "attempt"))


def old_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message whose priority was changed counts where it was."""
    moved = counters.Priorities.moved

    def stubborn(self: counters.Priorities, move: counters.Move) -> None:
        moved(self, move._replace(to_priority=0))

    monkeypatch.setattr(counters.Priorities, "moved", stubborn)


def young(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is ready again counts from then on, not from when it was sent."""
    moved = counters.Counters.moved

    def forgetful(self: counters.Counters, move: counters.Move) -> None:
        again = move.before == sql.LEASED and move.after == sql.READY
        moved(self, move._replace(sent_us=move.sent_us + 1) if again else move)

    monkeypatch.setattr(counters.Counters, "moved", forgetful)


def any_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """A purge takes what was edited into another state meanwhile, and all states at that."""
    purge_these = steering.purge_these

    def careless(principal: Any, idents: Any, state: int | None, why: str) -> Any:
        every = range(idents[0], idents[-1] + 1)
        return purge_these(principal, list(every), None, why)

    monkeypatch.setattr(steering, "purge_these", careless)


PLANTS = [twice, no_order, lost_lane, kept_attempt, old_priority, young, any_state]


@pytest.mark.parametrize("plant", PLANTS)
def test_the_model_finds_a_planted_bug(
    make_scene: Callable[[Path], Any],
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[pytest.MonkeyPatch], None],
) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, OutcomeUnknown)):
        run_state_machine_as_test(machine(make_scene), settings=HUNT)

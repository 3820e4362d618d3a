"""A fake host with sample views, so that the console's tests are quick and its pictures stable."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakSet

import msgspec
import pytest
from textual._compositor import Compositor
from textual._context import visible_screen_stack
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.pilot import Pilot
from textual.screen import Screen
from textual.strip import Strip

from swarmdeck.console.deck import HostMaker, SwarmDeck
from swarmdeck.console.preferences import Preferences
from swarmdeck.engine import actions, views
from swarmdeck.engine.actions import Action
from swarmdeck.engine.errors import NotFound, SwarmDeckError


def _beside(name: str) -> ModuleType:
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(
        f"console_{name}", Path(__file__).with_name(f"{name}.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


samples = _beside("samples")
terminals = _beside("terminals")
NOW_US = samples.NOW_US
GIB = 1 << 30
MIB = 1 << 20
HOSTILE = "[@click=app.exit]x[/] \x1b]52;c;aGk=\x07\x1b[2J\u202e[bold red]end"

PLANS = {
    "production": (1, "strict", "full", "nothing", 12, 16, 20),
    "development": (2, "loose", "normal", "up to 1 s on power loss", 10, 14, 16),
    "testing": (3, "moderate", "normal", "up to 1 s on power loss", 8, 12, 12),
    "research": (4, "loose", "normal", "up to 1 s on power loss", 10, 14, 16),
    "staging": (5, "strict", "full", "nothing", 6, 10, 10),
}
QUEUES = {
    "production": views.QueueCounts(ready=14, leased=6, done=18_204, dead=1),
    "development": views.QueueCounts(ready=732, delayed=3, leased=24, done=4_111),
    "testing": views.QueueCounts(done=96, cancelled=2),
    "research": views.QueueCounts(ready=5, leased=2, done=310, dead=12, expired=4),
    "staging": views.QueueCounts(),
}


def swarm(ident: str, name: str, environment: str, agents: int, **more: Any) -> views.SwarmView:
    fields: dict[str, Any] = {
        "id": ident,
        "name": name,
        "environment": environment,
        "state": "running",
        "agents_wanted": agents,
        "agents_live": agents,
        "agents_ready": agents,
        "memory_bytes": agents * 512 * MIB,
        "borrowed_bytes": 0,
        "used_bytes": agents * 143 * MIB,
        "restarts": 0,
        "created_at_us": NOW_US - 5_400_000_000,
        "warm_up_s": 30.0,
        "variables": ("LANG", "MODEL_KEY"),
    }
    return views.SwarmView(**(fields | more))


def agent(ident: str, of: views.SwarmView | None, place: int, **more: Any) -> views.AgentView:
    fields: dict[str, Any] = {
        "id": ident,
        "name": f"worker {place}",
        "type": "worker",
        "environment": of.environment if of else "development",
        "swarm": of.id if of else None,
        "teams": (),
        "capabilities": ("digest",),
        "state": "ready",
        "pid": 41_000 + place,
        "heartbeat_age_s": 1.5,
        "used_bytes": (120 + 7 * place) * MIB,
        "restarts": 0,
        "leased": place % 4,
        "done": 900 + 31 * place,
        "created_at_us": NOW_US - 5_300_000_000,
        "ready_at_us": NOW_US - 5_280_000_000,
    }
    return views.AgentView(**(fields | more))


def environment(name: str, *, busy: bool) -> views.EnvironmentView:
    priority, isolation, durability, loss, base, most, limit = PLANS[name]
    share = {"production": 6, "development": 12, "research": 1}.get(name, 0) if busy else 0
    borrowed = name == "development" and busy
    loans = (("buffer", GIB), ("staging", GIB)) if borrowed else ()
    return views.EnvironmentView(
        name=name,
        priority=priority,
        isolation=isolation,
        durability=durability,
        loss_window=loss,
        base_bytes=base * GIB,
        max_bytes=most * GIB,
        allocated_bytes=share * GIB,
        borrowed_bytes=2 * GIB * borrowed,
        lent_bytes=GIB * (busy and name == "staging"),
        lenders=tuple(views.LoanView(lender=lender, bytes=held) for lender, held in loans),
        available_bytes=(most - share) * GIB,
        full_in_s=1_900.0 if borrowed else None,
        used_bytes=share * 300 * MIB,
        agents=min(limit, share * 2),
        agent_limit=limit,
        swarms=int(share > 0),
        records=share * 1_250,
        queue=QUEUES[name] if busy else views.QueueCounts(),
        queue_limit=1_000,
    )


def overview(
    swarms: tuple[views.SwarmView, ...] = (),
    agents: tuple[views.AgentView, ...] = (),
    *,
    busy: bool = False,
    sequence: int = 0,
) -> views.Overview:
    environments = tuple(environment(name, busy=busy) for name in PLANS)
    return views.Overview(
        sequence=sequence,
        at_us=NOW_US,
        engine=views.EngineView(
            pid=4242, version="0.1.0", data="data", uptime_s=8_040, loop_lag_ms=0.4,
            writer_queue=3 if busy else 0, wal_bytes=4 * MIB if busy else 0,
            operations=128_440 if busy else 0, bus="local", headless=False,
        ),
        host=views.HostView(
            total_bytes=96 * GIB, available_bytes=71 * GIB, cpu_percent=38.0 if busy else 1.0,
            load_1m=2.1 if busy else 0.1, scale=1.0, swarm_plan_bytes=62 * GIB,
            reserved_bytes=34 * GIB, coordination_bytes=6 * GIB, monitoring_bytes=2 * GIB,
            buffer_bytes=8 * GIB, allocated_bytes=sum(e.allocated_bytes for e in environments),
            used_bytes=sum(e.used_bytes for e in environments), enforcement="guarded",
        ),
        environments=environments,
        swarms=swarms,
        agents=agents,
        access=views.AccessSummary(
            agents=len(agents), teams=3 if busy else 0, grants=4 if busy else 0,
            denies=1 if busy else 0, denied_calls=7 if busy else 0, epoch=19 if busy else 0,
        ),
        benchmarks=samples.BENCHMARKS if busy else (),
    )  # fmt: skip


def message(number: int, state: str = "ready", **more: Any) -> views.MessageView:
    fields: dict[str, Any] = {
        "id": f"dev_msg_{number:08d}",
        "environment": "development",
        "kind": "digest",
        "priority": 10 - number % 10,
        "state": state,
        "attempt": int(state != "ready"),
        "max_attempts": 3,
        "sender": "operator",
        "holder": "dev_agent_00000002" if state == "leased" else None,
        "to": "dev_swarm_7m2pz0tb",
        "created_at_us": NOW_US - number * 7_000_000,
        "due_at_us": NOW_US + 45_000_000 if state == "delayed" else None,
        "lease_until_us": NOW_US + 25_000_000 if state == "leased" else None,
        "expires_at_us": None,
        "error": "ValueError: not a digest" if state == "dead" else "",
        "body": None,
    }
    return views.MessageView(**(fields | more))


def record(number: int, **more: Any) -> views.RecordView:
    fields: dict[str, Any] = {
        "key": f"digest:lib/module_{number}.py",
        "namespace": "demo",
        "environment": "development",
        "level": "team",
        "owner": "dev_agent_00000002",
        "team": "dev_team_k3j9ws1a",
        "version": 1 + number % 3,
        "size_bytes": 300 + 17 * number,
        "updated_at_us": NOW_US - number * 60_000_000,
        "expires_at_us": None,
    }
    return views.RecordView(**(fields | more))


def grant(number: int, **more: Any) -> views.GrantView:
    fields: dict[str, Any] = {
        "id": f"dev_grant_{number:08d}",
        "environment": "development",
        "subject": "dev_agent_00000002",
        "effect": "allow" if number % 3 else "deny",
        "resource": "memory",
        "level": "swarm",
        "actions": ("read", "write"),
        "namespace": "default",
        "key_prefix": "report:",
        "granted_by": "operator",
        "created_at_us": NOW_US - 600_000_000,
        "expires_at_us": NOW_US + 85_000_000_000,
    }
    return views.GrantView(**(fields | more))


def audit(number: int, **more: Any) -> views.AuditView:
    fields: dict[str, Any] = {
        "sequence": number,
        "environment": "development",
        "at_us": NOW_US - number * 3_000_000,
        "actor": "operator" if number % 2 else "dev_agent_00000001",
        "action": ("memory.set", "queue.ack", "acl.grant", "memory.get")[number % 4],
        "object": f"demo:digest:lib/module_{number}.py",
        "allowed": number % 7 != 3,
        "risk": ("low", "medium", "high", "critical")[number % 4],
        "detail": "",
    }
    return views.AuditView(**(fields | more))


def busy_overview() -> views.Overview:
    pay = swarm("prod_swarm_4kd81xq2", "payments", "production", 12)
    crawl = swarm("dev_swarm_7m2pz0tb", "crawl", "development", 8, agents_ready=7, restarts=2)
    crawl = msgspec.structs.replace(
        crawl,
        memory_bytes=12 * GIB,
        borrowed_bytes=2 * GIB,
        lenders=environment("development", busy=True).lenders,
    )
    paper = swarm("research_swarm_c5v93hne", "papers", "research", 2, state="draining")
    members = [agent(f"prod_agent_{n:08d}", pay, n) for n in range(12)]
    members += [agent(f"dev_agent_{n:08d}", crawl, n) for n in range(7)]
    members.append(
        agent(
            "dev_agent_00000007",
            crawl,
            7,
            state="stale",
            heartbeat_age_s=19.0,
            reason="no heartbeat",
        )
    )
    members += [agent(f"research_agent_{n:08d}", paper, n) for n in range(2)]
    members.append(
        agent("dev_agent_ext00001", None, 3, name="Reviewer", type="reviewer", state="external",
              pid=None, heartbeat_age_s=None, used_bytes=0)
    )  # fmt: skip
    return overview((pay, crawl, paper), tuple(members), busy=True, sequence=128_440)


def sealed_overview() -> views.Overview:
    """The vault is sealed: nothing can be read, the rest goes on."""
    base = busy_overview()
    places = tuple(
        msgspec.structs.replace(each, state="sealed", reason="the vault is sealed")
        for each in base.environments
    )
    vault = views.VaultGlance(state="sealed", source="passphrase", reason="it was started anew")
    return msgspec.structs.replace(base, environments=places, vault=vault)


def emergency_overview() -> views.Overview:
    """Everything at once: a damaged file, a clock that jumped, a private record that is read."""
    base = busy_overview()
    places = tuple(
        msgspec.structs.replace(each, state="quarantined", reason="page 412 is malformed")
        if each.name == "research"
        else each
        for each in base.environments
    )
    return msgspec.structs.replace(
        base,
        environments=places,
        clock="the host's clock is 400 d ahead of time that has passed",
        breaking=(samples.breaking(),),
    )


def failing_overview() -> views.Overview:
    """A degraded engine: agents that fail, memory pressure, dead letters, a slow writer."""
    base = busy_overview()
    crawl = msgspec.structs.replace(
        base.swarms[1], agents_live=3, agents_ready=2, restarts=15, reason="agents keep failing"
    )
    agents = tuple(
        msgspec.structs.replace(a, state="failed", pid=None, reason="exit code 1")
        if a.swarm == crawl.id and index % 2
        else a
        for index, a in enumerate(base.agents)
    )
    engine = msgspec.structs.replace(
        base.engine, loop_lag_ms=184.0, writer_queue=912, wal_bytes=410 * MIB
    )
    swarms = (base.swarms[0], crawl, base.swarms[2])
    return msgspec.structs.replace(base, swarms=swarms, agents=agents, engine=engine)


def _trail(action: actions.AuditList) -> list[views.AuditView]:
    """Sixty entries, without those an action does not ask for."""
    risks = ("low", "medium", "high", "critical")
    return [
        entry
        for entry in map(audit, range(60))
        if risks.index(entry.risk) >= risks.index(action.risk or "low")
        and not (action.denied and entry.allowed)
    ]


def _asked_for(action: Any, rows: list[Any]) -> list[Any]:
    """The window of a listing that an action asks for, of the rows that contain its text."""
    wanted = action.contains.casefold()
    found = [row for row in rows if wanted in str(msgspec.to_builtins(row)).casefold()]
    return found[action.offset : action.offset + action.limit]


class FakeHost:
    """Answers like an EngineHost, from sample views. Not an engine.

    `failures` maps an action's type to the error it raises; `asked` keeps what was run;
    `opening` holds `start` back until it is set.
    """

    def __init__(self, seen: views.Overview | None = None, *, attached: bool = False) -> None:
        self.overview = seen or overview()
        self.attached = attached
        self.busy = bool(self.overview.swarms)
        self.failures: dict[type[Action], SwarmDeckError] = {}
        self.open_failure: SwarmDeckError | None = None
        self.asked: list[Action] = []
        self.opening = asyncio.Event()
        self.opening.set()
        self.working = asyncio.Event()
        self.working.set()
        self.closed = False
        self.answers: dict[type[Action], Callable[[Any], Any]] = {
            actions.Status: lambda _: self.overview,
            actions.SwarmHealth: self._health,
            actions.AgentShow: self._agent,
            actions.QueueList: self._messages,
            actions.QueueDead: lambda _: [message(n, "dead") for n in range(12)],
            actions.QueueShow: self._message,
            actions.MemoryList: lambda a: _asked_for(
                a, [record(n, environment=a.environment) for n in range(40)]
            ),
            actions.MemoryGet: lambda a: record(1, key=a.key, value={"sha256": "9f86d081"}),
            actions.AclList: lambda _: [grant(n) for n in range(5)],
            actions.AuditList: lambda a: _asked_for(a, _trail(a)),
            actions.BenchShow: lambda _: list(self.overview.benchmarks),
            actions.Logs: lambda _: ["started", "claimed 8", "\x1b[31mred\x1b[0m [b]markup[/b]"],
            actions.DatabasePragmas: self._pragmas,
            **samples.ANSWERS,
            **({} if self.busy else samples.EMPTY),
        }

    async def start(self) -> None:
        await self.opening.wait()
        if self.open_failure is not None:
            raise self.open_failure

    async def run(self, action: Action, on_progress: Callable[[Any], None] | None = None) -> Any:
        self.asked.append(action)
        failure = self.failures.get(type(action))
        if failure is not None:
            raise failure
        if isinstance(action, actions.Demo):
            return await self._demo(action, on_progress)
        answer = self.answers.get(type(action), lambda _: views.Done(detail="done"))(action)
        empty = not self.busy and isinstance(answer, list)
        return [] if empty else answer

    async def close(self) -> None:
        self.closed = True

    def changes(self) -> list[Action]:
        """What was asked for besides looking."""
        return [a for a in self.asked if not actions.spec_of(a).query]

    async def _demo(self, action: actions.Demo, on_progress: Callable[[Any], None] | None) -> Any:
        from swarmdeck.engine.events import Progress

        if on_progress is not None:
            on_progress(Progress("op1", "demo", 0.43, "430 of 1,000 files"))
        await self.working.wait()
        workers = tuple(
            views.DemoAgentView(id=f"dev_agent_{n:08d}", pid=41_000 + n, done=200)
            for n in range(action.agents)
        )
        return views.DemoView(
            files=1_000, bytes=9_000_000, sent=1_000, done=1_000, dead=0, redelivered=0,
            agents=workers, records=1_001, elapsed_s=2.4,
        )  # fmt: skip

    def _health(self, action: actions.SwarmHealth) -> views.HealthView:
        found = next((s for s in self.overview.swarms if s.id == action.id), None)
        if found is None:
            raise NotFound(f"no swarm {action.id}")
        members = tuple(a for a in self.overview.agents if a.swarm == found.id)
        return views.HealthView(
            swarm=found, status="healthy", issues=(), agents=members, ready_messages=3,
            leased_messages=sum(a.leased for a in members),
        )  # fmt: skip

    def _agent(self, action: actions.AgentShow) -> views.AgentView:
        found = next((a for a in self.overview.agents if a.id == action.id), None)
        if found is None:
            raise NotFound(f"no agent {action.id}")
        return found

    def _messages(self, action: actions.QueueList) -> list[views.MessageView]:
        if action.state is not None:
            return _asked_for(action, [message(n, action.state) for n in range(12)])
        states = ("leased", "ready", "ready", "delayed")
        return _asked_for(action, [message(n, states[n % 4]) for n in range(40)])

    def _message(self, action: actions.QueueShow) -> views.MessageView:
        number = int(action.id.rpartition("_")[2])
        body = {"path": f"lib/module_{number}.py", "note": "[bold]plain[/bold]"}
        return message(number, "leased", body=body)

    def _pragmas(self, _action: actions.DatabasePragmas) -> list[views.PragmaView]:
        return [
            views.PragmaView(
                environment="development", name="synchronous", requested="1", granted="1"
            )
        ]


_UNPAINTED: WeakSet[Compositor] = WeakSet()
_PARSED: dict[tuple[Any, ...], list[RuleSet]] = {}
_parse_rules = Stylesheet._parse_rules


def _parse_once(sheet: Stylesheet, *given: Any, **named: Any) -> list[RuleSet]:
    """Hundreds of consoles are opened, and each would parse the same styles again."""
    wanted = (given, tuple(named.items()), tuple(sheet._variables.items()))
    if wanted not in _PARSED:
        _PARSED[wanted] = _parse_rules(sheet, *given, **named)
    return _PARSED[wanted]


Stylesheet._parse_rules = _parse_once  # type: ignore[method-assign]


class Deck:
    """A console over a fake host, in a headless terminal."""

    def __init__(self, app: SwarmDeck, host: FakeHost, pilot: Pilot[Any]) -> None:
        self.app = app
        self.host = host
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()
        self.paint()

    def paint(self) -> None:
        """Draw the screen once, unless nothing changed: `paint_what_is_seen` draws no others."""
        if self.app.screen._compositor in _UNPAINTED:
            self._strips()

    async def type(self, line: str) -> None:
        """Type a command and enter it."""
        await self.press("colon")
        await self.press(*(_KEYS.get(letter, letter) for letter in line), "enter")

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until the condition holds; after 30 s fail with what is on the screen."""
        try:
            async with asyncio.timeout(30):
                while not condition():
                    await self.pilot.pause(0.01)
        except TimeoutError:
            pytest.fail(f"this did not come true; on the screen:\n{self.text}", pytrace=True)

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join("".join(each.text for each in strip) for strip in self._strips())

    def _strips(self) -> list[Strip]:
        """What is on the screen, with what is seen around a dialog."""
        visible_screen_stack.set(self.app._background_screens)
        compositor = self.app.screen._compositor
        _UNPAINTED.discard(compositor)
        return compositor.render_strips()

    @property
    def toasts(self) -> list[str]:
        return [f"{toast.title} {toast.message}" for toast in self.app._notifications]


_KEYS = {
    " ": "space", "-": "minus", "_": "underscore", ".": "full_stop", "[": "left_square_bracket",
    ":": "colon", "/": "slash", "@": "at", "=": "equals_sign", "!": "exclamation_mark",
    ">": "greater_than_sign", "<": "less_than_sign", "'": "apostrophe", '"': "quotation_mark",
}  # fmt: skip


@asynccontextmanager
async def console(
    seen: views.Overview | None = None,
    *,
    size: tuple[int, int] = (120, 30),
    host: FakeHost | None = None,
    make: HostMaker | None = None,
    ready: bool = True,
    notifications: bool = False,
    preferences: Preferences | None = None,
) -> AsyncIterator[Deck]:
    """A console that shows its first pull, unless `ready` is False."""
    host = host or FakeHost(seen)
    app = SwarmDeck(make or (lambda _on_event: host), "data", preferences)
    async with app.run_test(size=size, notifications=notifications) as pilot:
        deck = Deck(app, host, pilot)
        if ready:
            await deck.until(lambda: app.last.overview is not None)
            await pilot.pause()
        yield deck
        deck.paint()
    await app.shut()


class Samples:
    """What the tests of this folder take from here."""

    FakeHost = FakeHost
    KEYS = _KEYS
    HOSTILE = HOSTILE
    NOW_US = NOW_US
    agent = staticmethod(agent)
    audit = staticmethod(audit)
    busy = staticmethod(busy_overview)
    console = staticmethod(console)
    empty = staticmethod(overview)
    failing = staticmethod(failing_overview)
    sealed = staticmethod(sealed_overview)
    emergency = staticmethod(emergency_overview)
    grant = staticmethod(grant)
    message = staticmethod(message)
    overview = staticmethod(overview)
    record = staticmethod(record)
    swarm = staticmethod(swarm)
    samples = samples
    Deck = Deck


@pytest.fixture
def fakes() -> type[Samples]:
    return Samples


@pytest.fixture
def open_window(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a program in a terminal of its own: `open_window(*command, size=(80, 24))`."""
    opened: list[Any] = []

    def make(*command: str, size: tuple[int, int] = terminals.NARROW) -> Any:
        opened.append(terminals.Window(tmp_path, *command, size=size))
        return opened[-1]

    yield make
    for window in opened:
        window.close()


@pytest.fixture(autouse=True)
def paint_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal a repaint is drawn and thrown away, which is a quarter of what a console
    costs. `Deck` draws what is there once the keys are done, as `text` and pictures do."""
    refresh = Screen._compositor_refresh

    def spare(screen: Screen[Any]) -> None:
        app = screen.app
        if not app.is_headless or app.is_inline or screen is not app.screen:
            refresh(screen)
            return
        _UNPAINTED.add(screen._compositor)
        screen._compositor._dirty_regions.clear()
        screen._dirty_widgets.clear()
        app._update_mouse_over(screen)

    monkeypatch.setattr(Screen, "_compositor_refresh", spare)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a key writes, and what a console keeps for its next session, stays out of the checkout
    and of the home of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))

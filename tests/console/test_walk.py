"""A person's walk through the whole console in a real terminal: every screen, every key of the
key table, every action of the registry, on the terminals people have, also over ssh.

`make test` walks once, with the keys of one screen; `make stress` walks on every kind of terminal.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from swarmdeck.console.columns import Moment
from swarmdeck.console.commands import SCREENS
from swarmdeck.console.keymap import keymap
from swarmdeck.console.places import Place
from swarmdeck.console.screens import OverviewScreen, screen_for
from swarmdeck.engine import open_engine, views
from swarmdeck.engine.actions import ACTIONS

pytestmark = pytest.mark.tmux

PROGRAM: Final = "from swarmdeck.console.main import main; raise SystemExit(main())"
NARROW, WIDE = (80, 24), (200, 60)


class Kind(NamedTuple):
    """A terminal to walk on."""

    term: str = "xterm-256color"
    size: tuple[int, int] = NARROW
    colour: bool = True
    ssh: bool = False

    def __str__(self) -> str:
        width, height = self.size
        words = [self.term, f"{width}x{height}"]
        words += [] if self.colour else ["NO_COLOR"]
        return " ".join([*words, "ssh"] if self.ssh else words)


EVERY_KIND: Final = [
    *(
        Kind(term, size)
        for term in ("xterm-256color", "screen", "linux")
        for size in (NARROW, WIDE)
    ),
    *(Kind(size=size, colour=False) for size in (NARROW, WIDE)),
    *(Kind(size=size, ssh=True) for size in (NARROW, WIDE)),
]
KINDS: Final = EVERY_KIND if os.environ.get("STRESS") else EVERY_KIND[:1]


class Ids(NamedTuple):
    """What the prepared directory holds."""

    agent: str
    other: str
    team: str
    grant: str
    denial: str
    ready: str
    dead: str
    leased: str


async def prepare(data: Path) -> Ids:
    """A directory with something of everything."""
    async with open_engine(data) as engine:
        team = await engine.agents.create_team("development", name="Web")
        agent = await engine.agents.register("development", name="api", team=team.id)
        other = await engine.agents.register("development", name="web")
        memory = engine.memory(agent)
        for level in ("private", "team", "swarm", "public"):
            await memory.set(f"plan:{level}", {"text": level}, level=level)
        queue = engine.queue("development", as_=agent)
        dead = await queue.send("broken", {"n": 1}, max_attempts=1)
        await queue.send("spoilt", {"n": 1}, max_attempts=1)
        for message in await queue.claim(2):
            await queue.nack(message, error="it cannot be read")
        leased = await queue.send("slow", {"n": 2})
        await queue.claim(1, lease_s=3000)
        ready = [await queue.send("digest", {"n": n}, priority=n % 10 + 1) for n in range(40)]
        await queue.send("later", {"n": 3}, delay_s=3000)
        await engine.consensus("development").propose("Another plan")
        grant = await engine.acl.grant(other, level="team", actions=["read"])
        denial = await engine.acl.deny(other, level="public", actions=["write"])
    return Ids(agent.id, other.id, team.id, grant.id, denial.id, ready[0], dead, leased)


BACKUP: Final = "THE-BACKUP"
"""Stands for the name that the backup is given."""


def lines(ids: Ids, swarm: str, folder: Path) -> dict[str, str]:
    """A command line for every action, in an order in which each has something to act on."""
    here = "development"
    return {
        "status": "status",
        "doctor": "doctor",
        "config.show": "config show",
        "reload": "reload",
        "explain": f"explain {ids.dead}",
        "alert.list": "alert list",
        "alert.ack": "alert ack dead-letters.development",
        "health.list": "health list",
        "health.check": "health check disk",
        "recovery.list": "recovery list",
        "recovery.set": f"recovery set {swarm} ALERT_ONLY",
        "recovery.reset": f"recovery reset {swarm}",
        "journal.list": "journal list",
        "logs": f"logs {ids.agent}",
        "memory.plan": "memory plan",
        "memory.admit": f"memory admit {here} --base 2GB --max 3GB",
        "memory.budget": f"memory budget {here} --base 1GB --max 2GB",
        "memory.stats": "memory stats",
        "db.stats": "db stats",
        "db.check": "db check",
        "db.pragmas": f"db pragmas {here}",
        "db.schema": f"db schema {here}",
        "db.slow": "db slow",
        "db.optimize": f"db optimize {here}",
        "clock.confirm": "clock confirm",
        "swarm.create": f"swarm create {here} --agents 0 --memory 64MB",
        "swarm.list": "swarm list",
        "swarm.health": f"swarm health {swarm}",
        "swarm.scale": f"swarm scale {swarm} 0 128MB",
        "agent.register": f"agent register {here} third",
        "agent.update": f"agent update {ids.other} --type reviewer",
        "agent.list": "agent list",
        "agent.show": f"agent show {ids.agent}",
        "team.create": f"team create {here} Docs",
        "team.list": "team list",
        "team.add": f"team add {ids.team} {ids.other}",
        "team.remove": f"team remove {ids.team} {ids.other}",
        "team.show": f"team show {ids.team}",
        "team.rename": f"team rename {ids.team} Pages",
        "team.lead": f"team lead {ids.team} {ids.agent}",
        "team.delete": f"team delete {ids.team}",
        "memory.set": f"memory set {here} note hello",
        "memory.get": f"memory get {here} note",
        "memory.level": f"memory level {here} note public",
        "memory.keys": f"memory keys {here}",
        "memory.list": f"memory list {here}",
        "memory.delete": f"memory delete {here} note",
        "queue.send": f"queue send {here} digest '{{}}'",
        "queue.broadcast": f"queue broadcast {here} news '{{}}'",
        "queue.pause": f"queue pause {here} --reason upgrade",
        "queue.drain": f"queue drain {here}",
        "queue.resume": f"queue resume {here}",
        "queue.flow": "queue flow",
        "queue.list": "queue list",
        "queue.count": "queue count",
        "queue.lanes": "queue lanes",
        "queue.show": f"queue show {ids.ready}",
        "queue.edit": f"queue edit {ids.ready} --priority 9",
        "queue.dead": "queue dead",
        "queue.retry": f"queue retry {ids.dead}",
        "queue.cancel": f"queue cancel {ids.ready}",
        "queue.purge": f"queue purge {here} cancelled",
        "queue.history": f"queue history {ids.ready}",
        "queue.redrive": f"queue redrive {here} --kind spoilt",
        "schedule.create": f"schedule create {here} tidy sweep '{{}}' --every 3600",
        "schedule.list": "schedule list",
        "schedule.show": "schedule show dev_schedule_1",
        "schedule.pause": "schedule pause dev_schedule_1",
        "schedule.resume": "schedule resume dev_schedule_1",
        "schedule.run": "schedule run dev_schedule_1",
        "schedule.delete": "schedule delete dev_schedule_1",
        "consensus.propose": f"consensus propose {here} 'Ship it'",
        "consensus.vote": "consensus vote dev_consensus_2 approve",
        "consensus.list": "consensus list",
        "consensus.show": "consensus show dev_consensus_2",
        "consensus.close": "consensus close dev_consensus_2 achieved",
        "consensus.withdraw": "consensus withdraw dev_consensus_1",
        "conflict.report": f"conflict report {here} 'Both write' a b",
        "conflict.begin": "conflict begin dev_conflict_1",
        "conflict.attempt": "conflict attempt dev_conflict_1 'no way'",
        "conflict.list": "conflict list",
        "conflict.show": "conflict show dev_conflict_1",
        "conflict.escalate": "conflict escalate dev_conflict_1",
        "conflict.resolve": "conflict resolve dev_conflict_1 done",
        "conflict.reopen": "conflict reopen dev_conflict_1",
        "task.create": f"task create {here} 'plan it' --needs plan.md --max-attempts 3",
        "dependency.list": "dependency list",
        "dependency.resolve": "dependency resolve dev_dependency_1",
        "task.list": "task list --status all",
        "task.show": "task show dev_task_1",
        "task.ready": "task ready",
        "task.update": "task update dev_task_1 --priority 9",
        "task.assign": "task assign dev_task_1",
        "task.start": "task start dev_task_1",
        "task.progress": "task progress dev_task_1 40",
        "task.fail": "task fail dev_task_1 'no room'",
        "task.cancel": "task cancel dev_task_1 --cascade",
        "task.retry": "task retry dev_task_1",
        "task.block": "task block dev_task_1 'the licence'",
        "task.unblock": "task unblock dev_task_1",
        "task.depend": "task depend dev_task_1 the-licence",
        "task.undepend": "task undepend dev_dependency_2",
        "task.graph": "task graph dev_task_1 --behind",
        "task.take": f"task take {here} --as {ids.other}",
        "task.complete": f"task complete dev_task_1 --as {ids.other}",
        "event.publish": f"event publish {here} build.done '{{}}' --tag main",
        # Tried once: what is tried again later may be due before the line that asks for it now.
        "event.publish_many": f"event publish_many {here} '{ONCE}'",
        "event.list": "event list",
        "event.count": "event count",
        "event.show": "event show dev_event_1",
        "event.chain": "event chain dev_event_1",
        "event.take": f"event take {here} --limit 3",
        "event.complete": "event complete dev_event_1",
        "event.fail": "event fail dev_event_2 'no room'",
        "event.retry": "event retry dev_event_2",
        "event.purge": f"event purge {here} --status completed",
        "artifact.put": f"artifact put {here} {__file__} --type report",
        "artifact.list": "artifact list",
        "artifact.show": "artifact show dev_artifact_1",
        "artifact.versions": "artifact versions dev_artifact_1",
        "artifact.lineage": "artifact lineage dev_artifact_1",
        "artifact.verify": "artifact verify dev_artifact_1",
        "artifact.get": "artifact get dev_artifact_1 -o saved.txt",
        "artifact.delete": "artifact delete dev_artifact_1",
        "acl.grant": f"acl grant {ids.other}",
        "acl.deny": f"acl deny {ids.other} --actions delete",
        "acl.list": "acl list",
        "acl.explain": f"acl explain {ids.other} read {here} plan:team",
        "acl.check": f"acl check {ids.other} read event --level public",
        "acl.matrix": f"acl matrix {here}",
        "acl.who": f"acl who {here} plan:team",
        "acl.breakglass": f"acl breakglass {here} plan:private --reason outage",
        "acl.export": "acl export staging research walk",
        "acl.revoke": f"acl revoke {ids.denial}",
        "audit.list": "audit list",
        "audit.verify": f"audit verify {here}",
        "audit.export": f"audit export {here} trail.jsonl",
        "vault.status": "vault status",
        "vault.rotate": f"vault rotate {here}",
        "vault.seal": "vault seal",
        "vault.unseal": "vault unseal",
        "vault.rekey": "vault rekey file",
        "backup.create": "backup create testing",
        "backup.list": "backup list",
        "backup.verify": f"backup verify testing {BACKUP}",
        "backup.restore": f"backup restore testing {BACKUP}",
        "backup.delete": f"backup delete testing {BACKUP}",
        "vault.shred": "vault shred testing",
        "agent.token": f"agent token {ids.agent}",
        "agent.revoke": f"agent revoke {ids.agent}",
        "metrics.list": "metrics list",
        "metrics.show": "metrics show host",
        "metric.record": f"metric record {here} tasks 3 --kind counter --label queue=a",
        "metric.query": f"metric query {here} tasks",
        "metric.series": "metric series",
        "metric.delete": f"metric delete {here} tasks",
        "bench.run": "bench run access.decide --seconds 0.2 --repeats 1",
        "bench.show": "bench show",
        "bench.baseline": "bench baseline walk",
        "bench.compare": "bench compare --peers unsealed --rounds 1 --seconds 0.1 --growth 0",
        "bench.bars": "bench bars sweep --rounds 1 --expired 1000",
        "demo": f"demo --files {folder} --agents 1",
        "agent.unregister": f"agent unregister {ids.other}",
        "swarm.terminate": f"swarm terminate {swarm} --force",
        "stop": "stop",
    }


def test_the_walk_leaves_out_no_action(tmp_path: Path) -> None:
    ids = Ids(*("dev_agent_00000001",) * 8)
    assert set(lines(ids, "dev_swarm_00000001", tmp_path)) == set(ACTIONS)


class Sshd:
    """An ssh server of our own, for one key, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("sshd") or "/usr/sbin/sshd"
        if not Path(program).exists():
            pytest.skip("needs sshd: apt-get install openssh-server")
        for name in ("host", "user"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(words, check=True, timeout=20)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        options = {
            "ListenAddress": "127.0.0.1",
            "Port": self.port,
            "HostKey": folder / "host",
            "AuthorizedKeysFile": folder / "user.pub",
            "StrictModes": "no",
            "PidFile": "none",
            "UsePAM": "no",
        }
        config = folder / "sshd_config"
        config.write_text("".join(f"{name} {value}\n" for name, value in options.items()))
        self._key = folder / "user"
        self._server = subprocess.Popen([program, "-D", "-e", "-f", str(config)],
                                        stderr=subprocess.DEVNULL)  # fmt: skip

    def command(self, *words: str) -> list[str]:
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR",
                   "ConnectionAttempts=20"]  # fmt: skip
        flags = [word for option in options for word in ("-o", option)]
        where = f"{getpass.getuser()}@127.0.0.1"
        quoted = " ".join(f"'{word}'" for word in words)
        return ["ssh", "-tt", "-p", str(self.port), "-i", str(self._key), *flags, where, quoted]

    def close(self) -> None:
        self._server.terminate()
        self._server.wait(10)


class Walk(NamedTuple):
    window: Any
    ids: Ids
    folder: Path


@pytest.fixture(params=KINDS, ids=str)
def walk(
    tmp_path: Path, request: pytest.FixtureRequest, open_window: Callable[..., Any]
) -> Iterator[Walk]:
    kind: Kind = request.param
    ids = asyncio.run(prepare(tmp_path / "data"))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one.txt").write_text("one two three\n")
    words = [f"TERM={kind.term}", *(() if kind.colour else ("NO_COLOR=1",))]
    # In a folder of its own: what is exported is written where one is.
    command = [
        "env",
        f"--chdir={tmp_path / 'files'}",
        *words,
        sys.executable,
        "-c",
        PROGRAM,
        "--data",
        str(tmp_path / "data"),
    ]
    server = Sshd(tmp_path) if kind.ssh else None
    window = open_window(*(server.command(*command) if server else command), size=kind.size)
    yield Walk(window, ids, tmp_path / "files")
    if server is not None:
        server.close()


def run(window: Any, line: str) -> None:
    """Type a command as fast as a terminal sends it."""
    window.press("1")
    window.until(_on_first, "the first screen")
    window.type(f":{line}")
    window.until(lambda text: line.rsplit(maxsplit=1)[-1] in text, f"the line {line!r} as typed")
    window.press("Enter")


def _on_first(text: str) -> bool:
    head = text.split("\n", maxsplit=1)[0]
    return " overview " in head and "▸" not in head


def _answered(text: str) -> bool:
    return "▸" in text.split("\n", maxsplit=1)[0] and "reading" not in text and "asking" not in text


def do(window: Any, name: str, line: str) -> str:
    """Run an action and wait for what it says; the screen on which it says it."""
    spec = ACTIONS[name]
    run(window, line)
    if spec.destructive:
        plan = window.until(
            lambda text: " y yes" in text or "yes, when it is right" in text, f"the plan of {name}"
        )
        if " y yes" in plan:
            window.press("y")
        else:
            window.enter("production")
    if name == "agent.token":
        text = window.until(lambda text: "Shown this once" in text, "the token")
        window.press("Escape")
        return str(text)
    if spec.query and spec.result is not views.Done:
        return str(window.until(_answered, f"the answer to {line}"))
    return str(window.until(lambda text: f"{name}:" in text, f"what {line} has done"))


def _backup_in(text: str) -> str:
    """The name of the new backup, out of the toast, which breaks it off where it likes."""
    found = re.search(r"backup\.create: (\S+)", text)
    assert found is not None, text
    return found[1]


def test_every_screen_every_action_no_key_lost(walk: Walk) -> None:
    window = walk.window
    window.until(lambda text: "No swarm runs yet" in text, "the first screen")
    for screen in SCREENS:
        run(window, screen)
        window.until(lambda text, name=screen: f" {name} " in text.split("\n")[0], screen)
    # Typed ahead: thirty motions in one burst move the cursor by thirty rows.
    window.press("4")
    window.until(lambda text: "1 of " in text and "digest" in text, "the queue")
    window.type("j" * 30)
    window.until(lambda text: re.search(r"\b31 of \d+", text), "the cursor thirty rows down")
    window.type("k" * 30)
    window.until(lambda text: re.search(r"\b1 of \d+", text), "the cursor back at the top")
    run(window, "swarm create development --agents 0 --memory 64MB")
    text = window.until(lambda text: re.search(r"dev_swarm_\w{8}", text), "a swarm")
    found = re.search(r"dev_swarm_\w{8}", text)
    assert found is not None
    table = lines(walk.ids, found[0], walk.folder)
    backup = ""
    for name in [name for name in table if name != "stop"]:
        said = do(window, name, table[name].replace(BACKUP, backup))
        if name == "backup.create":
            backup = _backup_in(said)
    run(window, table["stop"])
    time.sleep(0.3)
    if not window.ended:
        window.press("y")
    window.until_ended()


TMUX_KEYS: Final = {
    "escape": "Escape", "enter": "Enter", "space": "Space", "tab": "Tab", "shift+tab": "BTab",
    "pageup": "PageUp", "pagedown": "PageDown", "home": "Home", "end": "End", "up": "Up",
    "down": "Down", "left": "Left", "right": "Right", "shift+left": "S-Left",
    "shift+right": "S-Right",
}  # fmt: skip
AGAIN: Final = 3
ONCE: Final = '[{"type": "a", "max_retries": 0}, {"type": "b"}]'
SOON_S: Final = 5.0
LEAVING: Final = frozenset({"quit", "detach", "demo"})
"""What a key must not do here: leave, or begin long work. The walk over the actions does so."""


def keys_of(screen: str) -> list[tuple[str, str]]:
    """Every key of a screen, as tmux names it, and what it runs."""
    place = Place(screen)
    shown = OverviewScreen(Moment(), "") if screen == "overview" else screen_for(place, Moment())
    names = [(name, key.run) for key in keymap().of(shown.groups) for name in key.names]
    return [(_tmux_key(name), run) for name, run in names if run not in LEAVING]


def _tmux_key(name: str) -> str:
    return TMUX_KEYS.get(name) or name.replace("ctrl+", "C-")


def test_every_key_of_every_screen(walk: Walk) -> None:
    window = walk.window
    window.until(lambda text: "No swarm runs yet" in text, "the first screen")
    for screen in SCREENS if os.environ.get("STRESS") else ["queue"]:
        for key, run_ in keys_of(screen):
            there(window, screen)
            window.press(key)
            time.sleep(0.05)
            text = window.until(_there_is_a_head, f"{key} ({run_}) on {screen}")
            assert "defect" not in text.lower(), f"{key} ({run_}) on {screen}\n{text}"


def _there_is_a_head(text: str) -> bool:
    return "SwarmDeck" in text.split("\n", maxsplit=1)[0]


def there(window: Any, screen: str) -> None:
    """On a screen, whatever is in front now: out of dialogs and bars, and a line typed at once. A
    plan that was still being read opens behind these keys, so they may be needed again."""
    head = re.compile(rf"(^ SwarmDeck|▸) +{screen} ")
    for _ in range(AGAIN):
        window.press("Escape", "Escape", "Escape", "Escape")
        window.type(f":{screen}\r")
        deadline_s = time.monotonic() + SOON_S
        while time.monotonic() < deadline_s:
            if head.search(window.text.split("\n")[0]):
                return
            time.sleep(0.03)
    window.until(lambda text: head.search(text.split("\n")[0]), screen)

"""Planted secrets are found nowhere that is written, shown, logged or told (S6).

A real engine in a process of its own, at its most talkative; agents as processes; everything it
says, keeps and hands out is searched for what was planted, in every form it could take.
"""

from __future__ import annotations

import asyncio
import base64
import os
import resource
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
import pytest

from swarmdeck.engine import Engine, connect
from swarmdeck.engine import actions as act
from swarmdeck.engine.agent import Identity
from swarmdeck.engine.errors import SwarmDeckError
from swarmdeck.engine.link import protocol
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.swarms.supervisor import Launch
from swarmdeck.engine.swarms.tokens import Fresh
from swarmdeck.engine.views import TokenView

KEY: Final = bytes(range(101, 133))
PLANTED: Final = {
    "passphrase": "canary-passphrase-kj3h5k",
    "new passphrase": "canary-rekeyed-8w7e6r",
    "key": base64.b64encode(KEY).decode(),
    "redis password": "canary-redis-x9c8v7",
    "value": "canary-value-q1w2e3",
    "wrong token": "canary-wrong-token-" + "z" * 33,
}


def forms(secret: str) -> Iterator[bytes]:
    """As text, hex and base64, in each alignment."""
    raw = secret.encode()
    yield raw
    yield raw.hex().encode()
    for shift in range(3):
        yield base64.b64encode(b"\0" * shift + raw)[4:-4]


def found(text: bytes, secrets: dict[str, str]) -> list[str]:
    hits = [name for name, secret in secrets.items() if any(f in text for f in forms(secret))]
    return hits + (["raw key"] if KEY in text or KEY.hex().encode() in text else [])


def files(*roots: Path) -> Iterable[Path]:
    return (path for root in roots for path in root.rglob("*") if path.is_file())


class Running:
    """An engine as a process, and what it said."""

    def __init__(self, process: asyncio.subprocess.Process, data: Path) -> None:
        self.process = process
        self.data = data


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment of its own for processes, with secrets in it."""
    places = {name: tmp_path / name for name in ("config", "state", "tmp", "runtime")}
    for place in places.values():
        place.mkdir(mode=0o700)
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(places["config"]),
        "XDG_STATE_HOME": str(places["state"]),
        "XDG_RUNTIME_DIR": str(places["runtime"]),
        "TMPDIR": str(places["tmp"]),
        "REDIS_PASSWORD": PLANTED["redis password"],
        "PYTHONASYNCIODEBUG": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


@asynccontextmanager
async def served(data: Path, home: dict[str, str], said: Path) -> AsyncIterator[Running]:
    with said.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "swarmdeck.engine.cli", "--data", str(data), "--debug",
            "--log-level", "debug", "serve", env=home, stdout=asyncio.subprocess.PIPE, stderr=log,
        )  # fmt: skip
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert (await process.stdout.readline()).startswith(b"ready")
        try:
            yield Running(process, data)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            rest = await process.communicate()
            log.write(rest[0])


async def command(home: dict[str, str], data: Path, *words: str, given: str = "") -> bytes:
    """All that a command says, whether it succeeds or not."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "swarmdeck.engine.cli", "--data", str(data), "--debug", *words,
        env=home, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(given.encode()), 60)
    return said


async def tried(engine: Engine, action: act.Action) -> str:
    """What is said about it, also when it is refused."""
    try:
        return repr(await engine.run(action))
    except SwarmDeckError as error:
        return f"{error!r} {error.message} {error.hint} {error.report()}"


async def use(engine: Engine) -> tuple[dict[str, str], list[str]]:
    """Let every secret pass through the engine; the tokens it made, and what it said."""
    said = []
    agent = await engine.agents.register("production", name="owner")
    await engine.memory(agent).set("secret", PLANTED["value"])
    with suppress(SwarmDeckError):
        await engine.memory(agent).set("secret", PLANTED["value"], if_version=99)
    with suppress(SwarmDeckError):
        await engine.memory(agent).set("secret", PLANTED["value"], level="system")
    token = await engine.run(act.AgentToken(id=agent.id))
    with suppress(SwarmDeckError):
        await connect_wrongly(engine, agent.id)
    for action in (
        act.VaultRekey(source="passphrase", passphrase=PLANTED["passphrase"]),
        act.VaultSeal(),
        act.VaultUnseal(passphrase="canary-wrong-pass-1"),
        act.VaultUnseal(passphrase=PLANTED["passphrase"]),
        act.VaultRekey(source="passphrase", passphrase=PLANTED["new passphrase"]),
        act.AgentRevoke(id=agent.id),
    ):
        said.append(repr(action))
        said.append(await tried(engine, action))
    assert sum("state='open'" in each for each in said) == 3  # of both rekeys and an unseal
    return {"agent token": token.token}, said


async def connect_wrongly(engine: Engine, agent: str) -> None:
    async with connect(engine.data, agent=agent, token=PLANTED["wrong token"]):
        pass


async def told(engine: Engine) -> list[str]:
    """All that the engine can be asked about what has happened and how it is."""
    wanted: list[act.Action] = [
        act.JournalList(limit=1000), act.AuditList(limit=1000), act.AlertList(), act.ConfigShow(),
        act.Status(), act.VaultStatus(), act.DatabaseStats(), act.DatabaseSlow(), act.Doctor(),
        act.DatabasePragmas(), act.AclList(), act.AgentList(),
    ]  # fmt: skip
    return [await tried(engine, action) for action in wanted]


async def test_no_secret_is_found_in_anything_that_is_said_or_kept(
    tmp_path: Path, home: dict[str, str]
) -> None:
    data, said_by_it = tmp_path / "data", tmp_path / "engine.log"
    heard: list[str] = []
    async with served(data, home, said_by_it) as running:
        async with connect(data) as engine:
            events = asyncio.ensure_future(listen(engine, heard))
            secrets, said = await use(engine)
            swarm = await engine.swarms.create("development", agents=1, memory_bytes=64 << 20)
            started = await started_tokens(engine, swarm.id)
            secrets |= {f"started with {pid}": token for pid, token in started.items()}
            said += await told(engine)
            export = tmp_path / "audit.jsonl"
            said.append(
                await tried(engine, act.AuditExport(environment="production", file=str(export)))
            )
            command_lines = processes(running.process.pid, *started)
            for pid in started:
                inherited = Path(f"/proc/{pid}/environ").read_bytes()
                assert found(inherited, PLANTED) == []
            await engine.swarms.terminate(swarm.id, force=True)
            events.cancel()
        outputs = [
            await command(home, data, "vault", "unseal", "--json", given="canary-wrong-pass-2\n"),
            await command(home, data, "config", "show", "--json"),
            await command(home, data, "doctor", "--json"),
            await command(home, data, "audit", "list", "--json"),
            await command(home, data, "agent", "token", "prod_agent_00000000"),
        ]
    secrets |= PLANTED
    secrets |= {"wrong passphrase": "canary-wrong-pass-1", "another": "canary-wrong-pass-2"}
    texts = {"engine": said_by_it.read_bytes(), "asked": "\n".join(said).encode()}
    texts |= {"events": "\n".join(heard).encode(), "command lines": command_lines}
    texts |= {f"command {n}": output for n, output in enumerate(outputs)}
    texts |= {str(path): path.read_bytes() for path in files(data, Path(home["TMPDIR"]))}
    texts |= {str(path): path.read_bytes() for path in files(Path(home["XDG_STATE_HOME"]))}
    texts |= {str(export): export.read_bytes() if export.exists() else b""}
    assert texts["engine"]  # it did talk
    hits = {name: hit for name, text in texts.items() if (hit := found(text, secrets))}
    assert hits == {}


async def test_a_key_that_is_given_by_a_variable_goes_nowhere(
    tmp_path: Path, home: dict[str, str]
) -> None:
    data, said_by_it = tmp_path / "data", tmp_path / "engine.log"
    home["SQLITE_ENCRYPTION_KEY"] = PLANTED["key"]
    async with served(data, home, said_by_it), connect(data) as engine:
        await engine.memory("development").set("secret", PLANTED["value"])
        swarm = await engine.swarms.create("development", agents=1, memory_bytes=64 << 20)
        pids = list(await started_tokens(engine, swarm.id))
        inherited = [Path(f"/proc/{pid}/environ").read_bytes() for pid in pids]
        said = "\n".join(await told(engine)).encode()
        await engine.swarms.terminate(swarm.id, force=True)
    assert all(found(each, PLANTED) == [] for each in inherited)
    kept = [path.read_bytes() for path in files(data, Path(home["TMPDIR"]))]
    assert [
        hit for text in (*kept, said, said_by_it.read_bytes()) for hit in found(text, PLANTED)
    ] == []


async def listen(engine: Engine, heard: list[str]) -> None:
    async for event in engine.events():
        heard += [repr(event)]


async def started_tokens(engine: Engine, swarm: str) -> dict[int, str]:
    """What the processes of a swarm were started with, as anyone of this user can read it."""
    async with asyncio.timeout(30):
        while True:
            agents = [
                each for each in await engine.agents.list("development") if each.swarm == swarm
            ]
            pids = [each.pid for each in agents if each.pid is not None and each.state == "ready"]
            if pids:
                return {pid: environ_token(pid) for pid in pids}
            await asyncio.sleep(0.05)


def environ_token(pid: int) -> str:
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next(e for e in entries if e.startswith(b"SWARMDECK_TOKEN=")).partition(b"=")[2].decode()


def processes(*pids: int) -> bytes:
    return b"\n".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)


def test_the_search_finds_what_is_planted() -> None:
    """The test can fail: each secret is found in each form, and in the middle of things."""
    for secret in PLANTED.values():
        for form in forms(secret):
            assert found(b"before" + form + b"after", {"it": secret}) == ["it"]
    assert found(b"x" + KEY, {}) == ["raw key"]


# --- what holds a secret does not show it ---------------------------------------------------------


@pytest.mark.parametrize(
    "holder",
    [
        act.VaultUnseal(passphrase="canary"),
        act.VaultRekey(source="passphrase", passphrase="canary"),
        TokenView(agent="dev_agent_1", token="canary", expires_at_us=1),
        Fresh("canary", b"", 1),
        Identity(socket=Path("s"), agent="dev_agent_1", token="canary"),
        Launch(agent="a", environment="e", swarm="s", token="canary", command=()),
        protocol.Hello(1, "dev_agent_1", "canary"),
        load_settings(None, {"REDIS_PASSWORD": "canary"}, {}),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_reprs_hide_secrets(holder: object) -> None:
    assert "canary" not in repr(holder)
    assert "canary" not in str(holder)
    assert "canary" not in f"{holder}"


def test_actions_still_cross_with_their_secrets() -> None:
    wanted = act.VaultUnseal(passphrase="canary")
    assert msgspec.json.decode(msgspec.json.encode(wanted), type=act.VaultUnseal) == wanted
    assert repr(wanted) == "VaultUnseal(passphrase=…)"


async def test_a_process_that_crashes_leaves_no_memory_image(tmp_path: Path) -> None:
    """Planted: without `leave_no_core` the limit is what the shell gave."""
    script = (
        "import resource\n"
        "from swarmdeck.engine import process\n"
        "process.leave_no_core()\n"
        "print(*resource.getrlimit(resource.RLIMIT_CORE))\n"
    )
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    said, _ = await running.communicate()
    soft, hard = map(int, said.split())
    assert soft in {0, 1}
    assert hard == resource.getrlimit(resource.RLIMIT_CORE)[1]

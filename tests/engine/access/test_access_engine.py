"""Access as an engine gives it: broken glass and who is told, roles of the operator and of agents,
exports, and rights as a sheet."""

from __future__ import annotations

import asyncio
import csv
import io
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from swarmdeck.engine import Engine, connect
from swarmdeck.engine import actions as act
from swarmdeck.engine.cli.sheets import matrix_csv
from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.errors import Denied, InvalidInput, NotFound
from swarmdeck.engine.events import GlassBroken
from swarmdeck.engine.link.client import LinkPort
from swarmdeck.engine.lock import find_socket
from swarmdeck.engine.model import OPERATOR_PRINCIPAL
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.views import CellView, MatrixRow, MatrixView, SubjectView

ROLES = {"production": "monitor", "testing": "admin", "research": "coordinator"}


@asynccontextmanager
async def opened(data: Path, **roles: str) -> AsyncIterator[Core]:
    overrides = {f"operator.{name}": role for name, role in roles.items()}
    settings = load_settings(None, {}, overrides)
    async with open_core(
        data, settings=settings, transient=False, headless=True, clock=None
    ) as core:
        yield core


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with opened(tmp_path) as found:
        yield found


@pytest.fixture
def engine(core: Core) -> Engine:
    return core.engine


async def register(engine: Engine, environment: str = "development", **kind: Any) -> str:
    return (await engine.agents.register(environment, name="x", **kind)).id


async def attach(core: Core, agent: str, stack: AsyncExitStack) -> Engine:
    token = await core.engine.run(act.AgentToken(id=agent))
    return await stack.enter_async_context(connect(core.data, agent=agent, token=token.token))


# --- break-glass ------------------------------------------------------------------------------


async def test_broken_glass_is_read_shown_told_and_ends_with_a_revoke(
    core: Core, engine: Engine
) -> None:
    owner = await register(engine)
    await engine.memory(owner).set("diary", "dear diary")
    memory = engine.memory("development")
    assert await memory.get("diary") is None
    events = engine.events()
    entry = await engine.acl.break_glass("development", "diary", reason="an agent is stuck")
    assert await memory.get("diary") == "dear diary"
    assert (await engine.views.overview()).breaking == (entry,)
    said = await engine.acl.explain("operator", "read", "diary", environment="development")
    assert (said.allowed, said.rule) == (True, "break-glass")
    told = [event for event in await events.take() if isinstance(event, GlassBroken)]
    assert told == [GlassBroken(entry, owner)]
    [noted] = [e for e in await engine.run(act.JournalList()) if e.kind == "glass"]
    assert (noted.subject, noted.severity) == (owner, "critical")
    assert "an agent is stuck" in noted.text
    [row] = [r for r in await engine.run(act.AuditList()) if r.action == "acl.breakglass"]
    assert row.actor == "operator"
    assert "an agent is stuck" in row.detail
    read = await engine.run(act.AuditList(actor="operator", contains="diary"))
    assert ("memory.get", "private") in [(r.action, r.detail) for r in read]
    matrix = await engine.run(act.AclMatrix(environment="development"))
    assert [subject.id for subject in matrix.subjects] == ["operator", owner]
    assert matrix.rows[0].cells[0].rule == "break-glass"
    assert "an agent is stuck" in matrix.rows[0].cells[0].note
    why = await engine.run(act.Explain(subject=entry.id))
    assert "to read private records default/diary" in why.verdict
    await engine.acl.revoke(entry)
    assert await memory.get("diary") is None
    assert (await engine.views.overview()).breaking == ()


async def test_the_owner_of_a_record_hears_that_its_glass_was_broken(
    core: Core, engine: Engine
) -> None:
    owner, other = await register(engine), await register(engine)
    await engine.memory(owner).set("diary", 1)
    heard: dict[str, list[str]] = {owner: [], other: []}
    ports = []
    for agent, words in heard.items():
        token = await engine.run(act.AgentToken(id=agent))
        socket = find_socket(core.data)
        assert socket is not None
        port = await LinkPort.open(socket, agent=agent, token=token.token, on_notice=words.append)
        ports.append(port)
    await engine.acl.break_glass("development", "diary", reason="an agent is stuck")
    while not heard[owner]:
        await asyncio.sleep(0)
    assert heard == {owner: ["glass default/diary"], other: []}
    for port in ports:
        await port.close()


async def test_no_agent_breaks_glass(core: Core, engine: Engine) -> None:
    owner, admin = await register(engine), await register(engine, role="admin")
    await engine.memory(owner).set("diary", 1)
    async with AsyncExitStack() as stack:
        link = await attach(core, admin, stack)
        with pytest.raises(Denied):
            await link.acl.break_glass("development", "diary", reason="curious")


# --- agents over the socket -------------------------------------------------------------------


async def test_an_agent_grants_over_its_own_records_and_takes_it_back(
    core: Core, engine: Engine
) -> None:
    owner, other = await register(engine), await register(engine)
    await engine.memory(owner).set("plan", 1)
    async with AsyncExitStack() as stack:
        mine, theirs = await attach(core, owner, stack), await attach(core, other, stack)
        entry = await mine.acl.grant(other, level="private", key_prefix="plan")
        assert entry.granted_by == owner
        assert await theirs.memory(other).get("plan") == 1
        assert [view.id for view in await theirs.acl.list()] == [entry.id]
        with pytest.raises(Denied, match=f"made by {owner}"):
            await theirs.acl.revoke(entry)
        await mine.acl.revoke(entry)
        assert await theirs.memory(other).get("plan") is None
        with pytest.raises(Denied):
            await mine.acl.grant(other, level="private", by=other)


async def test_an_agent_sees_the_entries_that_concern_it(core: Core, engine: Engine) -> None:
    first, second, admin = [await register(engine) for _ in range(2)] + [
        await register(engine, role="admin")
    ]
    await engine.acl.grant(first)
    mine = await engine.acl.deny(second)
    async with AsyncExitStack() as stack:
        link, over = await attach(core, second, stack), await attach(core, admin, stack)
        assert await link.acl.list() == [mine]
        assert len(await over.acl.list()) == 2
        with pytest.raises(NotFound):
            await link.run(act.Explain(subject=(await engine.acl.list(first))[0].id))


async def test_a_coordinator_steers_the_queue_of_its_environment_and_no_other(
    core: Core, engine: Engine
) -> None:
    swarm = await engine.swarms.create("development", agents=0, memory_bytes=16 << 20)
    coordinator = await register(engine, role="coordinator", swarm=swarm.id)
    monitor = await register(engine, role="monitor")
    ident = await engine.queue("development").send("work", {"a": 1})
    away = await engine.queue("testing").send("work", {})
    async with AsyncExitStack() as stack:
        link = await attach(core, coordinator, stack)
        looks = await attach(core, monitor, stack)
        assert (await looks.run(act.QueueShow(id=ident))).body == {"a": 1}
        with pytest.raises(Denied, match="needs the role coordinator"):
            await looks.run(act.QueueCancel(id=ident))
        assert (await link.run(act.QueueCancel(id=ident))).state == "cancelled"
        assert (await link.run(act.QueueRetry(id=ident))).state == "ready"
        assert (await link.run(act.QueueEdit(id=ident, priority=9))).priority == 9
        assert (await link.run(act.QueuePurge(environment="development", state="ready"))).changed
        scaled = await link.run(act.SwarmScale(id=swarm.id, agents=0, memory_bytes=32 << 20))
        assert scaled.memory_bytes == 32 << 20
        for action in (act.QueueCancel(id=away), act.Status(), act.Stop()):
            with pytest.raises(Denied):
                await link.run(action)


async def test_a_role_that_is_taken_back_is_gone_at_once(core: Core, engine: Engine) -> None:
    agent = await register(engine, role="monitor")
    async with AsyncExitStack() as stack:
        link = await attach(core, agent, stack)
        assert await link.run(act.QueueList()) == []
        await engine.agents.update(agent, role="agent")
        with pytest.raises(Denied):
            await link.run(act.QueueList())


async def test_no_agent_gets_the_system_role(core: Core) -> None:
    registry = core.places["development"].registry
    for role in ("system", "king"):
        with pytest.raises(InvalidInput, match="no agent has the role"):
            await registry.register(name="x", role=role)


# --- the operator's roles ---------------------------------------------------------------------


async def test_the_operators_role_holds_for_every_way_in(tmp_path: Path) -> None:
    async with opened(tmp_path) as core:
        live = await register(core.engine, "production")
        await core.engine.memory("production").set("k", 1, level="public")
        await core.engine.memory(live).set("secret", 1)
    async with opened(tmp_path, **ROLES) as core, connect(tmp_path) as far:
        views = (await core.engine.views.overview()).environments
        assert {v.name: v.role for v in views} == ROLES | {
            "development": "system", "staging": "system"
        }  # fmt: skip
        for engine in (core.engine, far):
            assert await engine.memory("production").get("k") == 1
            for refused in (
                engine.memory("production").set("k", 2),
                engine.memory("production").delete("k"),
                engine.memory(live).get("secret"),
                engine.memory(live, environment="production").keys(),
                engine.queue("production").send("work", {}),
                engine.queue("production").claim(),
                engine.queue("production", as_=live).claim(),
                engine.publish("prod.news", 1),
                engine.publish("everyone", 1),
                engine.run(act.MemorySet(environment="production", key="k", value=2)),
                engine.run(act.MemoryGet(environment="production", key="k", actor=live)),
                engine.acl.grant(live),
                engine.acl.break_glass("production", "secret", reason="curious"),
                engine.acl.break_glass("testing", "secret", reason="curious"),
                engine.run(act.BackupCreate(environment="production")),
                engine.run(act.AgentToken(id=live)),
                engine.run(act.Stop()),
            ):
                with pytest.raises(Denied, match="role"):
                    await refused
            await engine.memory("research").set("k", 1)
            await engine.publish("dev.news", 1)
        events = await core.engine.run(act.JournalList())
        assert any("needs the role" in event.text for event in events)


async def test_the_operator_decides_about_records_by_its_role(tmp_path: Path) -> None:
    async with opened(tmp_path, testing="admin", research="monitor") as core:
        found = {}
        for name in ("development", "testing", "research"):
            registered = await core.places[name].registry.register(name="x")
            agent = core.resolve(registered.id)
            await core.places[name].memory.set(agent, "default", "k", 0, b"1", "team")
            told = [
                await core.engine.acl.explain("operator", right, "k", environment=name)
                for right in ("read", "write", "delete", "grant")
            ]
            found[name] = "".join(view.action[0] for view in told if view.allowed)
        assert found == {"development": "rdg", "testing": "dg", "research": ""}


# --- exports ----------------------------------------------------------------------------------


async def test_an_export_is_read_from_the_target_until_it_is_revoked(engine: Engine) -> None:
    maker, reader = await register(engine, "staging"), await register(engine, "research")
    await engine.memory(maker).mset({"model:1": 1, "log:1": 2}, level="public")
    seen = engine.memory(reader, environment="staging")
    assert await seen.keys() == ([], None)
    rule = await engine.acl.export("staging", "research", name="nightly", key_prefix="model:")
    assert await seen.keys() == (["model:1"], None)
    assert await seen.mget(["model:1", "log:1"]) == {"model:1": 1}
    rows = await engine.run(act.MemoryList(environment="staging", actor=reader))
    assert [row.key for row in rows] == ["model:1"]
    why = await engine.acl.explain(reader, "read", "model:1", environment="staging")
    assert (why.rule, rule.id in why.detail) == ("export", True)
    with pytest.raises(Denied):
        await seen.set("model:1", 2)
    await engine.acl.revoke(rule)
    assert await seen.keys() == ([], None)
    with pytest.raises(InvalidInput, match="production exports nothing"):
        await engine.acl.export("production", "research", name="x")


async def test_hours_of_an_entry_are_taken_and_explained(engine: Engine) -> None:
    agent = await register(engine)
    entry = await engine.acl.grant(
        agent, hours="09:00-17:30", days=("mon", "fri"), zone="Europe/Berlin"
    )
    why = await engine.run(act.Explain(subject=entry.id))
    assert "it counts only 09:00-17:30 mon, fri Europe/Berlin" in [r.text for r in why.reasons]
    with pytest.raises(InvalidInput):
        await engine.acl.grant(agent, hours="nine to five")


async def test_an_explanation_says_when_a_granter_is_gone(engine: Engine) -> None:
    owner, other = await register(engine), await register(engine)
    entry = await engine.acl.grant(other, level="team", by=owner)
    why = await engine.run(act.Explain(subject=entry.id))
    assert "has no effect" not in why.verdict
    await engine.agents.unregister(owner)
    why = await engine.run(act.Explain(subject=entry.id))
    assert "has no effect" in why.verdict
    assert "not registered any more" in why.reasons[0].text


# --- as a sheet -------------------------------------------------------------------------------


async def command(*words: str) -> tuple[int | None, str]:
    """Exit code and output of a command in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "swarmdeck.engine.cli", *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_matrix_is_written_as_csv(core: Core, engine: Engine) -> None:
    owner, other = await register(engine), await register(engine)
    await engine.memory(owner).set("=plan,1", 1, level="team")
    await engine.acl.grant(other, level="team", hours="00:00-24:00")
    words = ["--data", str(core.data), "acl", "matrix", "development", "--csv"]
    code, output = await command(*words)
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(output)))
    assert [(row["key"], row["subject"]) for row in rows] == [
        ("'=plan,1", each) for each in sorted((owner, other))
    ]
    by_subject = {row["subject"]: row for row in rows}
    mine, theirs = by_subject[owner], by_subject[other]
    rights = ("read", "write", "delete")
    assert [mine[right] for right in rights] == ["yes", "yes", "yes"]
    assert [theirs[right] for right in rights] == ["yes", "no", "no"]
    assert (mine["rule"], mine["note"], theirs["rule"]) == ("level", "", "grant")
    assert "00:00-24:00 UTC" in theirs["note"]
    assert theirs["note"].startswith("until 2")
    assert await command(*words, "--json") == (2, "")


def test_a_sheet_shows_every_right_and_note() -> None:
    who = SubjectView(id="a", name="N", swarm=None, teams=(), role="admin")
    cell = CellView(rights="r--", rule="break-glass", note="until then, an agent is stuck")
    row = MatrixRow(key="k", namespace="n", level="private", owner="o", team=None, cells=(cell,))
    view = MatrixView(environment="development", subjects=(who,), rows=(row,))
    header, line = matrix_csv(view).splitlines()
    assert header.split(",")[-5:] == ["read", "write", "delete", "rule", "note"]
    assert line == (
        'development,n,k,private,o,,a,N,admin,yes,no,no,break-glass,"until then, an agent is stuck"'
    )
    assert msgspec.json.decode(msgspec.json.encode(view), type=MatrixView) == view


async def test_what_is_denied_is_denied_for_the_operator_principal_too(core: Core) -> None:
    with pytest.raises(Denied):
        await core.places["development"].access.break_glass(
            core.resolve(await register(core.engine, role="admin")), "default", "k", "looking"
        )
    assert core.acting("operator") is OPERATOR_PRINCIPAL

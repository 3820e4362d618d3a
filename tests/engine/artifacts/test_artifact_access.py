"""Who may put, read and delete which artifact, and what agents do over the socket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import actions
from swarmdeck.engine.agent import Agent, Identity, connect_agent
from swarmdeck.engine.artifacts import uploads
from swarmdeck.engine.core import open_core
from swarmdeck.engine.errors import Busy, Conflict, Denied, InvalidInput, NotFound
from swarmdeck.engine.settings import load_settings

MIB = 1 << 20


async def three(kept: Any) -> tuple[Any, Any, Any]:
    """An agent, one of its team, and one of neither team nor swarm."""
    team = await kept.engine.agents.create_team("development", name="Web")
    one = await kept.agent("one", team=team.id)
    mate = await kept.agent("mate", team=team.id)
    return one, mate, await kept.agent("other")


async def test_levels_say_who_sees_an_artifact(kept: Any) -> None:
    one, mate, other = await three(kept)
    mine = kept.artifacts(as_=one)
    made = {level: await mine.put(level, b"x", level=level) for level in ("private", "team")}
    theirs, strangers = kept.artifacts(as_=mate), kept.artifacts(as_=other)
    assert [each.name for each in await theirs.list()] == ["team"]
    assert await strangers.list() == []
    for call in (strangers.show, strangers.versions, strangers.lineage, strangers.verify):
        with pytest.raises(NotFound):
            await call(made["team"])
    with pytest.raises(NotFound):
        await anext(theirs.open(made["private"]))
    with pytest.raises(NotFound):
        await strangers.put("child", b"x", parent=made["team"].id)


async def test_the_team_writes_the_next_version_and_it_stays_the_owners(kept: Any) -> None:
    one, mate, other = await three(kept)
    first = await kept.artifacts(as_=one).put("a", b"1", level="team")
    second = await kept.artifacts(as_=mate).put("ignored", b"2", of=first.id)
    assert (second.version, second.owner, second.author) == (2, one.id, mate.id)
    with pytest.raises(NotFound):
        await kept.artifacts(as_=other).put("a", b"3", of=first.id)
    apart = await kept.artifacts(as_=mate).put("a", b"4")
    assert (apart.version, apart.owner) == (1, mate.id)


async def test_an_entry_lets_one_read_and_taking_it_back_ends_it_at_once(
    kept: Any, read: Any
) -> None:
    one, _, other = await three(kept)
    made = await kept.artifacts(as_=one).put("a", os.urandom(MIB + 1), level="team")
    grant = await kept.engine.acl.grant(
        other, resource="artifact", level="team", actions=["read"], key_prefix=made.id
    )
    strangers = kept.artifacts(as_=other)
    assert [each.id for each in await strangers.list()] == [made.id]
    reading = strangers.open(made)
    await anext(reading)
    await kept.engine.acl.revoke(grant)
    with pytest.raises(NotFound):
        await anext(reading)
    assert await strangers.list() == []


async def test_who_may_only_read_deletes_nothing(kept: Any) -> None:
    one, _, other = await three(kept)
    made = await kept.artifacts(as_=one).put("a", b"x", level="public")
    with pytest.raises(Denied):
        await kept.artifacts(as_=other).delete(made)
    assert await kept.artifacts(as_=one).delete(made) == 1


async def test_reads_and_refusals_are_in_the_trail_of_production(kept: Any) -> None:
    agent = await kept.agent("one", environment="production")
    artifacts = kept.artifacts("production")
    made = await artifacts.put("a", b"x", level="private")
    await anext(artifacts.open(made))
    with pytest.raises(NotFound):
        await kept.artifacts("production", as_=agent).show(made)
    rows = await kept.engine.run(actions.AuditList(environment="production", limit=100))
    found = {(row.action, row.actor, row.allowed) for row in rows if row.object == made.id}
    assert {
        ("artifact.put", "operator", True),
        ("artifact.get", "operator", True),
        ("artifact.show", agent.id, False),
    } <= found


# --- over the socket ------------------------------------------------------------------------------


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[tuple[Any, Agent]]:
    async with open_core(
        path / "data",
        settings=load_settings(None, {}, {}),
        transient=False,
        headless=False,
        clock=None,
    ) as core:
        registry = core.places["development"].registry
        agent = await registry.register(name="tester")
        token = await registry.renew_token(agent.id)
        assert core._socket is not None
        async with connect_agent(
            Identity(socket=core._socket, agent=agent.id, token=token)
        ) as client:
            yield core, client


async def test_an_agent_puts_and_saves_files_of_its_own_process(tmp_path: Path) -> None:
    body = os.urandom(3 * MIB + 1)
    (tmp_path / "in").write_bytes(body)
    async with connected(tmp_path) as (_, agent):
        made = await agent.artifacts.put("a.bin", tmp_path / "in", level="public")
        assert (made.author, made.format, made.size_bytes) == (agent.id, "bin", len(body))
        await agent.artifacts.save(made, tmp_path / "out")
        assert [each.id for each in await agent.artifacts.list()] == [made.id]
        assert [each.status for each in await agent.artifacts.verify(made)] == ["ok"]
        assert await agent.artifacts.delete(made) == 1
    assert (tmp_path / "out").read_bytes() == body


async def test_an_agent_has_no_way_to_name_a_file_to_the_engine(tmp_path: Path) -> None:
    async with connected(tmp_path) as (core, agent):
        for role in ("agent", "admin"):
            await core.engine.agents.update(agent.id, role=role)
            for wanted in (
                actions.ArtifactPut(environment="development", file="/etc/hostname"),
                actions.ArtifactGet(id="dev_artifact_1", output=str(tmp_path / "x")),
            ):
                with pytest.raises(Denied):
                    await agent.run(wanted)
    assert not (tmp_path / "x").exists()


async def test_pieces_belong_in_order_and_to_who_began(tmp_path: Path) -> None:
    async with connected(tmp_path) as (core, agent):
        port, me = agent._port, agent.id

        def call(verb: str, *args: object) -> Any:
            return port.call(f"artifact.{verb}", me, "development", *args)

        def begin() -> Any:
            return call("begin", "a", "other", "", None, None, None, None, b"null", True)

        upload = await begin()
        assert await call("append", upload, 0, b"12345") == 5
        with pytest.raises(Conflict, match="byte 5"):
            await call("append", upload, 0, b"12345")
        with pytest.raises(InvalidInput):
            await call("append", upload, 5, bytes(uploads.MAX_PIECE_BYTES + 1))
        place = core.places["development"]
        with pytest.raises(NotFound):
            await place.uploads.append(core.resolve("operator"), upload, 5, b"6")
        more = [await begin() for _ in range(uploads.MOST_OF_ONE - 1)]
        with pytest.raises(Busy):
            await begin()
        ident = await call("finish", upload)
        assert await call("read", ident, 0) == [b"12345", 1]
        with pytest.raises(InvalidInput):
            await call("read", ident, 1)
        for each in more:
            await call("abort", each)
        with pytest.raises(NotFound):
            await call("append", more[0], 0, b"x")
        assert await asyncio.to_thread(place.artifacts.files.parts) == []


async def test_an_upload_that_is_left_alone_ends(
    tmp_path: Path, fake_core: Callable[..., Any]
) -> None:
    async with fake_core() as (core, clock):
        place = core.places["development"]
        handle = core.engine.artifacts("development")
        begun = ("a", "other", "", None, None, None, None, b"null", True)
        upload = await handle._call("artifact.begin", *begun)
        assert await asyncio.to_thread(place.artifacts.files.parts) == [upload]
        clock.advance(uploads.IDLE_S - 1)
        await place.uploads.sweep()
        await handle._call("artifact.append", upload, 0, b"x")
        clock.advance(uploads.IDLE_S + 1)
        await place.uploads.sweep()
        with pytest.raises(NotFound):
            await handle._call("artifact.append", upload, 1, b"x")
        assert await asyncio.to_thread(place.artifacts.files.parts) == []

"""Keys of artifacts: replaced, destroyed, and not there."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from swarmdeck.engine import actions
from swarmdeck.engine.errors import NotFound, Sealed

MIB = 1 << 20


@pytest.mark.parametrize("environment", ["production", "development"])
async def test_new_keys_reach_every_artifact_and_old_ones_are_destroyed(
    kept: Any, read: Any, environment: str
) -> None:
    artifacts, body = kept.artifacts(environment), os.urandom(MIB + 1)
    made = await artifacts.put("a", body, metadata={"n": 1})
    before = kept.contents(environment)[0].read_bytes()
    await kept.engine.run(actions.VaultRotate(environment=environment))
    vault = await kept.engine.run(actions.VaultStatus(environment=environment))
    states = {key.state for ring in vault.environments for key in ring.keys}
    assert states == {"active", "destroyed"}
    assert await read(artifacts, made) == body
    assert (await artifacts.show(made)).metadata == {"n": 1}
    assert kept.contents(environment)[0].read_bytes() == before
    assert {each.status for each in await artifacts.verify()} == {"ok"}


@pytest.mark.parametrize(("environment", "kind"), [("production", "all"), ("development", "rest")])
async def test_a_shred_takes_artifacts_and_their_files(
    kept: Any, read: Any, environment: str, kind: str
) -> None:
    artifacts = kept.artifacts(environment)
    made = await artifacts.put("a", os.urandom(MIB))
    await kept.engine.run(actions.VaultShred(environment=environment, kind=kind))
    assert kept.files(environment) == []
    assert await artifacts.list() == []
    with pytest.raises(NotFound):
        await artifacts.show(made)
    again = await artifacts.put("a", b"after")
    assert again.id != made.id
    assert await read(artifacts, again) == b"after"


async def test_a_shred_of_private_records_leaves_artifacts(kept: Any, read: Any) -> None:
    artifacts = kept.artifacts()
    made = await artifacts.put("a", b"x", level="private")
    await kept.engine.run(actions.VaultShred(environment="development", kind="private"))
    assert await read(artifacts, made) == b"x"


async def test_while_the_vault_is_sealed_artifacts_are_listed_and_no_more(
    kept: Any, read: Any
) -> None:
    artifacts = kept.artifacts("production")
    made = await artifacts.put("a", b"x")
    await kept.engine.run(actions.VaultSeal())
    assert [each.id for each in await artifacts.list()] == [made.id]
    for call in (
        artifacts.put("b", b"x"), artifacts.show(made), anext(artifacts.open(made)),
        artifacts.verify(), artifacts.verify(made),
    ):  # fmt: skip
        with pytest.raises(Sealed):
            await call
    assert len(kept.files("production")) == 1
    await kept.engine.run(actions.VaultUnseal())
    assert await read(artifacts, made) == b"x"
    assert (await artifacts.show(made)).state == "stored"


async def test_names_of_files_tell_nothing_of_what_is_in_them(kept: Any) -> None:
    names = {}
    for environment in ("development", "testing"):
        made = await kept.artifacts(environment).put("a", b"the same")
        [path] = await asyncio.to_thread(kept.contents, environment)
        names[path.name] = made.sha256
    assert len(names) == 2
    assert len(set(names.values())) == 1
    assert not names.keys() & set(names.values())

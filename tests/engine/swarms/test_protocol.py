"""The protocol as docs/protocol.md tells it, in an agent of sixty lines without our packages."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import subprocess
import sys
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.core import Core, open_core
from swarmdeck.engine.dataplane import DataPlane
from swarmdeck.engine.errors import BY_CODE
from swarmdeck.engine.link import protocol
from swarmdeck.engine.link.maps import WALKED_BYTES
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.swarms.presence import MEMORY, RENEW, STOP
from swarmdeck.engine.views import MessageView

DOCS = Path(__file__).parents[3] / "docs"
EXAMPLE = DOCS / "examples" / "agent.py"
ENVIRONMENT = "development"


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Core]:
    settings = load_settings(None, {}, {"agents.kill_after_s": 0.3, "agents.heartbeat_s": 0.2})
    async with open_core(
        directory, settings=settings, transient=False, headless=True, clock=None
    ) as core:
        yield core


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    async with opened(tmp_path) as found:
        yield found


async def until(condition: Callable[[], Any], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


async def ended(core: Core, ident: str) -> MessageView:
    """The message once it is done or dead."""
    async with asyncio.timeout(20):
        while True:
            message = await core.places[ENVIRONMENT].queue.show(ident)
            if message.state in {"done", "dead"}:
                return message
            await asyncio.sleep(0.005)


async def token_of(core: Core, name: str) -> tuple[str, str]:
    registry = core.places[ENVIRONMENT].registry
    agent = await registry.register(name=name)
    return agent.id, await registry.renew_token(agent.id)


@contextmanager
def external(core: Core, agent: str, token: str, grace_s: float = 15) -> Iterator[Any]:
    """The example as an agent that no swarm has started."""
    assert core._socket is not None
    given = {
        "SWARMDECK_SOCKET": str(core._socket), "SWARMDECK_AGENT": agent,
        "SWARMDECK_TOKEN": token, "SWARMDECK_ENVIRONMENT": ENVIRONMENT,
        "SWARMDECK_HEARTBEAT_S": "0.2", "SWARMDECK_ORPHAN_GRACE_S": str(grace_s),
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLE)], env=os.environ | given, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_example_is_short_and_imports_only_the_standard_library() -> None:
    text = EXAMPLE.read_text()
    assert len(text.splitlines()) <= 60
    assert max(map(len, text.splitlines())) <= 100
    names = {
        (alias.name if isinstance(node, ast.Import) else node.module or "").partition(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert names <= set(sys.stdlib_module_names)


def table(title: str) -> list[list[str]]:
    """The rows of the first table below a heading of the page."""
    below = (DOCS / "protocol.md").read_text().split(f"# {title}\n", 1)[1]
    lines = iter(below.splitlines())
    rows = takewhile(lambda line: line[:1] == "|", dropwhile(lambda line: line[:1] != "|", lines))
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in list(rows)[2:]]


def test_the_page_has_every_verb_with_its_arguments() -> None:
    verbs = DataPlane({}, {}).verbs
    told = {name.strip("`"): args for name, args, _ in table("Verbs")}
    assert told.keys() == verbs.keys()
    for name, verb in verbs.items():
        wanted = list(inspect.signature(verb).parameters.values())[2:]
        names = [
            {"ident": "id", "format_": "format"}.get(each.name, each.name)
            + ("" if each.default is each.empty else "?")
            for each in wanted
        ]
        assert told[name] == ", ".join(names), name


def test_the_page_has_every_message_notice_and_error() -> None:
    text = (DOCS / "protocol.md").read_text()
    asked, answered = text.split("From the engine.")
    for kinds, told in (
        (typing.get_args(protocol.Request), asked),
        (typing.get_args(protocol.Response), answered),
    ):
        for kind in kinds:
            assert f"`[{kind.__struct_config__.tag}, " in told, kind
    assert {row[0].strip("`").split()[0] for row in table("Notices")} >= {STOP, RENEW, MEMORY}
    codes = {code.strip("` ") for row in table("Errors") for code in row[0].split(",")}
    assert codes == set(BY_CODE) - {"error"}
    for number in (protocol.MAX_FRAME_BYTES, protocol.MAX_IN_FLIGHT, WALKED_BYTES):
        assert f"{number:,}" in text
    assert f"version {protocol.VERSION}." in text


async def test_the_example_works_as_a_swarm(core: Core) -> None:
    swarm = await core.engine.swarms.create(
        ENVIRONMENT, agents=2, memory_bytes=1 << 28, command=[sys.executable, str(EXAMPLE)]
    )
    queue = core.engine.queue(ENVIRONMENT)
    good = [await queue.send("greet", {"name": f"Ünï {n}", "of": [1, -2]}) for n in range(10)]
    other = await queue.send("another-kind", {})
    bad = await queue.send("greet", {"no": "name"}, max_attempts=1)
    for number, ident in enumerate(good):
        assert (await ended(core, ident)).result == {"said": f"Hello Ünï {number}"}
    assert (await ended(core, bad)).error == "KeyError('name')"
    assert (await core.places[ENVIRONMENT].queue.show(other)).state == "ready"
    await until(lambda: core.swarms.view(swarm.id).agents_ready == 2)
    agents = core.swarms.agents(swarm=swarm.id)
    assert all(agent.heartbeat_age_s is not None and agent.ready_at_us for agent in agents)


async def test_the_example_ends_when_it_is_told_to(core: Core) -> None:
    agent, token = await token_of(core, "outside")
    swarm = await core.engine.swarms.create(ENVIRONMENT, agents=0, memory_bytes=1 << 28)
    await core.engine.swarms.terminate(swarm.id)
    with external(core, agent, token) as process:
        await until(lambda: core.places[ENVIRONMENT].registry.presence.is_connected(agent))
        core._notify(agent, "stop")
        assert await asyncio.to_thread(process.wait, 10) == 0


async def test_the_example_works_on_after_its_engine_was_away(tmp_path: Path) -> None:
    with ExitStack() as stack:
        async with opened(tmp_path) as core:
            agent, token = await token_of(core, "outside")
            first = await core.engine.queue(ENVIRONMENT).send("greet", {"name": "Ada"})
            process = stack.enter_context(external(core, agent, token))
            assert (await ended(core, first)).holder == agent
        async with opened(tmp_path) as core:
            second = await core.engine.queue(ENVIRONMENT).send("greet", {"name": "Eve"})
            assert (await ended(core, second)).result == {"said": "Hello Eve"}
            assert process.poll() is None


async def test_the_example_ends_itself_when_no_engine_comes(tmp_path: Path) -> None:
    with ExitStack() as stack:
        async with opened(tmp_path) as core:
            agent, token = await token_of(core, "outside")
            process = stack.enter_context(external(core, agent, token, grace_s=0.4))
            await until(lambda: core.places[ENVIRONMENT].registry.presence.is_connected(agent))
        _, words = await asyncio.to_thread(process.communicate, None, 10)
        assert process.returncode == 1
        assert words == "orphaned: no engine for 0.4 s\n"


async def test_a_wrong_token_ends_the_example_with_the_reason(core: Core) -> None:
    agent, _ = await token_of(core, "outside")
    with external(core, agent, "wrong") as process:
        _, words = await asyncio.to_thread(process.communicate, None, 10)
        assert process.returncode == 1
        assert "denied" in words

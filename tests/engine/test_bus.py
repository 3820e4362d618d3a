"""Channels within an engine, and between engines through a real Redis."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine import open_engine
from swarmdeck.engine.errors import InvalidInput
from swarmdeck.engine.settings import Settings, load_settings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PORT = free_port()  # of this test process: others run beside it


def start_redis(folder: Path) -> subprocess.Popen[bytes]:
    program = shutil.which("redis-server")
    assert program is not None
    return subprocess.Popen(
        [program, "--port", str(PORT), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""],
        stdout=subprocess.DEVNULL,
    )


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    server = start_redis(tmp_path)
    yield server
    server.terminate()
    server.wait()


def with_redis() -> Settings:
    return load_settings(None, {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(PORT)}, {})


async def until(condition: Callable[[], object], limit_s: float = 15) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.02)


async def state_is(engine: Any, wanted: str) -> None:
    async with asyncio.timeout(15):
        while (await engine.views.overview()).engine.bus != wanted:
            await asyncio.sleep(0.05)


@pytest.mark.redis
async def test_engines_hear_each_other_once_and_survive_the_loss_of_redis(
    redis: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(open_engine(tmp_path / name, settings=with_redis()))
            for name in ("a", "b")
        ]
        await state_is(first, "redis")
        await state_is(second, "redis")
        near: list[Any] = []
        far: list[Any] = []
        await first.subscribe("news", near.append)
        await second.subscribe("news", far.append)
        assert await first.publish("news", {"n": 1}) == 2
        await until(lambda: near and far)
        assert (near, far) == ([{"n": 1}], [{"n": 1}])

        redis.terminate()
        redis.wait()
        assert await first.publish("news", {"n": 2}) == 1
        await until(lambda: len(near) == 2)
        await state_is(first, "redis lost")
        assert await first.memory("development").set("k", 1) == 1, "nothing else needs Redis"


@pytest.mark.redis
async def test_an_engine_finds_redis_again(redis: subprocess.Popen[bytes], tmp_path: Path) -> None:
    async with open_engine(tmp_path / "a", settings=with_redis()) as engine:
        await state_is(engine, "redis")
        redis.terminate()
        redis.wait()
        await state_is(engine, "redis lost")
        again = start_redis(tmp_path)
        try:
            await state_is(engine, "redis")
        finally:
            again.terminate()
            again.wait()


async def test_without_redis_channels_are_local_and_bodies_are_checked(tmp_path: Path) -> None:
    async with open_engine(tmp_path) as engine:
        assert (await engine.views.overview()).engine.bus == "local"
        assert await engine.publish("news", b"nobody listens") == 0
        for channel, body in (("Bad", 1), ("news", object()), ("news", b"x" * (2 << 20))):
            with pytest.raises(InvalidInput):
                await engine.publish(channel, body)

"""What a supervisor such as systemd is told."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.service.notify import Notifier


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        yield listener


def heard(listener: socket.socket) -> dict[str, str]:
    words = listener.recv(4096).decode().split("\n")
    return dict(word.split("=", 1) for word in words)


def test_the_environment_is_taken_so_that_no_agent_speaks_for_the_engine() -> None:
    environment = {
        "NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "6000000",
        "WATCHDOG_PID": str(os.getpid()), "HOME": "/",
    }  # fmt: skip
    notifier = Notifier.taken_from(environment)
    assert environment == {"HOME": "/"}
    assert notifier.is_heard
    assert notifier.watchdog_s == 6.0


@pytest.mark.parametrize(
    "environment",
    [
        {"WATCHDOG_USEC": "6000000"},
        {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "6000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "-6"},
        {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "0"},
    ],
)
def test_a_watchdog_that_is_not_ours_gets_no_sign_of_life(environment: dict[str, str]) -> None:
    assert Notifier.taken_from(environment).watchdog_s is None


def test_ready_reloading_and_stopping_are_said(supervisor: socket.socket) -> None:
    notifier = Notifier(supervisor.getsockname())
    notifier.ready("owns data\nREADY=0")
    assert heard(supervisor) == {
        "READY": "1", "STATUS": "owns data READY=0", "MAINPID": str(os.getpid()),
    }  # fmt: skip
    clock = FakeClock()
    notifier.reloading(clock)
    assert heard(supervisor) == {
        "RELOADING": "1", "MONOTONIC_USEC": str(int(clock.monotonic_s() * 1e6)),
    }  # fmt: skip
    notifier.stopping("told to")
    assert heard(supervisor) == {"STOPPING": "1", "STATUS": "told to"}


async def test_signs_of_life_are_given_while_the_loop_runs(supervisor: socket.socket) -> None:
    notifier = Notifier(supervisor.getsockname(), watchdog_s=0.02)
    alive = asyncio.create_task(notifier.keep_alive())
    for _ in range(3):
        assert await asyncio.to_thread(heard, supervisor) == {"WATCHDOG": "1"}
    alive.cancel()
    await Notifier(None).keep_alive()


def test_an_abstract_address_begins_with_an_at_sign() -> None:
    name = f"swarmdeck-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.settimeout(5)
        Notifier(f"@{name}").status("here")
        assert heard(listener) == {"STATUS": "here"}


def test_a_supervisor_that_is_gone_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier(str(tmp_path / "nobody"))
    with caplog.at_level(logging.WARNING):
        notifier.ready("a")
        notifier.stopping("b")
    assert len(caplog.records) == 1

"""An engine without a console: real processes, signals, terminals and a supervisor that listens.

`STRESS=1` runs each end of a service twenty times, `make test` twice.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine.actions import Action
from swarmdeck.engine.core import open_core
from swarmdeck.engine.engine import connect

ENTRY: Final = "from swarmdeck.console.main import main; raise SystemExit(main())"
LOOKING: Final = """
import asyncio, sys
from swarmdeck.engine import connect
async def main():
    async with connect(sys.argv[1]) as engine:
        print("in", flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""
LIMIT_S: Final = 60.0
STOPS_S: Final = 3.0
TIMES: Final = 20 if os.environ.get("STRESS") else 2
ENDS: Final = {"TERM": signal.SIGTERM, "INT": signal.SIGINT}


def until(condition: Callable[[], Any], what: str) -> Any:
    """What the condition gives once it gives something."""
    deadline_s = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"not seen: {what}"
        time.sleep(0.02)
    return found


class Service:
    """`swarmdeck serve` and commands over one directory, with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.data = home / "data"
        self.config = home / "config/swarmdeck/config.toml"
        self.config.parent.mkdir(parents=True)
        runtime = home / "run"
        runtime.mkdir(mode=0o700)
        self.environment = {
            **os.environ, "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"), "XDG_RUNTIME_DIR": str(runtime),
        }  # fmt: skip
        self.started: list[subprocess.Popen[bytes]] = []

    def serve(self, *words: str, ready: bool = True, **more: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", ENTRY, "--data", str(self.data), "--json", "serve", *words],
            env=self.environment | more.pop("env", {}),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more,
        )  # fmt: skip
        self.started.append(process)
        if ready:
            assert self.line(process)["pid"] == process.pid
        return process

    @staticmethod
    def line(process: subprocess.Popen[bytes]) -> Any:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, process.stderr and process.stderr.read()
        return json.loads(said)

    def ask(self, action: Action) -> Any:
        """What the engine answers, over its socket: a process for each question would be dear."""

        async def asked() -> Any:
            async with connect(self.data) as engine:
                return await engine.run(action)

        return asyncio.run(asked())

    def message(self, ident: str) -> Any:
        return self.ask(act.QueueShow(id=ident))

    def swarm(self, agents: int) -> list[psutil.Process]:
        wanted = act.SwarmCreate(environment="development", agents=agents, memory_bytes=128 << 20)
        self.ask(wanted)
        return self.agents(agents)

    def agents(self, ready: int) -> list[psutil.Process]:
        """The processes of the agents, once so many are ready."""

        def look() -> list[psutil.Process]:
            found = [each for each in self.ask(act.AgentList()) if each.state == "ready"]
            return [psutil.Process(each.pid) for each in found] if len(found) == ready else []

        return list(until(look, f"{ready} agents that are ready"))

    def log(self) -> list[dict[str, Any]]:
        text = (self.data / "logs/engine.log").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def said(self, part: str) -> bool:
        return any(part in line["message"] for line in self.log())

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path)
    yield made
    made.close()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(LIMIT_S)
        yield listener


def heard(listener: socket.socket, word: str) -> dict[str, str]:
    """The next message that says a word, whatever is said before it."""
    while True:
        said = dict(part.split("=", 1) for part in listener.recv(4096).decode().split("\n"))
        if word in said:
            return said


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all have ended. One whose parent has ended stays a zombie where nobody reaps it."""
    return all(map(_has_ended, processes))


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- what its supervisor is told ------------------------------------------------------------


def test_the_supervisor_hears_of_its_whole_life(
    service: Service, supervisor: socket.socket
) -> None:
    told = {"NOTIFY_SOCKET": supervisor.getsockname(), "WATCHDOG_USEC": "400000"}
    server = service.serve(env=told)
    assert heard(supervisor, "READY")["MAINPID"] == str(server.pid)
    heard(supervisor, "WATCHDOG")
    heard(supervisor, "WATCHDOG")
    [agent] = service.swarm(1)
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & agent.environ().keys()
    server.send_signal(signal.SIGHUP)
    heard(supervisor, "RELOADING")
    heard(supervisor, "READY")
    server.send_signal(signal.SIGTERM)
    heard(supervisor, "STOPPING")
    assert server.wait(LIMIT_S) == 0


# --- settings read again --------------------------------------------------------------------


def test_hup_puts_in_force_what_can_be_and_names_the_rest(service: Service) -> None:
    server = service.serve()
    service.config.write_text('[logging]\nlevel = "debug"\n[store]\nbatch_limit = 77\n')
    server.send_signal(signal.SIGHUP)
    until(lambda: service.said("read again: 2 settings"), "the settings are read")
    assert service.said("logging.level: in force")
    assert service.said("store.batch_limit: at the next start")
    service.config.write_text("[logging]\nlevl = 1\n")
    server.send_signal(signal.SIGHUP)
    until(lambda: service.said("the settings stay as they were"), "the file is refused")
    assert service.said("config.toml:2")
    service.config.unlink()
    changed = {each.name: each.state for each in service.ask(act.Reload())}
    assert changed == {"logging.level": "in force"}
    assert server.poll() is None


# --- the directory goes from one engine to the next -------------------------------------------


def test_the_next_engine_takes_up_the_agents_of_one_that_leaves_them(service: Service) -> None:
    first = service.serve()
    before = {agent.pid for agent in service.swarm(2)}
    work = act.QueueSend(environment="development", kind="sleep", body={"seconds": 1.5})
    ident = service.ask(work).id
    until(lambda: service.message(ident).state == "leased", "it is worked on")
    second = service.serve("--wait", "60", "--quiet", ready=False)
    assert service.line(second) == {"waiting_for": first.pid}
    assert service.ask(act.Stop(keep=True)).changed == 2
    assert service.line(second)["pid"] == second.pid
    assert first.wait(LIMIT_S) == 0
    assert {agent.pid for agent in service.agents(2)} == before
    until(lambda: service.message(ident).state == "done", "it is done")
    assert service.message(ident).attempt == 1, "nobody else was given it"
    service.ask(act.Stop())
    assert second.wait(LIMIT_S) == 0
    assert gone([psutil.Process(pid) for pid in before if psutil.pid_exists(pid)])


def test_an_owner_that_stays_is_waited_for_only_so_long(service: Service) -> None:
    first = service.serve()
    second = service.serve("--wait", "0.2", ready=False)
    assert second.wait(LIMIT_S) == 5
    assert second.stderr is not None
    assert str(first.pid) in second.stderr.read().decode()


async def test_a_socket_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with open_core(
        data, settings=None, transient=False, headless=True, clock=None
    ) as core, connect(data) as before:  # fmt: skip
        place = (data / "run/engine.sock").readlink()
        await core.regain_socket()
        place.unlink()
        await core.regain_socket()
        assert place.is_socket()
        async with connect(data) as after:
            assert (await after.views.overview()).engine.pid == os.getpid()
        assert (await before.views.overview()).engine.pid == os.getpid()
    assert not place.exists()


# --- the ends of a service --------------------------------------------------------------------


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("turn", range(TIMES))
def test_told_to_end_it_closes_in_order_and_leaves_nothing(
    service: Service, end: str, turn: int
) -> None:
    server = service.serve()
    agents = service.swarm(2)
    begun_s = time.monotonic()
    server.send_signal(ENDS[end])
    assert server.wait(LIMIT_S) == 0
    assert time.monotonic() - begun_s < STOPS_S
    assert gone(agents)
    assert not (service.data / "run/engine.sock").is_symlink()
    assert not list(service.data.rglob("*-wal")), "every database was closed"
    assert server.stderr is not None
    assert b"Traceback" not in server.stderr.read()
    assert service.said(f"told to end by SIG{end}")


def test_agents_and_consoles_that_do_not_listen_cannot_hold_it_up(service: Service) -> None:
    server = service.serve()
    agents = service.swarm(2)
    console = subprocess.Popen(
        [sys.executable, "-c", LOOKING, str(service.data)],
        env=service.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    service.started.append(console)
    assert console.stdout is not None
    assert console.stdout.readline() == b"in\n"
    for process in (*agents, psutil.Process(console.pid)):
        process.suspend()
    begun_s = time.monotonic()
    server.send_signal(signal.SIGTERM)
    assert server.wait(LIMIT_S) == 0
    assert time.monotonic() - begun_s < STOPS_S
    assert gone(agents)


@pytest.mark.parametrize("turn", range(TIMES))
def test_hup_and_a_closed_terminal_end_neither_it_nor_its_agents(
    service: Service, turn: int
) -> None:
    leader, follower = pty.openpty()

    def lead() -> None:
        os.setsid()
        fcntl.ioctl(follower, termios.TIOCSCTTY, 0)

    server = subprocess.Popen(
        [sys.executable, "-c", ENTRY, "--data", str(service.data), "serve"],
        env=service.environment, stdin=follower, stdout=follower, stderr=follower,
        preexec_fn=lead,  # noqa: PLW1509 - nothing else runs here that could hold a lock
    )  # fmt: skip
    os.close(follower)
    service.started.append(server)
    until((service.data / "logs/engine.log").exists, "it writes its log")
    until(lambda: service.said("serves"), "it serves")
    agents = service.swarm(2)
    server.send_signal(signal.SIGHUP)
    until(lambda: service.said("read again"), "HUP reads the settings")
    os.close(leader)
    until(lambda: sum("read again" in line["message"] for line in service.log()) == 2, "so here")
    assert {agent.pid for agent in service.agents(2)} == {agent.pid for agent in agents}
    begun_s = time.monotonic()
    server.send_signal(signal.SIGTERM)
    assert server.wait(LIMIT_S) == 0
    assert time.monotonic() - begun_s < STOPS_S
    assert gone(agents)


def test_a_killed_service_is_followed_by_one_that_has_its_agents(service: Service) -> None:
    server = service.serve()
    before = {agent.pid for agent in service.swarm(2)}
    server.kill()
    server.wait(LIMIT_S)
    service.serve()
    assert {agent.pid for agent in service.agents(2)} == before


def test_nobody_who_reads_its_output_is_needed(service: Service) -> None:
    server = service.serve()
    assert server.stdout is not None
    assert server.stderr is not None
    server.stdout.close()
    server.stderr.close()
    server.send_signal(signal.SIGHUP)
    until(lambda: service.said("read again"), "it lives on")
    server.send_signal(signal.SIGTERM)
    assert server.wait(LIMIT_S) == 0

"""The command as people and scripts meet it: real processes, real directories, real signals."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from swarmdeck.engine import views
from swarmdeck.engine.cli.main import main
from swarmdeck.engine.cli.options import Options, read_options
from swarmdeck.engine.errors import InvalidInput

LIMIT_S = 60
ENTRY = "from swarmdeck.console.main import main; raise SystemExit(main())"
LOADED = """
import sys
from swarmdeck.console.main import main
code = main()
print(*sys.modules, file=sys.stderr)
raise SystemExit(code)
"""

BEGUN = """
import sys
files = 0
def hook(event, arguments):
    global files
    if event == "open" and str(arguments[0]).endswith(".db"):
        files += 1
    if event in ("_thread.start_new_thread", "socket.bind"):
        print(event, arguments[0], file=sys.stderr)
sys.addaudithook(hook)
import pysqlite3.dbapi2 as library
class Counted(library.Connection):
    pass
connect = library.connect
def counting(*arguments, **named):
    global files
    files += 1
    return connect(*arguments, **named)
library.connect = counting
from swarmdeck.console.main import main
code = main()
print("database", files, file=sys.stderr)
raise SystemExit(code)
"""
GARBAGE = """
import atexit, gc, sys
from swarmdeck.console.main import main
def searches():
    return sum(each["collections"] for each in gc.get_stats())
before = searches()
code = main()
print(searches() - before, file=sys.stderr)
atexit._run_exitfuncs()
print(len(gc.get_objects()), file=sys.stderr)
raise SystemExit(code)
"""


class Shell:
    """Runs commands with a home, a runtime directory and a data directory of their own."""

    def __init__(self, home: Path) -> None:
        self.data = home / "data"
        runtime = home / "run"
        runtime.mkdir(mode=0o700)
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self.environment = kept | {
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(runtime),
            "PYTHONWARNINGS": "error",
        }

    def start(self, *words: str, code: str = ENTRY) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words: str, code: str = ENTRY) -> subprocess.CompletedProcess[bytes]:
        with self.start("--data", str(self.data), *words, code=code) as process:
            try:
                out, err = process.communicate(timeout=LIMIT_S)
            finally:
                process.kill()
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def answer(self, *words: str) -> Any:
        done = self.run(*words, "--json")
        assert (done.returncode, done.stderr) == (0, b""), done
        assert done.stdout.count(b"\n") == 1
        return json.loads(done.stdout)

    def refusal(self, *words: str, code: str = ENTRY) -> tuple[int, dict[str, Any]]:
        done = self.run("--json", *words, code=code)
        assert done.stdout == b""
        assert done.stderr.count(b"\n") == 1, done.stderr
        return done.returncode, json.loads(done.stderr)["error"]

    @contextlib.contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        with self.start("--data", str(self.data), "--json", "serve") as server:
            try:
                assert server.stdout is not None
                ready = json.loads(server.stdout.readline() or b"null")
                assert ready is not None, server.stderr and server.stderr.read()
                assert ready["pid"] == server.pid
                assert Path(ready["socket"]).is_socket()
                yield server
            finally:
                server.kill()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


# --- options --------------------------------------------------------------------------------


def test_options_stand_before_the_command_and_json_anywhere() -> None:
    options, words = read_options(["--data", "d", "--log-level=debug", "status", "--json"])
    assert options == Options(data="d", log_level="debug", json=True)
    assert words == ["status"]
    _, words = read_options(["swarm", "create", "--", "run", "--json", "--data"])
    assert words == ["swarm", "create", "--", "run", "--json", "--data"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dat", "x"], "unknown option '--dat'"),
        (["--data"], "--data needs a value"),
        (["--data="], "--data needs a value"),
        (["--data", "--json"], "--data needs a value"),
        (["--json=yes", "status"], "--json takes no value"),
        (["status", "--data", "x"], "--data stands behind the command"),
        (["status", "--debug"], "--debug stands behind the command"),
    ],
)
def test_a_wrong_option_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_options(words)
    assert refused.value.message == message
    assert refused.value.hint


# --- without an engine ----------------------------------------------------------------------


def test_help_and_version(shell: Shell) -> None:
    assert b"swarm create" in shell.run("--help").stdout
    assert b"--agents N" in shell.run("swarm", "create", "--help").stdout
    assert b"queue send" in shell.run("queue", "-h").stdout
    assert shell.run("--version").stdout.startswith(b"swarmdeck ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["swrm", "list"], "did you mean swarm?"),
        (["srve"], "did you mean serve?"),
        (["swarm", "lst"], "did you mean list?"),
        (["swarm", "list", "prod"], "did you mean production?"),
        (["swarm", "create", "testing", "--agents", "75", "--memory", "1GB"], "0 to 74"),
        (["memory", "set", "testing", "k", '{"a":'], "the value is not JSON"),
        (["memory", "set", "testing", "k", "1", "--level", "secret"], "unknown level"),
        (["queue", "send", "testing", "work", "text"], "the value is not JSON"),
        (["serve", "now"], "serve does not take 'now'"),
        (["--theme", "x", "status"], "--theme is for the console"),
        (["--log-level", "loud", "status"], "logging.level"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_makes_nothing(
    shell: Shell, words: list[str], said: str
) -> None:
    done = shell.run(*words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.startswith(b"swarmdeck: ")
    assert said in done.stderr.decode()
    assert not shell.data.exists()


def test_an_unknown_key_in_the_configuration_names_its_line(shell: Shell, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[store]\nbatch_limits = 5\n")
    code, error = shell.refusal("--config", str(config), "status")
    assert (code, error["code"]) == (2, "config")
    assert "config.toml:2" in error["message"]
    assert "batch_limit" in error["message"] + error["hint"]
    assert not shell.data.exists()


def test_doctor_and_config_show_leave_the_directory_alone(shell: Shell) -> None:
    checks = msgspec.convert(shell.answer("doctor"), list[views.CheckView])
    assert {"sqlite", "data directory", "owner"} <= {check.name for check in checks}
    assert all(check.status == "ok" or check.hint for check in checks)
    shown = msgspec.convert(shell.answer("config", "show"), list[views.SettingView])
    [place] = [row for row in shown if row.name == "engine.data_dir"]
    assert (place.value, place.source) == (str(shell.data), "command line")
    assert not shell.data.exists()


def test_a_check_that_fails_shows_in_the_exit_code(shell: Shell) -> None:
    shell.data.write_text("a file")
    done = shell.run("doctor")
    assert done.returncode == 7
    assert b"is not a directory" in done.stdout


def test_without_a_terminal_the_console_says_so(shell: Shell) -> None:
    done = shell.run()
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.count(b"\n") == 1
    assert b"needs a terminal" in done.stderr
    code, error = shell.refusal()
    assert (code, error["message"]) == (2, "--json needs a command")


def test_a_reader_that_leaves_is_no_error(shell: Shell) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", ENTRY, "--help"],
        env=shell.environment, stdout=writing, stderr=subprocess.PIPE, timeout=LIMIT_S,
        check=False,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_full_disk_is_said(shell: Shell) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", ENTRY, "--help"],
            env=shell.environment, stdout=full, stderr=subprocess.PIPE, timeout=LIMIT_S,
            check=False,
        )  # fmt: skip
    assert done.returncode == 7
    assert b"cannot write the answer" in done.stderr


def test_a_defect_is_one_line_and_its_place_only_on_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(_: Options) -> int:
        raise RuntimeError("boom")

    assert main([], console=broken) == 70
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "unexpected RuntimeError: boom" in told
    assert main(["--debug"], console=broken) == 70
    assert "in broken" in capsys.readouterr().err


# --- an engine for one command --------------------------------------------------------------


def test_init_makes_the_directory_and_says_what_is_there(shell: Shell) -> None:
    made = shell.answer("init")
    assert made["created"] is True
    assert {"production", "staging"} <= {each["environment"] for each in made["databases"]}
    assert shell.answer("init")["created"] is False
    assert b"production" in shell.run("init").stdout


def test_status_answers_in_a_fresh_directory(shell: Shell) -> None:
    overview = msgspec.convert(shell.answer("status"), views.Overview)
    assert len(overview.environments) == 5
    text = shell.run("status").stdout.decode()
    assert all(environment.name in text for environment in overview.environments)
    assert "allocated" in shell.run("memory", "plan").stdout.decode()


def test_records_live_from_command_to_command(shell: Shell) -> None:
    stored = shell.answer("memory", "set", "testing", "user:1", '{"name": "Ä"}', "--level", "team")
    assert (stored["version"], stored["level"]) == (1, "team")
    assert shell.answer("memory", "get", "testing", "user:1")["value"] == {"name": "Ä"}
    assert shell.answer("memory", "keys", "testing")["keys"] == ["user:1"]
    code, error = shell.refusal("memory", "set", "testing", "user:1", "2", "--if-version", "7")
    assert (code, error["code"]) == (5, "conflict")
    shell.answer("memory", "delete", "testing", "user:1")
    code, error = shell.refusal("memory", "get", "testing", "user:1")
    assert (code, error["code"]) == (3, "not_found")


NOT_ALLOWED = (
    ["memory", "set", "testing", "bad\x01key", "1"],
    ["memory", "set", "testing", "k", "1", "--namespace", "../up"],
    ["queue", "send", "testing", "../kind", "{}"],
    ["agent", "register", "testing", "a/b"],
    ["agent", "register", "testing", "bell\x07"],
    ["agent", "register", "testing", ""],
)


def test_names_that_are_not_allowed_are_refused_and_change_nothing(shell: Shell) -> None:
    with shell.serving():
        for words in NOT_ALLOWED:
            code, error = shell.refusal(*words)
            assert (code, error["code"]) == (2, "invalid_input")
            assert "is not allowed" in error["message"]
        assert shell.answer("memory", "keys", "testing")["keys"] == []
        assert shell.answer("queue", "list", "testing") == []
        assert shell.answer("agent", "list") == []


def test_what_lasts_needs_an_owner(shell: Shell) -> None:
    code, error = shell.refusal("swarm", "create", "testing", "--agents", "1", "--memory", "64MB")
    assert (code, error["code"]) == (7, "unavailable")
    assert "swarmdeck serve" in error["hint"]
    for command in ("stop", "reload"):
        code, error = shell.refusal(command)
        assert (code, error["code"]) == (7, "unavailable")
    assert not shell.data.exists()


IMPATIENT = "import swarmdeck.engine.cli.session as s; s.OWNER_WAIT_S = 0.2\n" + ENTRY
SAYING_WHEN_IT_WAITS = (
    "import swarmdeck.engine.cli.session as s; sleep = s.time.sleep\n"
    "s.time.sleep = lambda _: (print('waits', flush=True), sleep(30))\n" + ENTRY
)


@pytest.fixture
def locked(shell: Shell) -> Iterator[Shell]:
    """A directory that this process holds without a socket, as a command in its midst does."""
    run = shell.data / "run"
    run.mkdir(parents=True)
    with (run / "engine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield shell


@pytest.mark.parametrize(
    "words", [["status"], ["stop"], ["swarm", "create", "testing", "--agents=1", "--memory=1GB"]]
)
def test_a_directory_that_stays_locked_without_a_socket_is_busy(
    locked: Shell, words: list[str]
) -> None:
    code, error = locked.refusal(*words, code=IMPATIENT)
    assert (code, error["code"], error["retryable"]) == (5, "engine_busy", True)
    assert str(os.getpid()) in error["message"]


def test_a_command_that_waits_is_interrupted_without_a_word(locked: Shell) -> None:
    words = ("--data", str(locked.data), "status")
    with locked.start(*words, code=SAYING_WHEN_IT_WAITS) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == b"waits\n"
        waiting.send_signal(signal.SIGINT)
        assert waiting.communicate(timeout=LIMIT_S) == (b"", b"")
    assert waiting.returncode == 130


def test_a_damaged_database_is_said_and_the_others_work(shell: Shell) -> None:
    shell.answer("init")
    [database] = (shell.data / "instances" / "testing").glob("*.db")
    database.write_bytes(b"not a database at all" * 1000)
    before = database.read_bytes()
    code, error = shell.refusal("memory", "get", "testing", "k")
    assert (code, error["code"]) == (7, "corrupt")
    assert error["hint"].startswith("swarmdeck backup restore testing NAME")
    states = {each["name"]: each["state"] for each in shell.answer("status")["environments"]}
    assert states.pop("testing") == "quarantined"
    assert set(states.values()) == {"open"}
    shell.answer("memory", "set", "development", "k", "1")
    assert shell.answer("memory", "get", "development", "k")["value"] == 1
    assert database.read_bytes() == before


def test_a_damaged_coordination_database_stops_every_command(shell: Shell) -> None:
    shell.answer("init")
    [database] = (shell.data / "instances" / "coordination").glob("*.db")
    database.write_bytes(b"not a database at all" * 1000)
    code, error = shell.refusal("status")
    assert (code, error["code"]) == (7, "corrupt")


def test_the_demo_runs_whole_in_one_command(shell: Shell, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for number in range(12):
        (files / f"{number}.txt").write_text(f"file {number}\n")
    found = shell.answer("demo", "--files", str(files), "--agents", "2")
    assert (found["files"], found["done"], found["dead"]) == (12, 12, 0)
    assert not any(psutil.pid_exists(agent["pid"]) for agent in found["agents"])


def test_a_signal_in_the_middle_of_the_demo_leaves_no_process(shell: Shell) -> None:
    with shell.start("--data", str(shell.data), "demo", "--agents", "2") as demo:
        agents: list[psutil.Process] = []
        deadline = time.monotonic() + LIMIT_S
        while len(agents) < 2 and demo.poll() is None and time.monotonic() < deadline:
            agents = psutil.Process(demo.pid).children()
            time.sleep(0.02)
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(LIMIT_S) == 128 + signal.SIGTERM
    assert agents
    assert psutil.wait_procs(agents, timeout=LIMIT_S)[1] == []


# --- a service ------------------------------------------------------------------------------


def test_commands_attach_to_the_owner_until_it_is_stopped(shell: Shell) -> None:
    with shell.serving() as server:
        overview = msgspec.convert(shell.answer("status"), views.Overview)
        assert (overview.engine.pid, overview.engine.headless) == (server.pid, True)
        shell.answer("memory", "set", "testing", "k", "[1]")
        code, error = shell.refusal("serve")
        assert (code, error["code"]) == (5, "engine_busy")
        assert str(server.pid) in error["message"]
        assert shell.run("stop").returncode == 0
        assert server.wait(LIMIT_S) == 0
    assert shell.answer("memory", "get", "testing", "k")["value"] == [1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_service_in_order(shell: Shell, number: signal.Signals) -> None:
    with shell.serving() as server:
        server.send_signal(number)
        assert server.wait(LIMIT_S) == 0
        assert server.stderr is not None
        assert b"Traceback" not in server.stderr.read()
    assert not (shell.data / "run" / "engine.sock").is_symlink()


def test_after_a_killed_owner_the_next_command_has_the_directory(shell: Shell) -> None:
    with shell.serving() as server:
        shell.answer("memory", "set", "testing", "k", "1")
        server.kill()
        server.wait(LIMIT_S)
    assert shell.answer("memory", "get", "testing", "k")["value"] == 1


def test_a_swarm_beyond_the_plan_is_over_budget_and_starts_nothing(shell: Shell) -> None:
    with shell.serving():
        code, error = shell.refusal(
            "swarm", "create", "testing", "--agents", "0", "--memory", "61GB"
        )
        assert (code, error["code"]) == (6, "over_budget")
        assert shell.answer("swarm", "list") == []


# --- what is loaded -------------------------------------------------------------------------


def loaded(shell: Shell, *words: str) -> set[str]:
    done = shell.run(*words, code=LOADED)
    assert done.returncode == 0, done
    return set(done.stderr.decode().split())


def test_no_command_loads_a_terminal_library(shell: Shell) -> None:
    for words in (["status", "--json"], ["--help"], ["doctor"], ["config", "show"]):
        assert not loaded(shell, *words) & {"textual", "rich", "plotext"}


def test_an_attached_command_loads_no_storage(shell: Shell) -> None:
    with shell.serving():
        found = loaded(shell, "status", "--json")
    assert not found & {"aiosqlite", "pysqlite3", "psutil", "uvloop", "tomllib", "textual", "rich"}


# Each of these costs a command more than the answer does: threads and the library around them,
# the other loop, the host's library, the way to a socket, package data, what only benchmarks need.
DEAR = {
    "aiosqlite", "importlib.resources", "psutil", "redis", "sqlite3", "textual", "uvloop",
    "swarmdeck.engine.link.client", "swarmdeck.engine.link.protocol",
}  # fmt: skip


def test_a_command_that_only_looks_loads_nothing_dear(shell: Shell) -> None:
    shell.answer("init")
    for words in (["status", "--json"], ["memory", "plan", "--json"], ["swarm", "list", "--json"]):
        assert loaded(shell, *words) & DEAR == set(), words


def test_a_command_that_only_looks_begins_no_thread_and_opens_no_socket(shell: Shell) -> None:
    shell.answer("init")
    done = shell.run("status", "--json", code=BEGUN)
    assert done.returncode == 0, done
    begun = dict(line.split(" ", 1) for line in done.stderr.decode().splitlines())
    assert "_thread.start_new_thread" not in begun
    assert "socket.bind" not in begun
    assert begun["database"] == "6"


def test_a_command_hardly_looks_for_garbage(shell: Shell) -> None:
    done = shell.run("status", "--json", code=GARBAGE)
    assert done.returncode == 0, done
    searches, left_to_search_at_the_end = map(int, done.stderr.split())
    assert searches < 10
    assert left_to_search_at_the_end < 1000

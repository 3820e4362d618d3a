"""The fault harness: a preloaded library that sees and refuses file calls, a process to do it to,
and what to look at afterwards."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

HERE: Final = Path(__file__).parent
CHILD: Final = HERE / "child.py"
FULL_TIER: Final = bool(os.environ.get("STRESS"))
WRITING_S: Final = 60.0


def _beside(name: str) -> ModuleType:
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(f"faults_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_control = _beside("control")
_oplog = _beside("oplog")
_looks = _beside("looks")


@pytest.fixture(scope="session")
def oplog() -> ModuleType:
    return _oplog


@pytest.fixture(scope="session")
def looks() -> ModuleType:
    return _looks


@pytest.fixture(scope="session")
def tier() -> Callable[[int, int], int]:
    """`tier(quick, full)`: how often, in `make test` and in `make stress`."""
    return lambda quick, full: full if FULL_TIER else quick


@pytest.fixture
def chance() -> random.Random:
    """Chance with a seed that a failing test shows; FAULTS_SEED gives it again."""
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"FAULTS_SEED={seed}")  # noqa: T201 - pytest shows it with a failure
    return random.Random(seed)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keys, states and sockets outside the data directory: on a disk that nothing happens to."""
    for name in ("CONFIG", "STATE", "RUNTIME"):
        directory = tmp_path / "elsewhere" / name.lower()
        directory.mkdir(parents=True, mode=0o700)
        variable = f"XDG_{name}_{'DIR' if name == 'RUNTIME' else 'HOME'}"
        monkeypatch.setenv(variable, str(directory))
    return tmp_path / "elsewhere"


@pytest.fixture(scope="session")
def faultio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, built anew. Only for tests that are marked `cc`."""
    library = tmp_path_factory.mktemp("faultio") / "faultio.so"
    flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *flags, "-o", library, HERE / "faultio.c", "-ldl"], check=True)
    return library


@pytest.fixture
def memory_disk() -> Iterator[Path]:
    """A directory whose syncs cost nothing, where there is one."""
    where = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="swarmdeck-", dir=where) as directory:
        yield Path(directory)


class Watched:
    """How a process is watched: its environment, its log, and what it is refused."""

    def __init__(self, library: Path, scratch: Path, data: Path) -> None:
        self.log = scratch / "log"
        self.control = _control.Control(scratch / "control")
        self.environment = os.environ | {
            "LD_PRELOAD": str(library),
            "FAULTIO_DIR": str(data),
            "FAULTIO_CONTROL": str(scratch / "control"),
        }

    def logging(self) -> Watched:
        self.environment["FAULTIO_LOG"] = str(self.log)
        return self


@pytest.fixture
def watched(faultio: Path, tmp_path: Path) -> Callable[[Path], Watched]:
    def make(data: Path) -> Watched:
        scratch = tmp_path / "watch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Watched(faultio, scratch, data)

    return make


class Child:
    """A process that runs `child.py`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.pid = process.pid
        self._rest = b""

    def until_ready(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if b"ready" not in line:
            self.process.wait(20)
            pytest.fail(f"the child did not begin: {line!r}")

    def kill(self, after: int, later_s: float) -> list[dict[str, Any]]:
        """Let it run until it has acknowledged so many writes and a little longer, kill it, and
        give all that it has acknowledged."""
        assert self.process.stdout is not None
        end = time.monotonic() + WRITING_S
        while self._rest.count(b"\n") < after:
            left_s = max(0.0, end - time.monotonic())
            ready, _, _ = select.select([self.process.stdout], [], [], left_s)
            read = os.read(self.process.stdout.fileno(), 1 << 16) if ready else b""
            if not read:
                pytest.fail(f"{self._rest.count(10)} of {after} writes were acknowledged")
            self._rest += read
        time.sleep(later_s)
        self.process.kill()
        return self.said()

    def said(self, timeout_s: float = 60) -> list[dict[str, Any]]:
        """Everything it printed until its end. A line that was cut short was not said."""
        output, _ = self.process.communicate(timeout=timeout_s)
        lines = (self._rest + output).split(b"\n")[:-1]
        return [found for line in lines if "ready" not in (found := json.loads(line))]


@pytest.fixture
def child(tmp_path: Path) -> Callable[..., Any]:
    """`with child(data, environment, **options) as running:` a process that is dead when the
    block ends."""

    @contextmanager
    def start(
        data: Path, environment: str = "production", *, env: Any = None, **options: Any
    ) -> Iterator[Child]:
        command = [sys.executable, str(CHILD), str(data), environment, json.dumps(options)]
        # Unbuffered: what was read ahead of a line would be missing from the rest.
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, bufsize=0, env=env or os.environ
        ) as process:
            try:
                yield Child(process)
            finally:
                process.kill()

    return start

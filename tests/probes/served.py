"""A headless engine of its own for a probe: started in a scratch directory, ended with it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

OPEN_S: Final = 30.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Served(NamedTuple):
    """An engine that serves: its data directory and its process."""

    data: Path
    pid: int


@contextmanager
def serve(settings: Mapping[str, object]) -> Iterator[Served]:
    """`swarmdeck serve` with these settings, until the block ends. Raises TimeoutError."""
    with tempfile.TemporaryDirectory(prefix="swarmdeck-probe-") as folder:
        data, away = Path(folder, "data"), {"XDG_CONFIG_HOME": folder, "XDG_STATE_HOME": folder}
        chosen = {
            f"SWARMDECK_{name.replace('.', '__').upper()}": str(value)
            for name, value in settings.items()
        }
        program = str(Path(sys.executable).with_name("swarmdeck"))
        process = subprocess.Popen(
            [program, "--data", str(data), "serve"],
            env=os.environ | away | chosen,
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            if not select.select([process.stdout], [], [], OPEN_S)[0]:
                raise TimeoutError(f"the engine in {data} does not serve")
            process.stdout.readline()  # it says when it does
            yield Served(data, process.pid)
        finally:
            process.terminate()
            process.wait(OPEN_S)


def resident(pid: int) -> int:
    """Resident bytes of a process, 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def cpu_s(pid: int) -> dict[str, float]:
    """Processor seconds of a process: of the thread of its loop, and of all others together."""
    found: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "stat").read_text()
        except OSError:
            continue
        name = "loop" if task.name == str(pid) else "others"
        fields = text.rpartition(")")[2].split()
        found[name] = found.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / _TICKS
    return found

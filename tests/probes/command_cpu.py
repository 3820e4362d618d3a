"""What one command costs the processor, beside what Python itself costs.

    python tests/probes/command_cpu.py [--rounds 15]

Runs in turn, round after round: `swarmdeck status --json` over a directory that nobody owns, so
that it opens the engine itself; the same over one that a `swarmdeck serve` owns, started and
stopped here; an interpreter that imports asyncio and nothing else; a bare interpreter. Prints one
JSON document: the median of user and system time of each in milliseconds, and its ratio to the
interpreter with asyncio. A first round is not counted; it writes the compiled modules, whatever
the environment says, so that no round measures the compiler. Bounded: every child is ended after
a while, and so is the owner.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

PATIENCE_S: Final = 30.0
BASE: Final = "import asyncio"


def cpu_ms(command: Sequence[str]) -> float:
    """User and system time of one child from start to end, in milliseconds. Raises RuntimeError
    when it fails or has to be ended."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_environment()
    ) as child:
        killer = threading.Timer(PATIENCE_S, os.kill, (child.pid, signal.SIGKILL))
        killer.start()
        _, status, used = os.wait4(child.pid, 0)
        killer.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        said = child.stderr.read() if child.stderr is not None else b""
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)}: {child.returncode}: {said.decode()}")
    return (used.ru_utime + used.ru_stime) * 1000


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


class Owner:
    """A `swarmdeck serve` over a directory, as a context."""

    def __init__(self, program: str, data: Path) -> None:
        self._command = [program, "--data", str(data), "serve"]
        self._socket = data / "run" / "engine.sock"

    def __enter__(self) -> None:
        self._child = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment()
        )
        end = time.monotonic() + PATIENCE_S
        while not self._socket.exists():
            if time.monotonic() > end or self._child.poll() is not None:
                self.__exit__()
                raise RuntimeError("serve did not open its socket")
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self._child.terminate()
        try:
            self._child.wait(PATIENCE_S)
        finally:
            self._child.kill()
            self._child.wait()


def measure(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, float]:
    """The median of each command; one round runs each of them once."""
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            found[name].append(cpu_ms(command))
    return {name: statistics.median(times[1:]) for name, times in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    program = str(Path(sys.executable).with_name("swarmdeck"))
    with tempfile.TemporaryDirectory(prefix="swarmdeck-probe-") as scratch:
        free, owned = Path(scratch) / "free", Path(scratch) / "owned"
        commands = {
            "embedded": [program, "--data", str(free), "status", "--json"],
            "attached": [program, "--data", str(owned), "status", "--json"],
            "asyncio": [sys.executable, "-c", BASE],
            "bare": [sys.executable, "-c", "pass"],
        }
        with Owner(program, owned):
            medians = measure(commands, rounds)
    base_ms = medians["asyncio"]
    print(
        json.dumps(
            {
                "rounds": rounds,
                "cpu_ms": {name: round(ms, 1) for name, ms in medians.items()},
                "to_asyncio": {name: round(ms / base_ms, 2) for name, ms in medians.items()},
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The program in the guide runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from swarmdeck.engine.events import AgentRegistered
from swarmdeck.engine.system.operations import MemoryOperation
from swarmdeck.engine.system.signals import CHOICES, NAMES, Initialized

PAGE = Path(__file__).parents[3] / "docs" / "guide" / "memory-system.md"


async def test_it_runs() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)
    await names["main"]()
    heard = names["heard"]
    assert isinstance(heard[0], Initialized)
    agents = [event.name for event in heard if isinstance(event, AgentRegistered)]
    assert agents == ["Backend Developer", "Frontend Developer"]
    told = [event.operation for event in heard if isinstance(event, MemoryOperation)]
    assert told[:4] == ["set", "set", "get", "get"]
    assert told[-1] == "clear"


def test_every_event_is_named() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert set(CHOICES) < set(NAMES)
    assert [name for name in NAMES if f"| `{name}` |" not in text] == []

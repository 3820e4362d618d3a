"""The actions this console has asked for and that still run: what the status line says of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..engine.actions import Action, spec_of
from ..engine.events import Progress

_CELLS: Final = 12


class Operation:
    """One action under way. `cancel` gives up waiting and asks the engine to end it."""

    __slots__ = ("action", "cancel", "fraction", "text")

    def __init__(self, action: Action, cancel: Callable[[], None]) -> None:
        self.action = action
        self.cancel = cancel
        self.fraction = 0.0
        self.text = ""

    @property
    def name(self) -> str:
        return spec_of(self.action).name

    def advance(self, progress: Progress) -> None:
        """Take a step that the engine reported."""
        self.fraction = progress.fraction
        self.text = progress.text

    def describe(self) -> str:
        """`demo ████░░░░ 43 %  430 of 1,000 files`; without progress only the name."""
        if not self.fraction and not self.text:
            return f"{self.name} …"
        full = round(self.fraction * _CELLS)
        bar = "█" * full + "░" * (_CELLS - full)
        return f"{self.name} {bar} {self.fraction * 100:.0f} %  {self.text}".rstrip()


class Operations:
    """Those under way, oldest first."""

    def __init__(self) -> None:
        self._running: list[Operation] = []

    def begin(self, action: Action, cancel: Callable[[], None]) -> Operation:
        operation = Operation(action, cancel)
        self._running.append(operation)
        return operation

    def end(self, operation: Operation) -> None:
        self._running.remove(operation)

    def runs(self, kind: type[Action]) -> bool:
        """Whether an action of that kind is under way."""
        return any(isinstance(operation.action, kind) for operation in self._running)

    @property
    def oldest(self) -> Operation | None:
        return self._running[0] if self._running else None

    def describe(self) -> str:
        """The newest in words, and how many others there are; empty when there are none."""
        if not self._running:
            return ""
        others = len(self._running) - 1
        return self._running[-1].describe() + (f"  (+{others} more)" if others else "")

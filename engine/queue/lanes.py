"""Which lanes hold messages that can be claimed. A lane is a target and a kind.

A claim must not look where nothing is: with thousands of lanes in the file it asks only those
that are not empty and that its caller may take. The counts are exact as of the last commit.
Messages on their way into the store are remembered as well, by id: ids grow and commits come in
the same order, so that every id up to the last one committed has settled, whatever became of it.
"""

from __future__ import annotations

from collections.abc import Iterable

Probe = tuple[str, str | None]  # a target, and a kind or None for any kind


class Lanes:
    """Counts of ready messages by target and kind. Belongs to the engine's loop."""

    __slots__ = ("_ready", "_sending", "_settled")

    def __init__(self) -> None:
        self._ready: dict[str, dict[str, int]] = {}
        self._sending: dict[str, dict[str, int]] = {}
        self._settled = 0

    def add(self, target: str, kind: str, count: int = 1) -> None:
        """Messages became ready."""
        kinds = self._ready.get(target)
        if kinds is None:
            kinds = self._ready[target] = {}
        kinds[kind] = kinds.get(kind, 0) + count

    def remove(self, target: str, kind: str, count: int = 1) -> None:
        """Ready messages became something else."""
        kinds = self._ready[target]
        left = kinds[kind] - count
        if left:
            kinds[kind] = left
            return
        del kinds[kind]
        if not kinds:
            del self._ready[target]

    def ready(self, target: str, kind: str | None = None) -> int:
        """How many messages of a lane, or of all lanes of a target, are ready."""
        kinds = self._ready.get(target, {})
        return sum(kinds.values()) if kind is None else kinds.get(kind, 0)

    def kinds(self, target: str) -> tuple[str, ...]:
        """Kinds of which a target has ready messages."""
        return tuple(self._ready.get(target, ()))

    def filled(self, kind: str | None = None) -> tuple[str, ...]:
        """Targets that have ready messages (of that kind)."""
        return tuple(t for t, kinds in self._ready.items() if kind is None or kind in kinds)

    def sending(self, target: str, kind: str, ident: int) -> None:
        """A message that will be ready was handed to the store."""
        kinds = self._sending.get(target)
        if kinds is None:
            kinds = self._sending[target] = {}
        kinds[kind] = ident

    def sent(self, target: str, kind: str, ident: int) -> None:
        """What was handed to the store up to this message has been decided."""
        self._settled = ident
        kinds = self._sending.get(target)
        if kinds is not None and kinds.get(kind, 0) <= ident:
            kinds.pop(kind, None)
            if not kinds:
                del self._sending[target]

    def probes(
        self, targets: Iterable[str], kinds: Iterable[str] | None, *, expected: bool
    ) -> tuple[Probe, ...]:
        """Where a claim has to look. `expected`: also where a message is on its way."""
        found: list[Probe] = []
        for target in targets:
            ready = self._ready.get(target, {})
            coming = self._sending.get(target, {}) if expected else {}
            if not ready and not coming:
                continue
            if kinds is None:
                if ready or self._is_coming(coming.values()):
                    found.append((target, None))
                continue
            found.extend(
                (target, kind)
                for kind in kinds
                if kind in ready or self._is_coming((coming.get(kind, 0),))
            )
        return tuple(found)

    def _is_coming(self, idents: Iterable[int]) -> bool:
        return any(ident > self._settled for ident in idents)

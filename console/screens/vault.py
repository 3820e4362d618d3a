"""The vault: whether records can be read, where the key comes from, and every key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...engine import views
from ...widgets import Line, line, state_span
from .. import safeguards
from ..columns import KeyRow, Moment
from ..export import Export
from ..listings import LISTINGS, Scope
from .listing import ListScreen


def key_rows(vault: views.VaultView) -> list[KeyRow]:
    """A row for each key; one for an environment that has none yet."""
    return [row for ring in vault.environments for row in _ring_rows(ring)]


def _ring_rows(ring: views.KeyringView) -> list[KeyRow]:
    if not ring.keys:
        return [KeyRow(environment=ring.environment, ring=ring.state, rotating=ring.rotating)]
    return [
        KeyRow(
            environment=ring.environment, ring=ring.state, id=key.id, kind=key.kind,
            state=key.state, created_at_us=key.created_at_us, uses=key.uses,
            rotate_at_us=key.rotate_at_us, rotating=ring.rotating,
        )
        for key in ring.keys
    ]  # fmt: skip


class VaultScreen(ListScreen):
    """State and source above, keys below. Keys are named, never shown."""

    def __init__(self, crumb: str, moment: Moment, scope: Scope | None = None) -> None:
        super().__init__(crumb, moment, LISTINGS["vault"], scope)
        self._vault: views.VaultView | None = None

    def _take(self, rows: Any) -> None:  # noqa: ANN401 - the view, or rows already
        if isinstance(rows, views.VaultView):
            self._vault = rows
            rows = key_rows(rows)
        super()._take(rows)

    def _export_of_answer(self, rows: Any) -> Export:  # noqa: ANN401 - as above
        answer = key_rows(rows) if isinstance(rows, views.VaultView) else rows
        return super()._export_of_answer(answer)

    def _tell(self) -> None:
        if self._vault is not None:
            self._about.set_lines(_about(self._vault))


def _about(vault: views.VaultView) -> Sequence[Line]:
    means = (
        ("no record can be read or written:  u  unseals", "warning")
        if vault.state == "sealed"
        else ("records can be read and written:  s  seals", "text")
    )
    return (
        (),
        line("  ", state_span(vault.state), "  ", means, (f"  {vault.reason}", "warning")),
        line(("  key from  ", "muted"), vault.source,
             (f"  {safeguards.source_words(vault.source)}", "muted")),
        line(("  kept in   ", "muted"), vault.place or "-"),
    )  # fmt: skip

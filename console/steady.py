"""Numbers of the engine made to stand still: the status line of a console at rest sends nothing.

A number that only trembles tells nothing and costs bytes at every look.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

import msgspec

from ..engine.views import EngineView, Overview

_LAGS_MS: Final = (0, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
_WAL_STEP: Final = 16 << 20


_STEP: Final = 0.01


class Steady:
    """Overviews as the screens show them: with what trembles held still. The free memory of the
    host stays as it was shown until it has moved by a hundredth of all there is."""

    def __init__(self, *, coarse: bool = False) -> None:
        self._coarse = coarse
        self._free = 0

    def of(self, overview: Overview) -> Overview:
        """The overview to show."""
        host = overview.host
        if abs(host.available_bytes - self._free) >= host.total_bytes * _STEP:
            self._free = host.available_bytes
        return msgspec.structs.replace(
            overview,
            engine=steady(overview.engine, coarse=self._coarse),
            host=msgspec.structs.replace(host, available_bytes=self._free),
        )


def steady(engine: EngineView, *, coarse: bool = False) -> EngineView:
    """The engine with its loop lag in steps (0, 5, 10, 20, 50 … ms, never more than it was).
    `coarse` rounds what waits for the writer to one digit and the log to 16 MB, for thin lines."""
    lag_ms = _LAGS_MS[bisect_right(_LAGS_MS, engine.loop_lag_ms) - 1] if engine.loop_lag_ms else 0
    waiting, wal = engine.writer_queue, engine.wal_bytes
    if coarse:
        step = 10 ** max(0, len(str(waiting)) - 1)
        waiting, wal = waiting // step * step, wal // _WAL_STEP * _WAL_STEP
    return msgspec.structs.replace(
        engine, loop_lag_ms=float(max(0, lag_ms)), writer_queue=waiting, wal_bytes=wal
    )

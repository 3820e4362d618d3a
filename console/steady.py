"""Numbers of the engine made to stand still: the status line of a console at rest sends nothing.

A number that only trembles tells nothing and costs bytes at every look.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

import msgspec

from ..engine.views import EngineView

_LAGS_MS: Final = (0, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
_WAL_STEP: Final = 16 << 20


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

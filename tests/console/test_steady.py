"""Numbers that only tremble stand still."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swarmdeck.console.steady import steady

MIB = 1 << 20


@pytest.mark.parametrize(
    ("lag_ms", "shown"),
    [(0.0, 0), (0.4, 0), (4.9, 0), (5.0, 5), (49.0, 20), (184.0, 100), (9e9, 1e4)],
)
def test_loop_lag_goes_in_steps(fakes: Any, lag_ms: float, shown: float) -> None:
    engine = msgspec.structs.replace(fakes.busy().engine, loop_lag_ms=lag_ms)
    assert steady(engine).loop_lag_ms == shown


def test_a_thin_line_rounds_the_rest_too(fakes: Any) -> None:
    engine = msgspec.structs.replace(fakes.busy().engine, writer_queue=912, wal_bytes=410 * MIB)
    assert (steady(engine).writer_queue, steady(engine).wal_bytes) == (912, 410 * MIB)
    coarse = steady(engine, coarse=True)
    assert (coarse.writer_queue, coarse.wal_bytes) == (900, 400 * MIB)

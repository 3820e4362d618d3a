"""The bench panel: verdicts, how latencies are spread, and what runs now."""

from __future__ import annotations

from typing import Any

import pytest

from swarmdeck.console.screens.bench import filled, merged
from swarmdeck.console.screens.dialogs import FormScreen
from swarmdeck.engine import actions, views
from swarmdeck.engine.events import Sampled


def sampled(at: int, workload: str = "memory set") -> Sampled:
    return Sampled("op1", workload, float(at), 40_000.0 + 900 * (at % 5), 800.0, 2_400.0)


@pytest.mark.parametrize("size", [(80, 24), (120, 30), (200, 60)])
async def test_verdicts_and_latencies_are_on_the_screen(fakes: Any, size: tuple[int, int]) -> None:
    async with fakes.console(fakes.busy(), size=size) as deck:
        await deck.press("7")
        await deck.until(lambda: "1 better, 1 same, 1 worse than release" in deck.text)
        assert "▲ better" in deck.text
        assert "▼ worse" in deck.text
        assert "12.6k calls" in deck.text
        assert "median 1.8 ms" in deck.text
        await deck.press("j")
        await deck.until(lambda: "Latencies · memory get" in deck.text)


async def test_what_runs_is_drawn_and_a_new_workload_begins_anew(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("7")
        await deck.until(lambda: "Latencies" in deck.text)
        assert "Live" not in deck.text
        for at in range(40):
            deck.app._on_event(sampled(at))
        await deck.until(lambda: "Live · memory set · 99 % 2.4 ms" in deck.text)
        asked = len(deck.host.asked)
        deck.app._on_event(sampled(41, "queue send"))
        await deck.until(lambda: "Live · queue send" in deck.text)
        assert len(deck.host.asked) <= asked + 2, "a sample changes no view"


async def test_the_forms_of_a_run_and_of_a_baseline(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("7", "b")
        await deck.until(lambda: isinstance(deck.app.screen, FormScreen))
        assert "swarmdeck bench run" in deck.text
        await deck.press("escape", "B")
        await deck.until(lambda: "bench baseline" in deck.text)
        await deck.press("enter")
        await deck.until(lambda: deck.host.changes() == [actions.BenchBaseline()])


async def test_nothing_measured_says_what_to_do(fakes: Any) -> None:
    async with fakes.console(size=(80, 24)) as deck:
        await deck.press("7")
        await deck.until(lambda: "b  measures this machine" in deck.text)


async def test_a_result_without_latencies_says_so(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    host.answers[actions.BenchShow] = lambda _: [
        views.BenchView(
            name="memory set", workload="memory set", ops_s=1.0, p50_us=1.0, p99_us=1.0,
            concurrency=1, operations=1, at_us=fakes.NOW_US,
        )
    ]  # fmt: skip
    async with fakes.console(host=host) as deck:
        await deck.press("7")
        await deck.until(lambda: "No latencies were kept" in deck.text)


def test_buckets_are_cut_to_those_with_calls_and_merged_to_the_room(fakes: Any) -> None:
    buckets = filled(fakes.samples.LATENCIES)
    assert (buckets[0].upto_us, buckets[-1].upto_us) == (400, 6_000)
    few = merged(buckets, 4)
    assert len(few) <= 4
    assert sum(each.count for each in few) == sum(each.count for each in buckets)
    assert few[-1].upto_us == 6_000
    assert filled(()) == ()

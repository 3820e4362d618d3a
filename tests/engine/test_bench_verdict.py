"""Better, same or worse: by a rule that noise alone does not trip, and kept baselines."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import msgspec
import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine import open_engine, views
from swarmdeck.engine.bench.results import Results
from swarmdeck.engine.bench.verdict import beside, chance, judge
from swarmdeck.engine.errors import InvalidInput, NotFound, StorageError

SEEDS = 400
REPEATS = 5


def view(
    ratios: Sequence[float] = (1.0, 1.01, 0.99, 1.02, 0.98),
    *,
    load: Sequence[float] = (),
    **more: object,
) -> views.BenchView:
    """A result whose repeats did `ratios` of the fixed work, while the machine gave `load`."""
    references = [700.0 * share for share in load or [1.0] * len(ratios)]
    rates = [ratio * reference for ratio, reference in zip(ratios, references, strict=True)]
    fields: dict[str, object] = {
        "name": "memory.set", "workload": "w", "ops_s": rates[0], "p50_us": 1.0, "p99_us": 2.0,
        "concurrency": 4, "operations": 10, "at_us": 1, "machine": "this",
        "repeats": tuple(rates), "references": tuple(references),
    }  # fmt: skip
    return msgspec.convert(fields | more, views.BenchView)


def words(factor: float, noise: float, repeats: int = REPEATS) -> list[str]:
    """The verdicts over many seeds on sets of repeats whose rates are `factor` apart."""
    return [_word(random.Random(seed), factor, noise, repeats) for seed in range(SEEDS)]


def _word(chances: random.Random, factor: float, noise: float, repeats: int) -> str:
    before = [chances.gauss(1, noise) for _ in range(repeats)]
    now = [factor * chances.gauss(1, noise) for _ in range(repeats)]
    return judge(now, before)[1]


# --- the rule -------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.10, 0.30])
def test_noise_alone_is_the_same(noise: float) -> None:
    assert words(1.0, noise).count("same") >= 0.95 * SEEDS


def test_a_tenth_slower_is_worse_and_a_tenth_faster_better() -> None:
    assert words(0.9, 0.03).count("worse") >= 0.95 * SEEDS
    assert words(1.12, 0.03).count("better") >= 0.95 * SEEDS


def test_a_difference_too_small_to_matter_is_the_same() -> None:
    assert words(0.98, 0.001).count("same") == SEEDS


def test_three_repeats_prove_nothing() -> None:
    assert words(0.5, 0.01, repeats=3).count("same") == SEEDS
    assert words(0.5, 0.01, repeats=4).count("worse") == SEEDS


def test_a_busy_machine_is_not_slow_code() -> None:
    busy = view(load=(0.4, 0.5, 0.6, 0.5, 0.4))
    compared = beside(busy, view(), "main")
    assert busy.ops_s < 0.5 * view().ops_s
    assert (compared.verdict, compared.ratio) == ("same", 1.0)


def test_one_disturbed_repeat_is_no_verdict() -> None:
    assert judge([1.0, 1.0, 0.2, 1.01, 0.99], [1.0, 1.01, 0.99, 1.0, 1.02])[1] == "same"


@pytest.mark.parametrize("sizes", [(1, 1), (3, 4), (5, 5), (4, 6)])
def test_chances_are_those_of_counting_every_order(sizes: tuple[int, int]) -> None:
    first, second = sizes
    places = range(first + second)
    wins = [
        sum(a > b for a in chosen for b in places if b not in chosen)
        for chosen in combinations(places, first)
    ]
    for chosen in combinations(places, first):
        others = [place for place in places if place not in chosen]
        won = sum(a > b for a in chosen for b in others)
        least = min(won, first * second - won)
        expected = min(1.0, 2 * sum(win <= least for win in wins) / len(wins))
        assert chance(chosen, others) == pytest.approx(expected)


def test_many_repeats_are_told_apart_exactly() -> None:
    assert chance(range(50), range(50, 100)) == pytest.approx(0, abs=1e-20)
    assert chance(range(50), range(50)) == 1.0


def test_without_repeats_nothing_is_compared() -> None:
    old = view(repeats=(), references=())
    assert beside(view(), old, "main") == view()
    assert beside(old, view(), "main") == old


def test_another_machine_is_said() -> None:
    assert beside(view(), view(machine="that"), "main").baseline == "main (another machine)"


# --- kept results and baselines -------------------------------------------------------------


@pytest.fixture
def results(tmp_path: Path) -> Iterator[Results]:
    yield Results(tmp_path)
    assert not list(tmp_path.glob("bench/.*"))


def test_a_result_replaces_only_one_of_its_own_kind(results: Results, tmp_path: Path) -> None:
    results.add([view(), view(name="queue.send")])
    results.add([view(encryption=True), view(at_us=2)])
    kept = [(each.name, each.encryption, each.at_us) for each in Results(tmp_path).shown]
    assert kept == [("memory.set", False, 2), ("memory.set", True, 1), ("queue.send", False, 1)]


def test_a_new_result_is_beside_the_chosen_baseline(results: Results) -> None:
    results.add([view(), view(encryption=True)])
    assert all(each.verdict == "" for each in results.shown)
    results.keep("main", remove=False)
    slow = view([0.8, 0.81, 0.79, 0.82, 0.78])
    [found] = results.add([slow])
    assert (found.baseline, found.verdict, found.ratio) == ("main", "worse", pytest.approx(0.8))
    assert [each.verdict for each in results.shown] == ["worse", "same"]
    [other] = results.add([view(name="queue.send")])
    assert (other.baseline, other.ratio, other.verdict) == ("", None, "")


def test_results_can_be_put_beside_any_baseline(results: Results) -> None:
    results.add([view()])
    results.keep("slow", remove=False)
    results.add([view([2.0, 2.01, 1.99, 2.02, 1.98])])
    results.keep("fast", remove=False)
    assert [each.verdict for each in results.beside("slow")] == ["better"]
    assert [each.verdict for each in results.beside(None)] == ["same"]
    assert results.shown[0].baseline == "fast"
    with pytest.raises(NotFound, match="no baseline 'other'") as refused:
        results.beside("other")
    assert refused.value.hint == "there are fast, slow"


def test_a_baseline_can_be_forgotten(results: Results) -> None:
    with pytest.raises(NotFound, match="measured"):
        results.keep("main", remove=False)
    results.add([view()])
    results.keep("main", remove=False)
    results.keep("main", remove=True)
    assert results.shown == (view(),)
    with pytest.raises(NotFound):
        results.keep("main", remove=True)
    with pytest.raises(InvalidInput):
        results.keep("../main", remove=False)


def test_results_of_another_release_are_replaced(results: Results, tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "results.json").write_text('[{"name": 3}]')
    assert results.shown == ()
    with pytest.raises(StorageError, match=r"cannot read .*results\.json"):
        results.beside(None)
    assert results.add([view()]) == [view()]


def test_baselines_that_cannot_be_read_are_not_written_over(
    results: Results, tmp_path: Path
) -> None:
    results.add([view()])
    (tmp_path / "bench" / "baselines.json").write_text("{")
    with pytest.raises(StorageError, match=r"cannot read .*baselines\.json"):
        results.keep("main", remove=False)
    assert (tmp_path / "bench" / "baselines.json").read_text() == "{"


def test_a_result_that_cannot_be_kept_is_said(results: Results, tmp_path: Path) -> None:
    (tmp_path / "bench").write_text("a file in its place")
    with pytest.raises(StorageError, match=r"cannot keep results\.json"):
        results.add([view()])


async def test_baselines_through_the_engine(tmp_path: Path) -> None:
    async with open_engine(tmp_path) as engine:
        job = act.BenchRun(names=("access.decide",), iterations=5, repeats=4)
        await engine.run(job)
        done = await engine.run(act.BenchBaseline(name="main"))
        assert "main: 1 results" in done.detail
        [found] = await engine.run(job)
        assert found.baseline == "main"
        assert found.ratio > 0
        [glance] = (await engine.views.overview()).benchmarks
        assert (glance.ops_s, glance.verdict) == (found.ops_s, found.verdict)
        assert not glance.latencies, "ten times a second is too often for what only charts need"
        assert await engine.run(act.BenchShow(against="main")) == [found]
        with pytest.raises(NotFound):
            await engine.run(act.BenchShow(against="nothing"))
        await engine.run(act.BenchBaseline(name="main", remove=True))
        [alone] = await engine.run(act.BenchShow())
        assert (alone.baseline, alone.verdict) == ("", "")

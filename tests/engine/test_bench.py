"""Benchmarks run in a process of their own, on scratch data, and their results are kept."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from array import array
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from swarmdeck.engine import Engine, connect, open_engine, views
from swarmdeck.engine import actions as act
from swarmdeck.engine.bench import rounds
from swarmdeck.engine.bench.machine import commit
from swarmdeck.engine.bench.measure import Limit, Run, buckets, drive, percentile, thinned
from swarmdeck.engine.bench.meter import Meter, Sample
from swarmdeck.engine.bench.names import NAMES
from swarmdeck.engine.bench.verdict import beside
from swarmdeck.engine.bench.workloads import WORKLOADS, Records, Shape, Turn, open_bench
from swarmdeck.engine.errors import Conflict, Defect, InvalidInput
from swarmdeck.engine.events import Finished, Sampled

SHORT = {"iterations": 20, "repeats": 2, "concurrency": 4}
HASH = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with open_engine(tmp_path / "data") as opened:
        yield opened


# --- a run ----------------------------------------------------------------------------------


async def test_every_workload_runs_and_is_kept(tmp_path: Path) -> None:
    steps: list[str] = []
    async with open_engine(tmp_path) as engine:
        found: list[views.BenchView] = await engine.run(
            act.BenchRun(**SHORT), lambda _, text: steps.append(text)
        )
        assert [view.name for view in found] == list(NAMES)
        assert all(view.operations > 0 and view.ops_s > 0 for view in found)
        glance = (await engine.views.overview()).benchmarks
        assert [each.name for each in glance] == [each.name for each in found]
        assert [env.records for env in (await engine.views.overview()).environments] == [0] * 5
    assert set(steps) <= {
        *(f"{name}, getting ready" for name in NAMES),
        *(f"{name}, repeat {number} of 2" for name in NAMES for number in (1, 2)),
    }
    async with open_engine(tmp_path) as engine:
        assert await engine.run(act.BenchShow()) == found


async def test_a_result_tells_its_repeats_references_latencies_and_machine(engine: Engine) -> None:
    names = ("queue.end_to_end", "access.decide")
    found: list[views.BenchView] = await engine.run(act.BenchRun(names=names, **SHORT))
    for view in found:
        assert len(view.repeats) == len(view.references) == 2
        assert all(view.repeats)
        assert all(view.references)
        assert sum(bucket.count for bucket in view.latencies) == 40
        bounds = [bucket.upto_us for bucket in view.latencies]
        assert bounds == sorted(bounds)
        assert view.p50_us <= view.p99_us <= bounds[-1]
        assert "cores" in view.machine
        assert "sqlite 3." in view.versions
        assert view.concurrency == 4
    # A decision's figures are those of one, though a thousand are made in a call.
    assert found[1].operations == 40_000
    assert found[1].p50_us < 100


async def test_an_unknown_workload_is_refused_with_the_known_ones(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="no benchmark nonsense") as refused:
        await engine.run(act.BenchRun(names=("nonsense",)))
    assert "queue.end_to_end" in refused.value.hint


async def test_rounds_are_interleaved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def noted(name: str) -> Any:
        async def workload(_: object, turn: Turn) -> Run:
            if turn.meter is not None:
                order.append(name)
            return Run(1, 0.001, [1.0], 1)

        return workload

    monkeypatch.setattr(rounds, "WORKLOADS", {name: noted(name) for name in NAMES})
    monkeypatch.setattr(rounds.Yardstick, "measure", lambda _: order.append("reference") or 1.0)
    job = act.BenchRun(names=("memory.get", "queue.send"), iterations=1, repeats=3)
    await rounds.run(job, scratch=tmp_path, progress=_ignore, sampled=_ignore)
    assert order == ["reference", "memory.get", "reference", "queue.send"] * 3


async def test_samples_reach_every_attached_console_while_it_runs(
    engine: Engine, tmp_path: Path
) -> None:
    job = act.BenchRun(names=("memory.get",), seconds=0.8, repeats=2)
    async with connect(tmp_path / "data") as attached:
        events = attached.events()
        await attached.views.overview()  # so that the engine knows of the subscription
        receipt = await engine.dispatch(job)
        await receipt
        seen: list[Sampled] = []
        async for event in events:
            if isinstance(event, Sampled):
                seen.append(event)
            if isinstance(event, Finished) and event.operation == receipt.operation:
                break
    assert len(seen) >= 4
    assert {(event.operation, event.workload) for event in seen} == {
        (receipt.operation, "memory.get")
    }
    assert [event.at_s for event in seen] == sorted(event.at_s for event in seen)
    assert all(event.ops_s > 0 and event.p50_us <= event.p99_us for event in seen)


@pytest.mark.parametrize("name", ["memory.get", "socket.set"])
async def test_a_cancelled_run_ends_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    async with open_engine(tmp_path / "data") as engine:
        before = set(psutil.Process().children(recursive=True))
        receipt = await engine.dispatch(act.BenchRun(names=(name,), seconds=60))
        async for step in receipt:
            if "repeat" in step.text:
                receipt.cancel()
                break
        with pytest.raises(Conflict):
            await receipt
    # What is left of them ends once it was told to.
    _, alive = psutil.wait_procs(set(psutil.Process().children(recursive=True)) - before, 10)
    assert alive == []
    assert list(scratch.iterdir()) == []


async def test_a_measuring_process_ends_when_nobody_listens(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "swarmdeck.engine.bench", env=os.environ | {"TMPDIR": str(tmp_path)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(
        msgspec.json.encode(act.BenchRun(names=("memory.get",), seconds=300, concurrency=100))
    )
    process.stdin.close()
    async for line in process.stdout:
        if b"sample" in line:
            break
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    async with asyncio.timeout(60):
        await process.wait()
    assert list(tmp_path.iterdir()) == []


async def test_a_measuring_process_has_its_last_words_told_and_not_on_the_terminal(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    await engine.run(act.BenchRun(names=("access.decide",), **SHORT))
    (tmp_path / "msgspec.py").write_text("raise RuntimeError('planted')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(Defect, match=r"without a result: RuntimeError: planted"):
        await engine.run(act.BenchRun(names=("access.decide",), **SHORT))
    assert capfd.readouterr() == ("", "")


# --- workloads ------------------------------------------------------------------------------


async def test_end_to_end_leaves_no_message_behind(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        run = await WORKLOADS["queue.end_to_end"](bench, Turn(20, Limit(0, 100)))
        counts = bench.core.places["research"].queue.counts()
    assert run.operations == 100
    assert (counts.done, counts.ready, counts.leased) == (100, 0, 0)


async def test_a_consumer_that_fails_fails_the_measurement(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await bench.messages["research"]._send(-1)  # nobody waits for this one
        async with asyncio.timeout(10):
            with pytest.raises(KeyError):
                await WORKLOADS["queue.end_to_end"](bench, Turn(4, Limit(0, 10)))


async def test_claims_end_where_nothing_is_left(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        messages = bench.messages["development"]
        await messages.stock(50)
        await drive(messages.claim, 2, Limit(60))
        assert (messages.acked, messages.queued) == (50, 0)


async def test_a_planted_slowdown_is_worse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = act.BenchRun(names=("memory.set",), iterations=600, repeats=5, concurrency=20)
    [before] = await _measured(job, tmp_path / "before")
    write = Records.write

    async def slow(records: Records, name: str, value: dict[str, Any]) -> None:
        _spend(0.0003)
        await write(records, name, value)

    monkeypatch.setattr(Records, "fill", _filled)
    monkeypatch.setattr(Records, "write", slow)
    [after] = await _measured(job, tmp_path / "after")
    compared = beside(after, before, "main")
    assert (compared.verdict, compared.baseline) == ("worse", "main")
    assert compared.ratio is not None
    assert compared.ratio < 0.9


async def _measured(job: act.BenchRun, scratch: Path) -> list[views.BenchView]:
    scratch.mkdir()
    return await rounds.run(job, scratch=scratch, progress=_ignore, sampled=_ignore)


def _spend(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


async def _filled(_: Records) -> None:
    """Nothing stored in advance: what is slow would take long."""


def _ignore(*_: object) -> None:
    pass


# --- records that the vault protects --------------------------------------------------------


@pytest.mark.parametrize(("sealed", "compressed"), [(True, True), (False, False)])
async def test_records_are_stored_as_their_shape_says(
    tmp_path: Path, sealed: bool, compressed: bool
) -> None:
    shape = Shape(4096, sealed=sealed, compressed=compressed)
    async with open_bench(tmp_path, shape) as bench:
        await bench.records.set(random.Random(3))
        database = bench.core.places["development"].database
        [(format_, body)] = await database.read(
            lambda reader: reader.execute("SELECT format, body FROM memory").fetchall()
        )
        assert (b"agent" not in body) is sealed
        assert (len(body) < 3000) is compressed
        assert bool(format_ & 32) is sealed
    assert (tmp_path / "engine.key").exists(), "its key is kept in the scratch directory"


async def test_sealed_runs_are_measured_with_the_others(engine: Engine) -> None:
    names = ("memory.get", "queue.end_to_end", "access.decide")
    plain = await engine.run(act.BenchRun(names=names, **SHORT))
    sealed: list[views.BenchView] = await engine.run(
        act.BenchRun(names=names, encryption=True, compression=True, **SHORT)
    )
    assert [(view.encryption, view.compression) for view in sealed] == [
        (True, True), (False, False), (False, False),
    ]  # fmt: skip
    assert "checked by a MAC, not sealed" in plain[0].workload
    assert "sealed with AES-256-GCM, LZ4 above 1,024 bytes" in sealed[0].workload
    kept = await engine.run(act.BenchShow())
    assert kept == [plain[0], sealed[0], sealed[1], sealed[2]]


# --- measuring ------------------------------------------------------------------------------


def test_percentiles_of_few_and_none() -> None:
    assert percentile([], 0.5) == 0
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([3, 1, 2], 0.99) == 3


def test_latencies_fall_in_a_1_2_5_series() -> None:
    seen = buckets([Run(6, 1.0, [3.0, 4.0, 30.0], 3), Run(1, 1.0, [5.0], 1)])
    assert [(bucket.upto_us, bucket.count) for bucket in seen] == [
        (5.0, 3), (10.0, 0), (20.0, 0), (50.0, 1),
    ]  # fmt: skip
    assert buckets([]) == ()


def test_very_many_latencies_are_thinned_and_still_counted() -> None:
    many = array("d", (float(number % 100) for number in range(1_000_000)))
    few = thinned(many, 10)
    assert len(few) < 60_000
    assert percentile(few, 0.5) == pytest.approx(5, abs=0.2)
    seen = buckets([Run(10_000_000, 1.0, few, 1_000_000)])
    assert sum(bucket.count for bucket in seen) == 1_000_000


async def test_exactly_so_many_calls_are_made_by_all_callers_together() -> None:
    called = 0

    async def call(_: random.Random) -> None:
        nonlocal called
        called += 1
        await asyncio.sleep(0)

    run = await drive(call, 7, Limit(0, 50), weight=3)
    assert (called, run.calls, run.operations) == (50, 50, 150)


async def test_a_call_of_many_operations_tells_its_own_latency_or_their_mean() -> None:
    async def call(_: random.Random) -> None:
        _spend(0.002)

    whole = await drive(call, 1, Limit(0, 3), weight=1000)
    mean = await drive(call, 1, Limit(0, 3), weight=1000, mean=True)
    assert min(whole.latencies_us) >= 2000
    assert 2 <= min(mean.latencies_us) < 1000


async def test_a_workload_that_never_waits_is_sampled_too() -> None:
    samples: list[Sample] = []
    meter = Meter("busy", samples.append)

    async def call(_: random.Random) -> None:
        pass

    for _ in range(2):
        await drive(call, 3, Limit(0.35), meter=meter)
    assert len(samples) >= 4
    assert samples[-1].at_s > 0.35  # the second repeat goes on where the first ended
    assert all(sample.ops_s > 0 for sample in samples)


# --- which commit ---------------------------------------------------------------------------


def test_the_commit_is_read_from_the_checkout(tmp_path: Path) -> None:
    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    assert commit(tmp_path) == ""
    (git / "HEAD").write_text(f"{HASH}\n")
    assert commit(tmp_path) == HASH
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "packed-refs").write_text(f"# pack-refs with: peeled\n{HASH} refs/heads/main\n")
    assert commit(tmp_path) == HASH
    loose = HASH[::-1]
    (git / "refs" / "heads" / "main").write_text(f"{loose}\n")
    assert commit(tmp_path) == loose


def test_a_second_working_tree_has_its_commit_elsewhere(tmp_path: Path) -> None:
    own = tmp_path / "main" / ".git" / "worktrees" / "other"
    own.mkdir(parents=True)
    (own / "HEAD").write_text("ref: refs/heads/side\n")
    (own / "commondir").write_text("../..\n")
    heads = tmp_path / "main" / ".git" / "refs" / "heads"
    heads.mkdir(parents=True)
    (heads / "side").write_text(f"{HASH}\n")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / ".git").write_text(f"gitdir: {own}\n")
    assert commit(tree) == HASH
    assert commit(tmp_path / "nowhere") == ""

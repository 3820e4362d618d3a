"""Ours beside its peers: the same work for each, verdicts over medians, a report of all."""

from __future__ import annotations

import asyncio
import random
import re
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine import commandline, open_engine, views
from swarmdeck.engine.bench import (
    arena,
    compare,
    graphs,
    held,
    measure,
    peers,
    report,
    sizes,
    stores,
    workloads,
)
from swarmdeck.engine.bench.arena import Pairs, open_arena
from swarmdeck.engine.bench.bars import AT_LEAST, Outcome, judged, left_out
from swarmdeck.engine.bench.measure import values
from swarmdeck.engine.bench.mixes import MIXES, Mix, Work, Zipf, name_of, ycsb_values
from swarmdeck.engine.errors import InvalidInput, Unavailable

FEW = 200
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores of few records."""
    for module in (measure, arena, workloads):
        monkeypatch.setattr(module, "RECORDS", FEW)


def ignore(*_: object) -> None:
    pass


class Noting:
    """A store that notes what is done to it."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.sizes: list[int] = []

    async def read(self, key: str) -> object:
        self.done.append(("read", key))
        return None

    async def write(self, key: str, _: dict[str, Any]) -> object:
        self.done.append(("write", key))
        return None

    async def scan(self, key: str, count: int) -> object:
        self.done.append(("scan", key))
        self.sizes.append(count)
        return None


# --- mixes ----------------------------------------------------------------------------------


async def performed(mix: Mix, calls: int = 4_000) -> Noting:
    store, chance = Noting(), random.Random(3)
    work = Work(mix, store, Zipf(1_000), 1_000)
    for _ in range(calls):
        await work.call(chance)
    return store


@pytest.mark.parametrize("name", MIXES)
async def test_a_mix_does_its_shares(name: str) -> None:
    mix = MIXES[name]
    assert mix.read + mix.update + mix.insert + mix.scan + mix.modify == pytest.approx(1)
    done = Counter(verb for verb, _ in (await performed(mix)).done)
    assert done["read"] / 4_000 == pytest.approx(mix.read + mix.modify, abs=0.04)
    assert done["write"] / 4_000 == pytest.approx(mix.update + mix.insert + mix.modify, abs=0.04)
    assert done["scan"] / 4_000 == pytest.approx(mix.scan, abs=0.04)


async def test_zipfian_keys_are_few_and_scattered_over_all() -> None:
    keys = Counter(key for _, key in (await performed(MIXES["ycsb c"], 20_000)).done)
    often = [key for key, _ in keys.most_common(100)]
    # 1/1 + ... + 1/100 of 1/1 + ... + 1/1,000, each to the power of 0.99.
    assert sum(keys[key] for key in often) / 20_000 == pytest.approx(0.69, abs=0.03)
    numbers = sorted(int(key[1:]) for key in often)
    assert numbers[10] < 250
    assert numbers[-10] > 750
    even = Counter(key for _, key in (await performed(MIXES["read-heavy"], 20_000)).done)
    assert even.most_common(1)[0][1] < 60


async def test_the_latest_are_read_most_and_inserts_are_new() -> None:
    done = (await performed(MIXES["ycsb d"])).done
    written = [key for verb, key in done if verb == "write"]
    assert written == [name_of(1_000 + number) for number in range(len(written))]
    newest, near = 999, 0
    for verb, key in done:
        newest += verb == "write"
        near += verb == "read" and newest - int(key[1:]) < 100
    assert near / 4_000 > 0.6


async def test_scans_are_of_1_to_100(tmp_path: Path) -> None:
    found = (await performed(MIXES["ycsb e"])).sizes
    assert (min(found), max(found)) == (1, 100)
    record = ycsb_values()[0]
    assert [len(text) for text in record.values()] == [100] * 10


# --- the arena ------------------------------------------------------------------------------


@pytest.mark.redis
async def test_every_workload_is_done_by_all_who_can(small: None, tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    names = [name for name in peers.NAMES if name != "tuned"]
    only = [name for name in arena.WORDS if not re.search(r"ycsb [bcdf]|heavy|\d{3}", name)]
    pairs: Pairs = defaultdict(list)
    async with open_arena(tmp_path, names) as opened:
        await opened.round(0, pairs, 0.05, only)
        await opened.round(1, pairs, 0.05, only[-1:])
    assert {name for name, _ in pairs} == set(only)
    beside = {name: {peer for each, peer in pairs if each == name} for name in only}
    assert beside["set"] == beside["burst 10"] == beside["ycsb a"] == set(names)
    assert beside["set full"] == {"raw", "redis"}
    assert beside["ycsb e"] == set(names) - {"diskcache", "sqlitedict"}
    assert {place for place, both in pairs.items() if len(both) == 2} == {
        (only[-1], name) for name in names
    }
    assert all(ours > 0 and theirs > 0 for both in pairs.values() for ours, theirs in both)
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.redis
@pytest.mark.parametrize("name", peers.NAMES)
async def test_each_peer_gives_back_what_it_was_given(name: str, tmp_path: Path) -> None:
    some = values()[:3]
    keys = [name_of(number) for number in range(20)]
    async with peers.open_peer(name, tmp_path / "a place", some, keys) as peer:
        assert await peer.read(keys[4]) == some[4 % 3]
        await peer.write(keys[4], {"changed": True})
        await peer.write(name_of(99), {"new": True})
        assert [await peer.read(key) for key in (keys[4], name_of(99), "none")] == [
            {"changed": True}, {"new": True}, None,
        ]  # fmt: skip
        if name not in peers.UNORDERED:
            assert await peer.scan(keys[17], 2) == [some[17 % 3], some[18 % 3]]
            assert (await peer.scan(keys[19], 9))[-1] == {"new": True}  # type: ignore[index]


async def test_ours_scans_in_order_of_keys(tmp_path: Path) -> None:
    async with workloads.open_bench(tmp_path) as bench:
        for number in range(5):
            await bench.records.write(name_of(number), {"n": number})
        found: Any = await bench.records.scan(name_of(1), 2)
        assert found == {name_of(2): {"n": 2}, name_of(3): {"n": 3}}


async def test_a_spike_ends_once_its_time_is_over() -> None:
    called = 0

    async def call(_: random.Random) -> None:
        nonlocal called
        called += 1
        if called > 3:
            await asyncio.sleep(0.02)

    assert await arena.burst(call, 1_000, 0.01) > 0
    # Those that waited beside each other are all answered; nobody began after the end, which on a
    # host that does other things may be there before the second.
    assert 1 <= called <= 1_000


async def test_a_peer_that_is_missing_is_named_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers.shutil, "which", lambda _: None)
    job = act.BenchCompare(peers=("redis", "streams"), growth=0, rounds=1)
    found = await compare.compare(job, scratch=tmp_path, progress=ignore)
    assert [(row.peer, row.verdict, row.rounds) for row in found] == [
        ("redis", "left out", 0), ("streams", "left out", 0),
    ]  # fmt: skip
    assert "redis-server is not installed" in found[0].workload
    with pytest.raises(Unavailable, match="redis-server is not installed"):
        async with peers.open_peer("redis", tmp_path / "r", values(), []):
            pass
    assert "pip install swarmdeck[peers]" in peers.absent("sqlitedict") or not peers.absent(
        "sqlitedict"
    )


@pytest.mark.redis
async def test_queues_sockets_and_growth_have_their_rows(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "RECORDS", FEW)
    monkeypatch.setattr(compare, "SETTLE_S", 0)
    monkeypatch.setattr(compare.queues, "HANDED", 20)
    monkeypatch.setattr(compare.queues, "AHEAD_A_SECOND", 5_000)
    job = act.BenchCompare(
        peers=("redis", "streams"), workloads=("socket",), rounds=1, seconds=0.1, growth=1_000
    )
    found = await compare.compare(job, scratch=tmp_path, progress=ignore)
    assert [(row.name, row.peer, row.unit) for row in found] == [
        ("socket set", "redis", "/s"),
        ("socket get", "redis", "/s"),
        ("send", "streams", "/s"),
        ("claim+ack", "streams", "/s"),
        ("send full", "streams", "/s"),
        ("claim+ack full", "streams", "/s"),
        ("end to end", "streams", "us"),
        ("hand over", "streams", "us"),
        ("socket hand over", "streams", "us"),
        ("claim growth", "1,000 queued", "us"),
    ]
    assert all(row.ratio > 0 for row in found)


def test_the_extra_names_the_same_packages_as_the_group() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert (
        project["project"]["optional-dependencies"]["peers"]
        == (project["dependency-groups"]["peers"])
    )


def test_peers_stand_in_one_word_or_in_several() -> None:
    words = ["bench", "compare", "--peers", "raw,redis", "--peers", "swarmdb-style"]
    asked = commandline.parse(words)
    assert isinstance(asked, act.BenchCompare)
    assert asked.peers == ("raw", "redis", "swarmdb-style")
    assert commandline.parse(commandline.render(asked)) == asked
    with pytest.raises(InvalidInput, match="unknown peer 'rediss'"):
        commandline.parse(["bench", "compare", "--peers", "raw,rediss"])


# --- verdicts -------------------------------------------------------------------------------


def test_a_bar_is_met_by_the_median() -> None:
    pairs = [(10.0, 10.0), (30.0, 10.0), (20.0, 10.0)]
    found = judged(Outcome("set", "raw", pairs, "words", bar=2.0))
    assert (found.ratio, found.ratio_low, found.ratio_high) == (2, 1, 3)
    assert (found.ours, found.theirs, found.rounds, found.verdict) == (20, 10, 3, "met")
    assert judged(Outcome("set", "raw", pairs, "words", bar=2.01)).verdict == "missed"
    most = Outcome("sweep", "20 ms", [(21.0, 20.0)], "words", "ms", 1.0, at_most=True)
    assert judged(most).verdict == "missed"
    assert judged(msgspec.structs.replace(most, pairs=[(20.0, 20.0)])).verdict == "met"
    assert judged(Outcome("set", "raw", pairs, "words")).verdict == ""


def test_every_bar_is_of_a_workload_and_a_peer_there_is() -> None:
    assert {name for name, _ in AT_LEAST} <= set(arena.WORDS)
    assert {peer for _, peer in AT_LEAST} <= set(peers.NAMES)


@pytest.mark.redis
async def test_a_bar_whose_peer_is_away_is_left_out(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = {"diskcache", "redis", "naive"}
    monkeypatch.setattr(held, "absent", lambda name: "it is not here" if name in away else "")
    job = act.BenchBars(names=("peers",), rounds=1, seconds=0.1)
    found = await held.measure_bars(job, scratch=tmp_path, progress=ignore)
    assert [(row.name, row.peer) for row in found] == list(AT_LEAST)
    assert {row.peer for row in found if row.verdict == "left out"} == away
    assert {row.verdict for row in found if row.peer == "raw"} <= {"met", "missed"}
    assert all(row.bar == AT_LEAST[row.name, row.peer] for row in found)


async def test_few_records_are_measured_beside_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "SMALL", 100)
    monkeypatch.setattr(sizes, "FILL", 50)
    found = [judged(each) for each in await sizes.by_size(tmp_path, 300, 2, 0.02, ignore)]
    assert [(row.name, row.peer, row.rounds) for row in found] == [
        ("set, 300", "100 records", 2),
        ("get hit, 300", "100 records", 2),
        ("get miss, 300", "100 records", 2),
        ("resident", "configured", 1),
    ]
    assert all(row.ours > 0 for row in found[:3])
    assert found[3].theirs == 64 + 2 * 16


async def test_swarmdb_and_tasks_are_held_to_their_bars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "ACKED", 50)
    monkeypatch.setattr(graphs, "TASKS", 300)
    monkeypatch.setattr(graphs, "DEPENDENCIES", 1_500)
    single, _ = (judged(each) for each in stores.inserting(tmp_path / "inserts", 1, 0.05))
    assert single.ours > single.theirs > 0
    killed = judged(await stores.killing(tmp_path / "kills", 1))
    assert (killed.ours, killed.verdict) == (0, "met")
    assert killed.theirs >= 50
    longest, circles = (judged(each) for each in graphs.completing(1))
    assert 0 < longest.ours < 1_000
    assert (circles.ours, circles.verdict) == (graphs.WAYS, "met")


async def test_events_that_are_gone_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(stores.SwarmDB):
        def get_events(self, *args: Any, **named: Any) -> list[Any]:
            return super().get_events(*args, **named)[7:]

    monkeypatch.setattr(stores, "ACKED", 20)
    monkeypatch.setattr(stores, "SwarmDB", Forgetful)
    lost, acked = await stores._kill_once(tmp_path / "killed.db")
    assert 6 <= lost <= 7  # one more may have been stored and not been told
    assert acked >= 20


# --- through the engine, and the report -----------------------------------------------------


async def test_bars_are_measured_apart_and_written_down(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "place"
    job = act.BenchBars(names=("sweep",), rounds=1, expired=1_000, report=str(folder))
    async with open_engine(tmp_path / "data") as engine:
        found: list[views.ComparisonView] = await engine.run(job)
    assert [(row.name, row.peer) for row in found] == [("sweep", "20 ms"), ("sweep", "no sweep")]
    assert found[0].theirs == 20
    assert sorted(path.name for path in folder.iterdir()) == ["bars.json", "bars.svg", "bars.txt"]
    kept = msgspec.json.decode((folder / "bars.json").read_bytes(), type=list[views.ComparisonView])
    assert kept == found
    assert "1,000 records" in (folder / "bars.txt").read_text()


async def test_a_report_that_cannot_be_written_is_refused_before_measuring(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    job = act.BenchBars(report=str(tmp_path / "file"))
    async with open_engine(tmp_path / "data") as engine:
        with pytest.raises(InvalidInput, match="no report can be written"):
            await engine.run(job)


ROWS = [
    judged(Outcome("set", "raw", [(6.0, 10.0), (8.0, 10.0)], "1 KB & more", bar=0.6)),
    judged(Outcome("set", "redis", [(20.0, 10.0)], "1 KB & more", bar=2.5)),
    judged(Outcome("get hit", "raw", [(300.0, 100.0)], "from the cache")),
    left_out("all", "sqlitedict", "sqlitedict is not installed"),
]


def test_the_text_draws_ratios_with_their_spread_and_verdict() -> None:
    text = report.as_text(["head"], ROWS)
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith("  ")}
    assert "met: at least 0.6" in lines["raw"] or "3" in lines["raw"]
    raw, redis = (line for line in text.splitlines() if "at least" in line)
    assert "0.6 to 0.8" in raw
    assert "met: at least 0.6" in raw
    assert "missed: at least 2.5" in redis
    assert redis.count("█") > raw.count("█") > 0
    assert redis.index("|") > redis.index(":")  # its bar lies above 1
    assert "left out: sqlitedict is not installed" in text
    assert max(map(len, text.splitlines())) < 130


def test_the_picture_is_sound_and_holds_every_row() -> None:
    root = ET.fromstring(report.as_svg(["head <&>", "second"], ROWS))
    texts = [element.text or "" for element in root.iter() if element.tag.endswith("text")]
    assert {"head <&>", "raw", "redis", "set", "get hit"} <= set(texts)
    assert "left out: sqlitedict is not installed" in texts
    bars = [element for element in root.iter() if element.tag.endswith("rect")][1:]
    widths = [float(bar.get("width") or 0) for bar in bars]
    assert widths[0] < widths[1] < widths[2]
    assert [bar.get("fill") for bar in bars] == ["#3d8f5f", "#bf4a3f", "#5b7fb4"]


def test_a_scale_ends_at_powers_of_ten_and_bears_nothing() -> None:
    scale = report._Scale(ROWS)
    assert (scale.low, scale.high) == (0.1, 10.0)
    assert [scale.at(value) for value in (0.0, 0.1, 1.0, 10.0, 99.0)] == [0, 0, 0.5, 1, 1]
    nothing = judged(Outcome("lost", "all", [(0.0, 5.0)], "words", bar=0.0, at_most=True))
    assert report._Scale([nothing]).at(nothing.ratio) == 0
    assert "met: at most 0" in report.as_text([], [nothing])

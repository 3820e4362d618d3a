"""A page is what sorting everything would give, however it was found and from wherever."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from swarmdeck.engine.errors import InvalidInput
from swarmdeck.engine.model import OPERATOR_PRINCIPAL, MessageState
from swarmdeck.engine.queue import listing, pages
from swarmdeck.engine.queue.ages import Ages
from swarmdeck.engine.queue.listing import Wish, list_over
from swarmdeck.engine.store import aside
from swarmdeck.engine.views import MessageView

ORDERS = ["urgency", "age", "kind", "attempts"]
STATES = [None, *MessageState]


async def fill(scene: Any, seed: int) -> None:
    """Messages of all states, priorities, lanes and attempts."""
    chance = random.Random(seed)
    targets = [None, *scene.town.agents, "dev_swarm_a"]
    for number in range(60):
        scene.clock.advance(0.5)
        ident = await scene.send(
            chance.choice("xyz"),
            priority=chance.choice([3, 5, 5, 5, 9]),
            to=chance.choice(targets),
            delay_s=chance.choice([0, 0, 0, 900]),
            max_attempts=chance.choice([1, 3]),
        )
        if number % 9 == 8:
            await scene.queue.cancel(OPERATOR_PRINCIPAL, ident)
    for agent in (scene.a, scene.b, scene.c):
        for message in await scene.claim(agent, 8, lease_s=600):
            await _end(scene, agent, message, chance.choice(["ack", "nack", "later", "hold"]))


async def _end(scene: Any, agent: Any, message: list[Any], act: str) -> None:
    if act == "ack":
        await scene.queue.ack(agent, message[0], message[4])
    elif act != "hold":
        delay_s = 0 if act == "nack" else 800
        await scene.queue.nack(agent, message[0], message[4], "Größe: no", delay_s)


@pytest.fixture(params=["light", "aside", "many lanes", "sorted"])
async def scenes(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make_scene: Callable[[Path], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[list[Any]]:
    """Two queues of the same kind, found through in each of the ways there are."""
    if request.param != "light":
        monkeypatch.setattr(aside, "LIGHT_ROWS", -1)
    if request.param in {"many lanes", "sorted"}:
        monkeypatch.setattr(pages, "SORTING", 1_000 if request.param == "many lanes" else 0)
    made = [make_scene(tmp_path / f"{name}.db") for name in "ab"]
    for seed, scene in enumerate(made):
        await scene.open()
        await fill(scene, seed)
    yield made
    for scene in made:
        await scene.close()


async def every(scenes: list[Any]) -> list[MessageView]:
    """All messages there are."""
    found = []
    for scene in scenes:
        rows = await scene.rows("SELECT id FROM message")
        shown = (scene.queue.show(f"dev_msg_{row[0]}") for row in rows)
        found += await asyncio.gather(*shown)
    return found


def key_of(wanted: Wish) -> Callable[[MessageView], tuple[Any, ...]]:
    """The order of a wish, told again."""

    def number(view: MessageView) -> int:
        return int(view.id.rpartition("_")[2])

    def urgency(view: MessageView) -> tuple[Any, ...]:
        return (-view.priority, view.created_at_us, number(view))

    if wanted.order == "urgency" and wanted.state in STATES[4:]:
        return lambda view: (-view.created_at_us, -number(view))
    return {
        "urgency": urgency,
        "age": lambda view: (view.created_at_us, number(view)),
        "kind": lambda view: (view.kind, *urgency(view)),
        "attempts": lambda view: (view.attempt, *urgency(view)),
    }[wanted.order]


def meets(view: MessageView, wanted: Wish) -> bool:
    states = [wanted.state] if wanted.state else ["ready", "delayed", "leased"]
    if wanted.holder and not wanted.state:
        states = ["leased"]
    texts = (view.id, view.kind, view.sender, view.holder or "", view.to or "", view.error)
    return (
        view.state in states
        and wanted.kind in {None, view.kind}
        and wanted.holder in {None, view.holder}
        and wanted.sender in {None, view.sender}
        and any(wanted.contains.lower() in text.lower() for text in texts)
    )


def shown(views: list[MessageView]) -> list[tuple[str, int]]:
    return [(view.id, view.created_at_us) for view in views]


async def compare(scenes: list[Any], all_views: list[MessageView], wanted: Wish) -> None:
    found = [view for view in all_views if meets(view, wanted)]
    found.sort(key=key_of(wanted), reverse=wanted.descending)
    queues = [scene.queue for scene in scenes]
    for offset in (0, 7, len(found) - 3):
        start = max(0, offset)
        page = await list_over(queues, wanted, offset=start, limit=5)
        assert shown(page) == shown(found[start : start + 5]), (wanted, offset)
        assert all(view.body is None for view in page)


@pytest.mark.parametrize("descending", [False, True])
async def test_a_page_is_a_part_of_the_whole_in_order(scenes: list[Any], descending: bool) -> None:
    for chosen in (scenes[:1], scenes):
        views = await every(chosen)
        for order in ORDERS:
            for state in STATES:
                await compare(chosen, views, Wish(state, order=order, descending=descending))


@pytest.mark.parametrize(
    "filters",
    [
        {"kind": "x"},
        {"kind": "x", "state": MessageState.READY},
        {"kind": "nobody", "state": MessageState.READY},
        {"holder": "dev_agent_a"},
        {"holder": "dev_agent_a", "state": MessageState.DONE},
        {"sender": "operator", "state": MessageState.CANCELLED},
        {"sender": "dev_agent_a"},
        {"contains": "MSG_1"},
        {"contains": "agent_B"},
        {"contains": "GRÖSSE"},
        {"contains": "GRÖßE"},
        {"contains": "%"},
        {"contains": "'; --"},
    ],
    ids=str,
)
async def test_filters_apply_before_the_page_is_cut(
    scenes: list[Any], filters: dict[str, Any]
) -> None:
    for chosen in (scenes[:1], scenes):
        views = await every(chosen)
        for order in ORDERS:
            await compare(chosen, views, Wish(order=order, **filters))


async def test_a_page_far_down_reads_little_of_several_queues(scenes: list[Any]) -> None:
    """What is known to lie before the page is left out, not read and thrown away."""
    small, large = [scene.queue for scene in scenes]
    assert listing._spans([3, 1_000_000], 999_900, 100) == [(0, 3), (999_897, 103)]
    assert listing._spans([1_000_000], 999_999, 1) == [(999_999, 1)]
    wanted = Wish(MessageState.READY)
    total = small.total(wanted) + large.total(wanted)
    assert len(await list_over([small, large], wanted, offset=total - 2, limit=9)) == 2


async def test_a_page_too_deep_to_be_merged_is_refused(
    scenes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MOST_MERGED", 12)
    queues = [scene.queue for scene in scenes]
    assert len(await list_over(queues, Wish(), offset=8, limit=4)) == 4
    with pytest.raises(InvalidInput, match="too far down"):
        await list_over(queues, Wish(kind="x"), offset=9, limit=4)


async def test_an_unknown_order_is_refused(scene: Any) -> None:
    await scene.send()
    with pytest.raises(InvalidInput, match="no order size"):
        await list_over([scene.queue], Wish(order="size"), offset=0, limit=1)


async def test_an_empty_queue_has_an_empty_page(scene: Any) -> None:
    assert await list_over([scene.queue], Wish(), offset=0, limit=10) == []
    assert await list_over([], Wish(), offset=3, limit=10) == []


async def test_nothing_new_is_read_of_priorities_above_the_page(scene: Any) -> None:
    """What the counts by priority are for."""
    for priority in (9, 9, 9, 5, 1):
        await scene.send(priority=priority)
    found = list(pages.slices(scene.queue.counters, Wish(), 3, 2))
    assert found == [pages.Slice(5, 0, 1), pages.Slice(1, 0, 1)]


async def test_an_old_message_that_is_ready_again_is_the_oldest(scene: Any) -> None:
    sent_us = scene.clock.wall_us()
    await scene.send("x", priority=5)
    [message] = await scene.claim(scene.a, 1, lease_s=600)
    assert _oldest(scene) is None
    scene.clock.advance(60)
    await scene.send("x", priority=5)
    assert _oldest(scene) == sent_us + 60_000_000
    await scene.queue.nack(scene.a, message[0], message[4], "later", 0)
    assert _oldest(scene) == sent_us == scene.queue.counters.priorities.oldest_us


def test_times_that_no_message_has_any_more_do_not_pile_up() -> None:
    ages = Ages()
    ages.add(1)
    for sent_us in range(2, 10_000):
        ages.add(sent_us)
        ages.remove(sent_us)
    assert ages.oldest_us == 1
    assert len(ages._times) < 100


def _oldest(scene: Any) -> int | None:
    return {lane.priority: lane.oldest_at_us for lane in scene.queue.lane_views()}[5]

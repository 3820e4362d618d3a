"""Events and metrics of users in the console."""

from __future__ import annotations

from typing import Any

from swarmdeck.engine import actions


async def test_events_are_followed_retried_and_deleted_by_keys(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("events @development")
        await deck.until(lambda: "build.done" in deck.text)
        first = "dev_event_4120"
        await deck.press("enter")
        await deck.until(lambda: '"branch": "main"' in deck.text)
        await deck.press("escape")
        await deck.until(lambda: "Events, newest first" in deck.text)
        await deck.press("m")
        await deck.until(lambda: "event chain" in deck.text)
        assert actions.EventChain(id=first) in deck.host.asked
        await deck.press("escape")
        await deck.until(lambda: "Events, newest first" in deck.text)
        await deck.press("r")
        await deck.until(lambda: actions.EventRetry(id=first) in deck.host.asked)
        await deck.press("ctrl+x")
        await deck.until(lambda: f"Delete {first} of development?" in deck.text)
        await deck.press("y")
        wanted = actions.EventPurge(environment="development", ids=(first,))
        await deck.until(lambda: wanted in deck.host.asked)


async def test_the_chart_is_that_of_the_selected_series(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("measures")
        await deck.until(lambda: "tasks.done · p50" in deck.text)
        await deck.press("j")
        await deck.until(lambda: "queue.depth · p50" in deck.text)
        await deck.press("right")
        await deck.until(lambda: "last 6h" in deck.text)
        await deck.press("enter")
        await deck.until(lambda: "▸ dev_measure_2 · last" in deck.text)
        asked = [each for each in deck.host.asked if isinstance(each, actions.MetricQuery)]
        assert {(each.name, each.publisher, each.labels) for each in asked} == {
            ("tasks.done", "dev_agent_00000000", ("queue=digest", "step=plan")),
            ("queue.depth", "dev_agent_00000001", ()),
        }
        assert {each.since_s for each in asked} == {3_600, 21_600}

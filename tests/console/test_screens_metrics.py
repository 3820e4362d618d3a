"""What was measured: the subjects, charts of one, windows, and the ways there."""

from __future__ import annotations

from typing import Any

import pytest

from swarmdeck.console.screens.charts import ChartsScreen
from swarmdeck.engine import actions
from swarmdeck.engine.errors import Unavailable


def asked(deck: Any) -> list[tuple[str, str]]:
    """Subjects and windows that were asked for, in order."""
    return [(a.subject, a.window) for a in deck.host.asked if isinstance(a, actions.MetricsShow)]


async def test_the_charts_are_those_of_the_selected_row(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("metrics")
        await deck.until(lambda: "host · last 1h · steps of 30 s" in deck.text)
        await deck.press("j", "j", "j", "j")
        await deck.until(lambda: "development · last 1h" in deck.text and "oldest" in deck.text)
        assert [subject for subject, _ in asked(deck)][-1] == "development"


async def test_windows_go_round(fakes: Any) -> None:
    async with fakes.console(fakes.busy(), notifications=True) as deck:
        await deck.type("metrics")
        await deck.until(lambda: "last 1h · steps" in deck.text)
        for window in ("6h", "24h", "7d", "30d", "1h"):
            await deck.press("right")
            await deck.until(lambda window=window: f"last {window} · steps" in deck.text)
        await deck.press("left")
        await deck.until(lambda: "last 30d · steps" in deck.text)
        await deck.type("window 7d")
        await deck.until(lambda: "last 7d · steps" in deck.text)
        await deck.type("window 2h")
        await deck.until(lambda: "unknown window" in deck.text)


async def test_an_answer_that_came_too_late_is_not_shown(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("metrics")
        await deck.until(lambda: "host · last 1h · steps" in deck.text)
        charts = deck.app.deck.charts
        charts.about("queue")
        charts._take(actions.MetricsShow(subject="host"), [], None)
        assert "queue · last 1h" in str(charts.grid.title)


@pytest.mark.parametrize(
    ("view", "title"),
    [("swarms", "prod_swarm_4kd81xq2"), ("agents", "prod_agent_00000000"),
     ("memory", "production")],
)  # fmt: skip
async def test_a_row_leads_to_its_charts(fakes: Any, view: str, title: str) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type(view)
        await deck.until(lambda: title in deck.text)
        await deck.press("W")
        await deck.until(lambda: f"{title} · last 1h · steps" in deck.text)
        assert isinstance(deck.app.deck, ChartsScreen)
        await deck.press("escape")
        await deck.until(lambda: not isinstance(deck.app.deck, ChartsScreen))


async def test_all_charts_of_a_subject_are_gone_through(fakes: Any) -> None:
    async with fakes.console(fakes.busy(), size=(80, 14)) as deck:
        await deck.type("charts development")
        await deck.until(lambda: "1 to 2 of 7" in deck.text)
        await deck.press("j", "j", "j")
        await deck.until(lambda: "7 of 7" in deck.text)


async def test_what_does_not_change_is_asked_for_seldom(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("charts host")
        await deck.until(lambda: "host · last 1h · steps" in deck.text)
        for _ in range(5):
            deck.app.refresh_soon()
            await deck.pilot.pause(0.15)
        assert len(asked(deck)) == 1


async def test_an_error_stands_in_place_of_the_charts(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    host.failures[actions.MetricsShow] = Unavailable("it was never measured", hint="wait")
    async with fakes.console(host=host) as deck:
        await deck.type("charts prod_agent_00000009")
        await deck.until(lambda: "✗ it was never measured" in deck.text)


async def test_a_measured_row_is_explained_where_it_can_be(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("metrics")
        await deck.until(lambda: "host · last 1h" in deck.text)
        await deck.press("x")
        await deck.until(lambda: any(isinstance(a, actions.Explain) for a in deck.host.asked))
        assert deck.host.asked[-1].subject == "host" or "host" in deck.text

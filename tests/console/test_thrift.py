"""What the console sends and asks when it should be still: nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from textual._compositor import ChopsUpdate

from swarmdeck.console.bridge import INTERVALS_S, Bridge
from swarmdeck.console.commands import SCREENS
from swarmdeck.console.preferences import LOW_BANDWIDTH_S, Preferences, preferences
from swarmdeck.engine import actions
from swarmdeck.engine.settings import load_settings


def trembling(fakes: Any) -> Any:
    """A host at rest whose small numbers move at every look, as real ones do."""
    host = fakes.FakeHost(fakes.busy())
    still, looks = host.overview, [0]

    def look(_action: Any) -> Any:
        looks[0] += 1
        engine = msgspec.structs.replace(
            still.engine, loop_lag_ms=looks[0] % 5 * 0.9, uptime_s=still.engine.uptime_s + looks[0]
        )
        free = still.host.available_bytes + (looks[0] % 5 << 27)
        return msgspec.structs.replace(
            still,
            engine=engine,
            host=msgspec.structs.replace(still.host, available_bytes=free),
            at_us=still.at_us + looks[0] * 1_000,
        )

    host.answers[actions.Status] = look
    return host


@pytest.fixture
def paint_what_is_seen() -> None:
    """Here each repaint counts."""


@pytest.mark.parametrize("name", SCREENS)
async def test_a_console_at_rest_repaints_nothing(
    fakes: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = trembling(fakes)
    async with fakes.console(host=host) as deck:
        if name != "overview":
            await deck.type(name)
        await deck.until(lambda: "reading …" not in deck.text)
        await settled(deck)
        painted: list[Any] = []
        display = deck.app._display

        def record(screen: Any, renderable: Any) -> None:
            if not isinstance(renderable, ChopsUpdate) or renderable.spans:
                painted.append(renderable)
            display(screen, renderable)

        monkeypatch.setattr(deck.app, "_display", record)
        for _ in range(4):
            await looked(deck)
        assert [update.spans for update in painted] == []


async def settled(deck: Any) -> None:
    for _ in range(3):
        await looked(deck)


async def looked(deck: Any) -> None:
    """One more pull, shown."""
    before = deck.app.last
    deck.app.refresh_soon()
    await deck.until(lambda: deck.app.last is not before)
    await deck.pilot.pause(0.05)


async def test_the_interval_can_be_changed_by_key_and_by_line(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.until(lambda: deck.app.bridge.interval_s == 1.0)
        await deck.press("less_than_sign")
        await deck.until(lambda: deck.app.bridge.interval_s == 2.0)
        await deck.press("greater_than_sign", "greater_than_sign")
        await deck.until(lambda: deck.app.bridge.interval_s == 0.5)
        await deck.type("interval 7.5s")
        await deck.until(lambda: deck.app.bridge.interval_s == 7.5)
        await deck.press("greater_than_sign")
        await deck.until(lambda: deck.app.bridge.interval_s == 5.0)
        for word in ("soon", "0", "61", "nan"):
            await deck.type(f"interval {word}")
            refusal = f"'{word}' is no interval"
            await deck.until(lambda said=refusal: any(said in toast for toast in deck.toasts))
        await deck.until(lambda: deck.app.bridge.interval_s == 5.0)
        for _ in INTERVALS_S:
            await deck.press("less_than_sign")
        await deck.until(lambda: deck.app.bridge.interval_s == INTERVALS_S[-1])


async def test_a_long_interval_holds_for_changes_but_not_for_a_person(fakes: Any) -> None:
    wanted = Preferences(interval_s=60.0)
    async with fakes.console(fakes.busy(), preferences=wanted) as deck:
        await deck.pilot.pause(0.3)
        asked = len(deck.host.asked)
        deck.app.bridge.mark()
        await deck.pilot.pause(0.3)
        assert len(deck.host.asked) == asked
        await deck.press("ctrl+r")
        await deck.until(lambda: len(deck.host.asked) > asked)


async def test_a_short_interval_is_woken_by_changes(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    seen: list[Any] = []
    bridge = Bridge(host, lambda: None, seen.append, interval_s=1.0)
    assert bridge.interval_s == 1.0
    pull = await bridge.pull()
    assert pull.overview is host.overview


def test_low_bandwidth_looks_every_five_seconds_and_can_look_less() -> None:
    def of(**console: str) -> Preferences:
        given = {f"console.{name}": value for name, value in console.items()}
        return preferences(load_settings(None, {}, given), env={"HOME": "/home/x"})

    assert of().interval_s == 1.0
    assert of(low_bandwidth="true").interval_s == LOW_BANDWIDTH_S
    assert of(low_bandwidth="true", interval_s="30").interval_s == 30.0
    assert not of(mouse="false").mouse
    assert str(of().history_file) == "/home/x/.local/state/swarmdeck/history"
    assert str(of().keymap_file) == "/home/x/.config/swarmdeck/keymap.toml"
    assert preferences(load_settings(None, {}, {}), env={}).history_file is None


async def test_a_thin_line_gets_round_numbers(fakes: Any) -> None:
    wanted = Preferences(low_bandwidth=True)
    async with fakes.console(fakes.failing(), preferences=wanted) as deck:
        assert deck.app.low_bandwidth
        assert "writer 900" in deck.text.splitlines()[-2]


@pytest.mark.parametrize("name", SCREENS)
async def test_every_screen_works_without_colour(
    fakes: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with fakes.console(fakes.busy(), size=(120, 30)) as deck:
        await deck.type(name)
        await deck.until(lambda: deck.app.deck.crumb == name and "reading …" not in deck.text)
        assert deck.app.no_color
        assert not any("defect" in toast for toast in deck.toasts)

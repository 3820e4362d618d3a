"""A plan is never cut: it wraps, and what does not fit is scrolled to."""

from __future__ import annotations

from textual.app import ComposeResult

from swarmdeck.widgets import ConfirmPlan, DeckApp


class One(DeckApp):
    def __init__(self, plan: ConfirmPlan) -> None:
        super().__init__()
        self.plan = plan

    def compose(self) -> ComposeResult:
        yield self.plan

    def on_mount(self) -> None:
        self.plan.focus()


def text(plan: ConfirmPlan) -> str:
    rows = (plan.render_line(y) for y in range(plan.size.height))
    return "\n".join("".join(segment.text for segment in row).rstrip() for row in rows)


async def test_a_short_plan_is_all_there() -> None:
    plan = ConfirmPlan("Purge?", ["3 messages"], command="swarmdeck queue purge", words=["yes"])
    async with One(plan).run_test(size=(60, plan.height_for(60))):
        shown = text(plan)
        for part in ("Purge?", "• 3 messages", "$ swarmdeck queue purge", "type yes"):
            assert part in shown


async def test_a_long_plan_scrolls_and_its_question_and_command_stay() -> None:
    plan = ConfirmPlan("Cancel 50?", [f"message {n}" for n in range(50)], command="swarmdeck x")
    async with One(plan).run_test(size=(60, 14)) as pilot:
        assert "message 0" in text(plan)
        assert "42 below" in text(plan)
        await pilot.press(*["j"] * 60)
        shown = text(plan)
        assert "message 49" in shown
        assert "0 below" in shown
        assert "Cancel 50?" in shown
        assert "$ swarmdeck x" in shown
        await pilot.press("pageup", "pageup", *["k"] * 60)
        assert "message 0" in text(plan)


async def test_long_and_wide_texts_wrap_and_nothing_is_lost() -> None:
    wide = "漢字" * 40
    plan = ConfirmPlan("Edit?", ["word " * 40, wide], refused="it does not fit " * 8)
    async with One(plan).run_test(size=(50, plan.height_for(50))):
        shown = text(plan)
        assert shown.count("word") == 40
        assert shown.count("漢") == shown.count("字") == 40
        assert " ".join(shown.split()).count("does not fit") == 8


async def test_what_came_from_data_cannot_act() -> None:
    plan = ConfirmPlan("End \x1b[2J?", ["name \x1b]0;x\x07 [@click=app.exit]x[/]"])
    async with One(plan).run_test(size=(60, 8)) as pilot:
        assert "␛[2J" in text(plan)
        await pilot.click(ConfirmPlan, offset=(20, 3))
        assert pilot.app.is_running

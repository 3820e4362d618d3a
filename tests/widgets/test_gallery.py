"""All widgets, as committed pictures in all themes."""

from __future__ import annotations

from typing import Any

import pytest

from swarmdeck import themes
from swarmdeck.widgets.gallery import Gallery

Snapshot = Any


@pytest.mark.parametrize("theme", themes.names())
async def test_gallery_looks_as_committed(snapshot: Snapshot, theme: str) -> None:
    await snapshot(lambda: Gallery(theme), f"widgets/gallery-{theme.removeprefix('swarmdeck-')}")


async def test_command_bar_shows_the_chosen_candidate(snapshot: Snapshot) -> None:
    press = ("colon", "tab", "tab", "tab")
    await snapshot(Gallery, "widgets/command", sizes=[(80, 24)], press=press)


async def test_sorted_and_marked_table_says_so(snapshot: Snapshot) -> None:
    press = ("space", "j", "space", "o", "o", "o", "o", "O")
    await snapshot(Gallery, "widgets/table-marked", sizes=[(120, 30)], press=press)


@pytest.mark.parametrize("theme", themes.names())
async def test_the_second_page_looks_as_committed(snapshot: Snapshot, theme: str) -> None:
    name = f"widgets/gallery-2-{theme.removeprefix('swarmdeck-')}"
    await snapshot(lambda: Gallery(theme), name, sizes=[(120, 30)], press=("n", "j", "l"))

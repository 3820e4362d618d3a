"""The snapshot fixture itself: what it writes, and that it can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.app import ComposeResult

from swarmdeck.widgets import DeckApp, Tile, line


class Hello(DeckApp):
    def __init__(self, word: str, style: str = "text") -> None:
        super().__init__()
        self.span = (word, style)

    def compose(self) -> ComposeResult:
        yield Tile(title="漢字", id="tile")

    def on_mount(self) -> None:
        self.query_one(Tile).set_lines([line(self.span)])


@pytest.fixture
def snapshots(snapshot: Any, tmp_path: Path) -> Any:
    """Two comparers on a scratch folder: one writes, one compares."""
    kind = type(snapshot)
    folder, seen = tmp_path / "committed", tmp_path / "seen"
    return kind(folder, seen, update=True), kind(folder, seen, update=False), folder


SIZES = [(24, 4)]


async def test_the_same_screen_passes_and_is_written_the_same(snapshots: Any) -> None:
    write, compare, folder = snapshots
    await write(lambda: Hello("hello"), "area/hello", sizes=SIZES)
    first = {path.name: path.read_bytes() for path in (folder / "area").iterdir()}
    await write(lambda: Hello("hello"), "area/hello", sizes=SIZES)
    assert first == {path.name: path.read_bytes() for path in (folder / "area").iterdir()}
    assert set(first) == {"hello-24x4.txt", "hello-24x4.svg"}
    await compare(lambda: Hello("hello"), "area/hello", sizes=SIZES)


async def test_another_text_fails_with_a_readable_difference(snapshots: Any) -> None:
    write, compare, _ = snapshots
    await write(lambda: Hello("hello"), "area/hello", sizes=SIZES)
    with pytest.raises(pytest.fail.Exception) as caught:
        await compare(lambda: Hello("hullo"), "area/hello", sizes=SIZES)
    assert "-│ hello" in str(caught.value)
    assert "+│ hullo" in str(caught.value)


async def test_another_colour_fails(snapshots: Any) -> None:
    write, compare, _ = snapshots
    await write(lambda: Hello("hello"), "area/hello", sizes=SIZES)
    with pytest.raises(pytest.fail.Exception, match="other colours"):
        await compare(lambda: Hello("hello", "bad"), "area/hello", sizes=SIZES)


async def test_a_missing_snapshot_fails_and_says_how_to_make_it(snapshots: Any) -> None:
    _, compare, folder = snapshots
    with pytest.raises(pytest.fail.Exception, match="--snapshot-update"):
        await compare(lambda: Hello("hello"), "area/hello", sizes=SIZES)
    assert not folder.exists()


async def test_pictures_load_nothing_from_elsewhere(snapshots: Any) -> None:
    write, _, folder = snapshots
    await write(lambda: Hello("hello"), "area/hello", sizes=SIZES)
    svg = (folder / "area/hello-24x4.svg").read_text(encoding="utf-8")
    assert "url(http" not in svg
    assert "@font-face" not in svg


async def test_a_blank_in_another_ink_is_the_same_picture(snapshots: Any) -> None:
    write, compare, folder = snapshots
    await write(lambda: Hello("   ", "muted"), "area/blank", sizes=SIZES)
    muted = (folder / "area" / "blank-24x4.svg").read_text(encoding="utf-8")
    await compare(lambda: Hello("   ", "text"), "area/blank", sizes=SIZES)
    await write(lambda: Hello("   ", "text"), "area/blank", sizes=SIZES)
    assert muted != (folder / "area" / "blank-24x4.svg").read_text(encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match="other colours"):
        await compare(lambda: Hello("   ", "bad reverse"), "area/blank", sizes=SIZES)

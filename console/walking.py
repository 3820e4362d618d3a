"""Going through the views: the stack of screens, the trail of those seen, and a line's views."""

from __future__ import annotations

from ..engine.errors import InvalidInput, NotFound
from ..widgets import DeckApp
from .bridge import Pull
from .columns import Moment
from .commands import GoTo
from .places import Place
from .screens import DeckScreen, ListScreen, screen_for
from .trail import Path, Trail


class Walker(DeckApp, inherit_bindings=False):
    """The part of the app that shows one screen after the other. `last` is the pull that a new
    screen begins with, `moment` the time its ages are reckoned to."""

    def __init__(self, theme: str) -> None:
        super().__init__(theme)
        self.last = Pull(None)
        self.moment = Moment()
        self.trail = Trail((Place("overview"),))

    def show_foot(self) -> None:
        """Head and status line of the screen in front, from what is known now."""
        raise NotImplementedError

    def refresh_soon(self) -> None:
        """Pull again, as soon as the last pull allows."""
        raise NotImplementedError

    @property
    def deck(self) -> DeckScreen | None:
        """The screen that is worked in, dialogs aside."""
        return next(reversed(self._decks()), None)

    def _decks(self) -> list[DeckScreen]:
        return [screen for screen in self.screen_stack if isinstance(screen, DeckScreen)]

    def visit(self, place: Place) -> None:
        """Show a place over the present one; the bridge asks for its rows at once. Raises
        InvalidInput for a place that cannot be narrowed as it says."""
        screen = self._made(place)
        self.trail.keep(self._path())
        self._push(screen)
        self.trail.went(self._path())

    def _made(self, place: Place) -> DeckScreen:
        screen = screen_for(place, self.moment)
        if isinstance(screen, ListScreen):
            screen.narrow_to(place)
        screen.came_from = place
        return screen

    def _push(self, screen: DeckScreen) -> None:
        self.push_screen(screen)
        self.call_after_refresh(self._arrived, screen)

    def _arrived(self, screen: DeckScreen) -> None:
        screen.show(Pull(self.last.overview))
        self.show_foot()
        self.refresh_soon()

    def go(self, place: Place) -> None:
        """Show a place on its own: back to the first screen, then there. Raises InvalidInput for
        one that cannot be narrowed as it says."""
        self._walk((Place("overview"), place) if place.name != "overview" else (place,))

    def back(self) -> None:
        """Leave the screen in front, unless it is the first."""
        if len(self._decks()) > 1:
            self._walk(self._path()[: len(self._decks()) - 1])

    def step(self, by: int) -> None:
        """So many views back (negative) or ahead, as they were left. Raises NotFound."""
        self.trail.keep(self._path())
        self._revisit(self.trail.step(by))

    def swap(self) -> None:
        """To the view before this one. Raises NotFound."""
        self.trail.keep(self._path())
        self._revisit(self.trail.swap())

    def _revisit(self, path: Path | None) -> None:
        if path is None:
            raise NotFound("there is no other view to go to")
        self._show_path(path)

    def _walk(self, path: Path) -> None:
        self.trail.keep(self._path())
        self._show_path(path)
        self.trail.went(self._path())

    def _show_path(self, path: Path) -> None:
        """Leave the screens that are not on the path, and put those on that are missing."""
        now = self._path()
        same = next((at for at, (a, b) in enumerate(zip(now, path, strict=False)) if a != b), None)
        kept = max(1, min(len(now), len(path)) if same is None else same)
        screens = [self._made(place) for place in path[kept:]]
        while len(self._decks()) > kept:
            self.pop_screen()
        for screen in screens:
            self._push(screen)
        self.call_after_refresh(self.show_foot)
        self.refresh_soon()

    def _path(self) -> Path:
        """Where one is: the places of the screens, one upon the other."""
        return tuple(screen.place for screen in self._decks() if screen.place.name != "help")

    def go_to(self, view: GoTo) -> None:
        """Memory is by environment already: one of them is its records."""
        if view.screen == "memory" and view.environment not in {"", "all"}:
            self.go(Place("records", view.environment, filter=view.filter))
            return
        where = "" if view.environment == "all" else view.environment
        if view.filter and view.screen == "overview":
            raise InvalidInput("the overview has no rows to filter", hint="2 to 9 show tables")
        self.go(Place(view.screen, filter=view.filter, environment=where, state=view.state))

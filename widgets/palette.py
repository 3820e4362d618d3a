"""Meaning to colour: the words widgets style their text with, as Rich styles and a Textual theme.

A style is one string of words: tokens of the theme (`bad`, `muted`, `production`) and modifiers
(`bold`, `reverse`). Widgets never name a colour, so one file changes all of them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from rich.style import Style
from textual.theme import Theme as TextualTheme

from .. import themes
from ..engine.errors import ConfigError

MODIFIERS: Final = ("bold", "dim", "italic", "underline", "reverse", "strike")


class Palette:
    """The styles of one theme. Styles always carry ink and ground: Textual's colour filters
    (NO_COLOR) cannot take a segment that has none."""

    def __init__(self, theme: themes.Theme) -> None:
        self.theme = theme
        self._colours = theme.tokens()
        self._styles: dict[tuple[str, str], Style] = {}

    def style(self, words: str, ground: str = "background") -> Style:
        """The style for `words` on the token `ground`. Raises ConfigError for an unknown word."""
        found = self._styles.get((words, ground))
        if found is None:
            found = self._styles[words, ground] = self._build(words, ground)
        return found

    def _build(self, words: str, ground: str) -> Style:
        ink = self._colours["text"]
        modifiers: dict[str, bool] = {}
        for word in words.split():
            if word in MODIFIERS:
                modifiers[word] = True
            else:
                ink = self._colour(word)
        return Style(color=ink, bgcolor=self._colour(ground), **modifiers)  # type: ignore[arg-type]

    def _colour(self, token: str) -> str:
        if token not in self._colours:
            known = (*self._colours, *MODIFIERS)
            raise ConfigError(
                f"unknown style {token!r} in theme {self.theme.name}",
                hint=themes.nearest(token, known) or f"known are {', '.join(known)}",
            )
        return self._colours[token]

    def textual_theme(self) -> TextualTheme:
        """The same colours for Textual's own widgets (inputs, lists, scroll bars)."""
        theme = self.theme
        colour = {token: self._textual(value) for token, value in self._colours.items()}
        return TextualTheme(
            name=theme.name,
            ansi=theme.ansi,
            primary=colour["accent"],
            secondary=colour["muted"],
            accent=colour["accent"],
            foreground=colour["text"],
            background=colour["background"],
            surface=colour["surface"],
            panel=colour["surface"],
            success=colour["good"],
            warning=colour["warning"],
            error=colour["bad"],
            dark=theme.dark,
            variables={
                "border": colour["border"],
                "border-blurred": colour["border"],
                "block-cursor-background": colour["cursor"],
                "block-cursor-foreground": colour["background"],
                "block-cursor-text-style": "none",
                "input-cursor-background": colour["cursor"],
                "input-cursor-foreground": colour["background"],
                # What has no colour of its own to stand out with is turned around.
                "input-cursor-text-style": "reverse" if theme.ansi else "none",
                "scrollbar": colour["border"],
                "scrollbar-background": colour["background"],
                "muted": colour["muted"],
                "ansi-background": "ansi_default",
                "ansi-foreground": "ansi_default",
            },
        )

    def _textual(self, colour: str) -> str:
        """A colour as Textual's style sheets name it."""
        return f"ansi_{colour}" if self.theme.ansi else colour


@lru_cache(maxsize=32)
def load_palette(name: str) -> Palette:
    """The palette of a bundled theme. Raises ConfigError: no such theme, or its file is wrong."""
    try:
        return Palette(themes.load(name))
    except themes.ThemeError as error:
        raise ConfigError(error.message, hint=error.hint) from error


@lru_cache(maxsize=32)
def palette_of(theme_name: str) -> Palette:
    """The palette for the theme an app shows; themes that are not ours get the default inks."""
    return load_palette(theme_name if theme_name in themes.names() else themes.DEFAULT)

"""Themes: complete, legible, and clear about what is wrong in them."""

from __future__ import annotations

import pytest
from rich.style import Style

from swarmdeck import themes
from swarmdeck.engine.errors import ConfigError
from swarmdeck.engine.model import Environment
from swarmdeck.widgets.palette import load_palette, palette_of

DARK = (themes._FOLDER / "swarmdeck-dark.toml").read_text(encoding="utf-8")


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.1."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", themes.names())
def test_every_ink_is_legible_on_every_ground(name: str) -> None:
    theme = themes.load(name)
    if theme.ansi:
        return  # what its colours are, the terminal alone knows
    enough = 7.0 if "contrast" in name else 4.5
    for token, ink in theme.tokens().items():
        least = {"background": 0, "surface": 0, "border": 2.0, "text": 9.0}.get(token, enough)
        for ground in (theme.background, theme.surface):
            assert contrast(ink, ground) >= least, (token, ground)


@pytest.mark.parametrize("name", themes.names())
def test_every_environment_has_a_colour(name: str) -> None:
    assert set(Environment) <= set(themes.load(name).tokens())


def test_the_terminal_theme_relies_on_no_ground() -> None:
    theme = themes.load("swarmdeck-terminal")
    assert theme.background == theme.surface == "default"
    assert not {"black", "white", "bright_black", "bright_white"} & set(theme.tokens().values())


def test_colours_of_both_kinds_are_refused() -> None:
    text = (themes._FOLDER / "swarmdeck-terminal.toml").read_text(encoding="utf-8")
    with pytest.raises(themes.ThemeError, match="not a colour of the terminal") as caught:
        themes.parse("mixed", text.replace('"cyan"', '"#00ffff"', 1))
    assert "bright_white" in caught.value.hint


def test_there_are_four() -> None:
    assert len(themes.names()) == 4


def test_the_default_comes_first() -> None:
    assert themes.names()[0] == themes.DEFAULT


@pytest.mark.parametrize(
    ("before", "after", "message", "hint"),
    [
        ("accent =", "acent =", "unknown token 'acent'", "accent"),
        ("staging =", "stagin =", "unknown token 'stagin'", "staging"),
        ('muted = "#8b939e"\n', "", "muted is missing", "muted ="),
        ('"#8b939e"', '"grey"', "muted = 'grey' is not a colour", "#rrggbb"),
        ('"#8b939e"', "7", "muted = 7 is not a colour", "#rrggbb"),
        ("dark = true", 'dark = "yes"', "Expected `bool`", "bundled"),
        ("dark = true", "dark = ", "not valid TOML", "line"),
    ],
)
def test_a_wrong_theme_says_what_and_what_to_do(
    before: str, after: str, message: str, hint: str
) -> None:
    assert before in DARK
    with pytest.raises(themes.ThemeError) as caught:
        themes.parse("mine", DARK.replace(before, after, 1))
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_environments_must_be_a_table() -> None:
    text = DARK.partition("[environments]")[0] + 'environments = "none"\n'
    with pytest.raises(themes.ThemeError, match="not a table"):
        themes.parse("mine", text)


def test_an_unknown_theme_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        load_palette("swarmdeck-drak")
    assert "swarmdeck-dark" in caught.value.hint


def test_an_unknown_style_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        load_palette(themes.DEFAULT).style("wraning")
    assert "warning" in caught.value.hint


def test_every_style_has_ink_and_ground() -> None:
    palette = load_palette(themes.DEFAULT)
    for words in ("", "text", "bad bold", "cursor reverse", "production"):
        style = palette.style(words)
        assert style.color is not None
        assert style.bgcolor is not None


def test_styles_are_words_not_colours() -> None:
    style = load_palette(themes.DEFAULT).style("bad bold", ground="surface")
    theme = themes.load(themes.DEFAULT)
    assert style == Style(color=theme.bad, bgcolor=theme.surface, bold=True)


def test_a_foreign_theme_gets_the_default_inks() -> None:
    assert palette_of("nord").theme.name == themes.DEFAULT

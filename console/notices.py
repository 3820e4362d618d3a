"""What is said on every screen while it lasts: a sealed vault, a clock that is held, a private
record that is read in an emergency, an environment whose file is damaged. Pure.

Words and times are coarse, so that a screen at rest stays still.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ..engine import views
from ..widgets import Span, mark_of, width_of
from . import wording

END_READING: Final = "!"
"""The key that ends a break-glass read; the key table has it."""


class Notice(NamedTuple):
    """What it is in as few words as can be, what more is to say where there is room, its style."""

    short: str
    more: str
    style: str


def notices(overview: views.Overview) -> list[Notice]:
    """The gravest first."""
    found = [*_breaking(overview), *_quarantined(overview), *_clock(overview), *_sealed(overview)]
    return sorted(found, key=lambda notice: notice.style != "bad")


def laid_out(found: Sequence[Notice], room: int) -> list[Span]:
    """As many as fit in their short form, and then as much more of each as there is room for."""
    shown: list[Notice] = []
    for notice in found:
        room -= width_of(notice.short) + 3
        if shown and room < 0:
            break
        shown.append(notice)
    spans: list[Span] = []
    for notice in shown:
        need = width_of(notice.more)
        whole = need <= room
        room -= need if whole else 0
        text = notice.short + (notice.more if whole else "")
        spans += [(f" {text} ", f"{notice.style} bold reverse"), (" ", "text")]
    return spans


def sealed(overview: views.Overview | None) -> bool:
    """Whether the vault is sealed, as far as is known."""
    return overview is not None and overview.vault.state == "sealed"


def why_no_records(overview: views.Overview, environment: str) -> str:
    """Why no record of an environment can be read and what to do; empty when they can."""
    found = next((each for each in overview.environments if each.name == environment), None)
    if found is not None and found.state == "quarantined":
        return (
            f"✗ {environment} is quarantined: {found.reason}\n\n"
            f"x  says more; :backups @{environment}  restores one of its copies"
        )
    if sealed(overview):
        reason = f": {overview.vault.reason}" if overview.vault.reason else ""
        return (
            f"■ The vault is sealed{reason}.\nIts records are there, and nobody can read them."
            "\n\nu  unseals it,  V  shows it"
        )
    return ""


def _sealed(overview: views.Overview) -> list[Notice]:
    if not sealed(overview):
        return []
    mark = mark_of("sealed")
    more = "  no record can be read or written"
    return [Notice(f"{mark.symbol} SEALED: u unseals", more, mark.style)]


def _quarantined(overview: views.Overview) -> list[Notice]:
    names = [each.name for each in overview.environments if each.state == "quarantined"]
    if not names:
        return []
    mark = mark_of("quarantined")
    short = f"{mark.symbol} QUARANTINED: {', '.join(names)}"
    return [Notice(short, "  0 shows why, :backups restores", mark.style)]


def _clock(overview: views.Overview) -> list[Notice]:
    if not overview.clock:
        return []
    return [Notice("▲ CLOCK HELD", "  :clock confirm accepts that it has jumped", "warning")]


def _breaking(overview: views.Overview) -> list[Notice]:
    """Who reads what until when; of several the one that ends first, and how many more."""
    if not overview.breaking:
        return []
    first, *others = sorted(overview.breaking, key=lambda grant: grant.expires_at_us)
    left = wording.left(overview.at_us, first.expires_at_us)
    count = f" +{len(others)}" if others else ""
    what = f"{first.granted_by} reads {first.environment} {first.namespace}:{first.key_prefix}"
    short = f"▲ BREAK-GLASS{count}: {left} left, {END_READING} ends it"
    return [Notice(short, f"  {what}", "bad")]

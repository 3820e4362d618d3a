"""What is said on every screen while it lasts: a sealed vault, a clock that is held, a private
record that is read in an emergency, an environment whose file is damaged. Pure.

Words and times are coarse, so that a screen at rest stays still.
"""

from __future__ import annotations

from ..engine import views
from ..widgets import Span, mark_of
from . import wording

END_READING = "!"
"""The key that ends a break-glass read; the key table has it."""


def notices(overview: views.Overview) -> list[Span]:
    """Each with its style, the gravest first."""
    found = [*_quarantined(overview), *_clock(overview), *_breaking(overview), *_sealed(overview)]
    return sorted(found, key=lambda notice: notice[1] != "bad")


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


def _sealed(overview: views.Overview) -> list[Span]:
    mark = mark_of("sealed")
    if not sealed(overview):
        return []
    return [(f"{mark.symbol} SEALED: no record can be read or written.  u unseals", mark.style)]


def _quarantined(overview: views.Overview) -> list[Span]:
    names = [each.name for each in overview.environments if each.state == "quarantined"]
    if not names:
        return []
    mark = mark_of("quarantined")
    return [(f"{mark.symbol} QUARANTINED: {', '.join(names)}  :backups restores", mark.style)]


def _clock(overview: views.Overview) -> list[Span]:
    if not overview.clock:
        return []
    return [("▲ CLOCK HELD: it has jumped.  :clock confirm accepts it", "warning")]


def _breaking(overview: views.Overview) -> list[Span]:
    """Who reads what until when; of several the one that ends first, and how many more."""
    if not overview.breaking:
        return []
    first, *others = sorted(overview.breaking, key=lambda grant: grant.expires_at_us)
    left = wording.left(overview.at_us, first.expires_at_us)
    more = f" +{len(others)} more" if others else ""
    what = f"{first.granted_by} reads {first.environment} {first.namespace}:{first.key_prefix}"
    return [(f"▲ BREAK-GLASS{more}, {left} left: {END_READING} ends it; {what}", "bad")]

"""Health and recovery on the command line."""

from __future__ import annotations

from typing import Any

from swarmdeck.engine import views
from swarmdeck.engine.cli.main import _failed
from swarmdeck.engine.cli.output import Shown, as_text

NOW_US = 1_700_000_000_000_000
SHOWN = Shown(width=None, now_us=NOW_US)


def finding(**more: Any) -> views.FindingView:
    fields: dict[str, Any] = {
        "subject": "dev_swarm_a", "probe": "agents", "environment": "development", "status": "ok",
        "detail": "2 agents are well", "latency_ms": 1.0, "since_at_us": NOW_US - 5_000_000,
        "checked_at_us": NOW_US, "policy": "RESTART", "attempts": 0, "attempts_max": 3,
    }  # fmt: skip
    return views.FindingView(**(fields | more))


def recovery(**more: Any) -> views.RecoveryView:
    fields: dict[str, Any] = {
        "subject": "dev_swarm_a", "environment": "development", "policy": "RESTART",
        "state": "waiting", "standby": "", "address": "", "attempts": 2, "attempts_max": 3,
        "attempted_at_us": NOW_US, "healthy_since_at_us": None,
        "next_at_us": NOW_US + 60_000_000, "outcome": "1 agent was started anew", "successor": "",
        "set": False, "changed_at_us": None, "changed_by": "",
    }  # fmt: skip
    return views.RecoveryView(**(fields | more))


def test_findings_are_a_line_each() -> None:
    head, line = as_text([finding(attempts=1)], SHOWN).splitlines()
    assert head.split() == ["subject", "probe", "status", "since", "policy", "tries", "detail"]
    assert line.split("  ")[-2:] == ["1 of 3", "2 agents are well"]


def test_what_failed_makes_the_exit_code() -> None:
    assert not _failed([finding(), finding(status="suspect")])
    assert _failed([finding(), finding(status="failed")])


def test_standby_and_address_have_a_column_only_where_there_is_one() -> None:
    head, line = as_text([recovery()], SHOWN).splitlines()
    assert head.split() == ["subject", "policy", "state", "tries", "next", "outcome"]
    assert "2 of 3" in line
    assert "in " in line
    head, line = as_text([recovery(standby="dev_swarm_b")], SHOWN).splitlines()
    assert head.split()[-1] == "standby"
    assert line.endswith("dev_swarm_b")

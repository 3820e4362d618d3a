"""Keys, tokens, grants, copies and slow statements as text: what matters, nothing that acts."""

from __future__ import annotations

import msgspec
import pytest

from swarmdeck.engine import views
from swarmdeck.engine.cli.main import main
from swarmdeck.engine.cli.output import Shown, as_json, as_text
from swarmdeck.engine.cli.status import status_text
from swarmdeck.engine.model import GIB

NOW_US = 1_700_000_000_000_000
DAY_US = 86_400_000_000
PIPE = Shown(None, NOW_US)
EVIL = "a\x1b[2Jb\u202e"
HARMLESS = "a␛[2Jb<202E>"


def key(ident: int, kind: str, state: str = "active") -> views.DataKeyView:
    due = NOW_US + 90 * DAY_US if state == "active" else None
    return views.DataKeyView(
        id=ident, kind=kind, state=state, created_at_us=NOW_US - DAY_US, uses=4096, rotate_at_us=due
    )


def vault(**changes: object) -> views.VaultView:
    ring = views.KeyringView(
        environment="testing", state="open", reason="",
        keys=(key(1, "private", "retiring"), key(2, "private")),
    )  # fmt: skip
    made = views.VaultView(
        state="open", source="file", place="/home/a/k.key", reason="", environments=(ring,)
    )
    return msgspec.structs.replace(made, **changes)


def grant(**changes: object) -> views.GrantView:
    made = views.GrantView(
        id="test_grant_1", environment="testing", subject="test_a", effect="allow",
        resource="memory", level="swarm", actions=("read",), namespace="default", key_prefix="",
        granted_by="operator", created_at_us=NOW_US, expires_at_us=NOW_US + DAY_US,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def backup(status: str) -> views.BackupView:
    return views.BackupView(
        name="b", environment="testing", created_at_us=NOW_US, size_bytes=4096, records=1,
        messages=2, audit_rows=3, schema_version=2, status=status, detail="in order",
    )  # fmt: skip


def test_a_vault_says_its_state_its_source_and_every_key() -> None:
    assert as_text(vault(), PIPE) == (
        "vault:    open\n"
        "key from: file, /home/a/k.key\n"
        "\n"
        "environment  class    id  state     created  uses   rotate\n"
        "testing      private   1  retiring  1 d ago  4096        -\n"
        "testing      private   2  active    1 d ago  4096  in 90 d\n"
    )


def test_a_sealed_vault_says_why_and_a_rotation_how_far_it_is() -> None:
    ring = vault().environments[0]
    sealed = msgspec.structs.replace(ring, state="sealed", reason="its keys were shredded")
    rotating = msgspec.structs.replace(ring, environment="staging", rotating=0.42)
    text = as_text(vault(environments=(sealed, rotating)), PIPE)
    assert "testing:  sealed: its keys were shredded\n" in text
    assert "staging:  open, new keys for 42%\n" in text
    closed = as_text(vault(state="sealed", reason=EVIL, environments=()), PIPE)
    assert closed.startswith(f"vault:    sealed: {HARMLESS}\n")


def test_a_token_is_shown_with_the_warning_that_it_is_not_shown_again() -> None:
    view = views.TokenView(agent="test_a", token="secret", expires_at_us=NOW_US + DAY_US)
    text = as_text(view, PIPE)
    assert "token:   secret\n" in text
    assert "expires: in 1 d\n" in text
    assert text.endswith("(shown this once: only its hash is kept)\n")
    assert msgspec.json.decode(as_json(view))["token"] == "secret"


def test_grants_say_when_they_count_and_what_kind_they_are_only_where_it_matters() -> None:
    plain = as_text([grant()], PIPE)
    assert "when" not in plain
    assert "kind" not in plain
    assert "reason" not in plain
    limited = grant(hours="09:00-17:00", days=("mon", "fri"), zone="Europe/Berlin")
    broken = grant(kind="break-glass", effect="allow", subject="operator", reason=EVIL)
    text = as_text([limited, broken], PIPE)
    assert "mon,fri 09:00-17:00 Europe/Berlin" in text
    assert "break-glass" in text
    assert HARMLESS in text
    assert "when:        always" in as_text(grant(), PIPE)


def test_an_audit_trail_shows_its_risk_and_what_was_refused() -> None:
    row = views.AuditView(
        sequence=7, environment="testing", at_us=NOW_US - 1_000_000, actor="test_a",
        action="memory.get", object=EVIL, allowed=False, detail="explicit-deny", risk="high",
    )  # fmt: skip
    assert as_text([row], PIPE).splitlines()[1].split() == [
        "7", "testing", "1", "s", "ago", "high", "test_a", "memory.get", HARMLESS, "refused",
        "explicit-deny",
    ]  # fmt: skip


def test_a_slow_statement_is_shown_with_its_plan() -> None:
    row = views.StatementView(
        environment="testing", statement="SELECT 1\n  FROM memory", count=3, p99_ms=120.5,
        max_ms=200, plan="SCAN memory\nUSE TEMP B-TREE", last_at_us=NOW_US - 5_000_000,
    )  # fmt: skip
    assert as_text([row], PIPE) == (
        "testing: count 3, p99 120.5 ms, max 200.0 ms, last 5 s ago\n"
        "  SELECT 1 FROM memory\n    SCAN memory\n    USE TEMP B-TREE\n"
    )


def test_backups_are_a_line_each() -> None:
    text = as_text([backup("verified"), backup("failed")], PIPE)
    assert text.splitlines()[0].split()[:3] == ["name", "environment", "status"]
    assert "elapsed" not in text


def chain(status: str) -> views.ChainView:
    return views.ChainView(
        environment="testing", status=status, detail="", rows=1, first=1, last=1, checkpoints=0,
        outside=0, elapsed_s=0.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "result", "code"),
    [
        (["audit", "verify"], [chain("ok"), chain("warning")], 0),
        (["audit", "verify"], [chain("ok"), chain("failed")], 7),
        (["backup", "verify", "testing", "b"], backup("failed"), 7),
        (["backup", "verify", "testing", "b"], backup("verified"), 0),
        (["backup", "list"], [backup("failed")], 0),
    ],
)
def test_what_was_looked_at_and_is_wrong_shows_in_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, words: list[str], result: object, code: int
) -> None:
    monkeypatch.setattr("swarmdeck.engine.cli.session.perform", lambda *_: result)
    assert main(words) == code


def overview(**changes: object) -> views.Overview:
    environment = views.EnvironmentView(
        name="testing", priority=3, isolation="loose", durability="normal", loss_window="1 s",
        base_bytes=GIB, max_bytes=GIB, allocated_bytes=0, borrowed_bytes=0, lent_bytes=0,
        used_bytes=0, agents=0, agent_limit=12, swarms=0, records=0, queue=views.QueueCounts(),
        state="quarantined", reason="its file is damaged",
    )  # fmt: skip
    made = views.Overview(
        sequence=1, at_us=NOW_US,
        engine=views.EngineView(
            pid=1, version="0", data="/d", uptime_s=1, loop_lag_ms=0, writer_queue=0, wal_bytes=0,
            operations=0, bus="local", headless=True,
        ),
        host=views.HostView(
            total_bytes=GIB, available_bytes=GIB, cpu_percent=0, load_1m=0, scale=1,
            swarm_plan_bytes=GIB, reserved_bytes=0, coordination_bytes=0, monitoring_bytes=0,
            buffer_bytes=0, allocated_bytes=0, used_bytes=0, enforcement="advisory",
        ),
        environments=(environment,), swarms=(), agents=(),
        access=views.AccessSummary(
            agents=0, teams=0, grants=0, denies=0, denied_calls=0, epoch=0
        ),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def test_the_status_says_what_protects_and_what_needs_a_person() -> None:
    calm = status_text(overview(), PIPE)
    assert "vault:       open, key from file\n" in calm
    assert "quarantined: testing: its file is damaged\n" in calm
    assert "broken glass" not in calm
    assert "clock" not in calm
    glass = grant(kind="break-glass", key_prefix="user:1", reason=EVIL)
    alarmed = status_text(
        overview(
            vault=views.VaultGlance(state="sealed", reason="its passphrase is needed"),
            breaking=(glass,),
            clock="jumped 400 d ahead",
        ),
        PIPE,
    )
    assert "sealed: its passphrase is needed\n" in alarmed
    assert f"testing user:1, ends in 1 d: {HARMLESS}\n" in alarmed
    assert "jumped 400 d ahead\n" in alarmed

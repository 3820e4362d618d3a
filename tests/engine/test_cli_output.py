"""Results as text for people: units by name, columns that fit, nothing from data that acts."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmdeck.engine import views
from swarmdeck.engine.cli.output import Shown, as_json, as_text, cells, duration, table
from swarmdeck.engine.cli.status import plan_text, status_text
from swarmdeck.engine.model import GIB

NOW_US = 1_700_000_000_000_000
PIPE = Shown(None, NOW_US)


def agent(name: str = "Backend", **changes: object) -> views.AgentView:
    fields: dict[str, object] = {
        "id": "dev_agent_1", "name": name, "type": "agent", "environment": "development",
        "swarm": None, "teams": (), "capabilities": ("api", "db"), "state": "ready", "pid": 4711,
        "heartbeat_age_s": 2.5, "used_bytes": 3 << 20, "restarts": 0, "leased": 1, "done": 12,
        "created_at_us": NOW_US - 90_000_000,
    }  # fmt: skip
    return msgspec.convert(fields | changes, views.AgentView)


def overview(**changes: object) -> views.Overview:
    fields = {
        "sequence": 1,
        "at_us": NOW_US,
        "engine": views.EngineView(
            pid=1, version="0.1.0", data="/srv/x", uptime_s=62, loop_lag_ms=0, writer_queue=0,
            wal_bytes=0, operations=0, bus="local", headless=True,
        ),
        "host": views.HostView(
            total_bytes=23 << 30, available_bytes=11 << 30, cpu_percent=12.4, load_1m=0.5,
            scale=0.24, swarm_plan_bytes=15 << 30, reserved_bytes=8 << 30, coordination_bytes=GIB,
            monitoring_bytes=1 << 29, buffer_bytes=2 << 30, allocated_bytes=1 << 30,
            used_bytes=100 << 20, enforcement="advisory",
        ),
        "environments": (
            views.EnvironmentView(
                name="production", priority=1, isolation="strict", durability="full",
                loss_window="none", base_bytes=3 << 30, max_bytes=4 << 30, allocated_bytes=1 << 30,
                borrowed_bytes=0, lent_bytes=0, used_bytes=100 << 20, agents=4, agent_limit=20,
                swarms=1, records=7, queue=views.QueueCounts(ready=3, dead=1),
            ),
        ),
        "swarms": (),
        "agents": (),
        "access": views.AccessSummary(
            agents=4, teams=1, grants=2, denies=0, denied_calls=5, epoch=9
        ),
    }  # fmt: skip
    return msgspec.structs.replace(views.Overview(**fields), **changes)  # type: ignore[arg-type]


def test_a_list_is_a_table_of_the_columns_that_say_something() -> None:
    assert as_text([agent(), agent("Größe 大", pid=None)], PIPE) == (
        "id           name      type   environment  capabilities  state   pid  heartbeat age  used"
        "  restarts  leased  done      created  role\n"
        "dev_agent_1  Backend   agent  development  api, db       ready  4711          2.5 s  3 MB"
        "         0       1    12  1.5 min ago  agent\n"
        "dev_agent_1  Größe 大  agent  development  api, db       ready     -          2.5 s  3 MB"
        "         0       1    12  1.5 min ago  agent\n"
    )


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_a_table_never_passes_the_width_of_the_terminal(width: int) -> None:
    text = as_text([agent("大" * 60), agent("x" * 200)], Shown(width, NOW_US))
    assert max(cells(line) for line in text.splitlines()) <= width
    assert text.splitlines()[1].startswith("dev_agent_1")


@settings(deadline=None)
@given(st.lists(st.lists(st.text(max_size=8), min_size=3, max_size=3)), st.integers(1, 60))
def test_any_rows_fit_any_width(rows: list[list[str]], width: int) -> None:
    shown = [[(text.replace("\n", " "), False) for text in row] for row in rows]
    lines = table(["a", "b", "c"], shown, max(width, 8)).split("\n")
    assert all(cells(line) <= max(width, 8) for line in lines)


def test_one_view_is_name_and_value_with_rows_inside_under_a_heading() -> None:
    demo = views.DemoView(
        files=2, bytes=2048, sent=2, done=2, dead=0, redelivered=0,
        agents=(views.DemoAgentView(id="dev_a", pid=1, done=2),), records=3, elapsed_s=1.25,
    )  # fmt: skip
    text = as_text(demo, PIPE)
    assert "bytes:       2 KB\n" in text
    assert "elapsed:     1.2 s\n" in text
    assert text.endswith("\nagents:\nid     pid  done\ndev_a    1     2\n")


def test_text_from_data_cannot_act_on_the_terminal() -> None:
    text = as_text([agent("\x1b]52;c;eA==\x07\u202e")], PIPE)
    assert "␛]52;c;eA==␇<202E>" in text
    assert as_text(["out\x1b[2J"], PIPE) == "out␛[2J\n"
    assert "\x9b" not in as_text(agent("a\x9b"), PIPE)


def test_a_value_is_shown_as_json_and_bytes_by_their_size() -> None:
    record = views.RecordView(
        key="k", namespace="default", environment="testing", level="team", owner="operator",
        team=None, version=1, size_bytes=9, updated_at_us=NOW_US, expires_at_us=NOW_US + 5_000_000,
        value={"a": ["x", None]},
    )  # fmt: skip
    text = as_text(record, PIPE)
    assert 'value:       {"a":["x",null]}\n' in text
    assert "expires:     in 5 s\n" in text
    assert "(3 B of bytes)" in as_text(msgspec.structs.replace(record, value=b"abc"), PIPE)


def test_times_are_told_from_now() -> None:
    entry = views.AuditView(
        sequence=1, environment="testing", at_us=NOW_US - 5_000_000, actor="operator",
        action="memory.set", object="k", allowed=True, detail="",
    )  # fmt: skip
    assert "5 s ago" in as_text([entry], PIPE)


def test_small_answers() -> None:
    assert as_text([], PIPE) == "(none)\n"
    assert as_text(["one", "two"], PIPE) == "one\ntwo\n"
    assert as_text(views.Done(), PIPE) == "done\n"
    assert as_text(views.Done(detail="engine stops"), PIPE) == "engine stops\n"
    assert as_text(views.KeyPage(keys=("a", "b"), cursor="b"), PIPE) == "a\nb\n(more: --cursor b)\n"


def test_a_setting_is_shown_in_its_own_unit() -> None:
    shown = as_text(
        [views.SettingView(name="store.cache_bytes", value=16 << 20, source="default", help="h")],
        PIPE,
    )
    assert "16 MB" in shown


def test_json_is_one_document_on_one_line() -> None:
    encoded = as_json(overview())
    assert encoded.count(b"\n") == 1
    assert msgspec.json.decode(encoded)["environments"][0]["queue"]["ready"] == 3


def test_status_and_plan_tell_planned_allocated_and_used_apart() -> None:
    text = status_text(overview(swarms=()), PIPE)
    assert "service, pid 1, up 1 min, 0.1.0" in text
    assert "plan 15 GB, allocated 1 GB, used 100 MB" in text
    assert "plan for 96 GB at 24%" in text
    narrow = status_text(overview(), Shown(80, NOW_US)).splitlines()
    assert any(line.startswith("production ") for line in narrow)
    assert all(cells(line) <= 80 for line in narrow)
    plan = plan_text(overview(), PIPE)
    assert "production" in plan
    assert "buffer:       2 GB" in plan


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.35, "350 ms"), (59, "59 s"), (300, "5 min"), (5400, "1.5 h"), (86_400, "1 d")],
)
def test_durations_are_in_the_largest_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_effective_rights_are_a_column_for_each_subject() -> None:
    cell = views.CellView(rights="r--", rule="level")
    row = views.MatrixRow(
        key="plan\x1b[2J", namespace="default", level="team", owner="a", team=None, cells=(cell,)
    )
    subject = views.SubjectView(id="dev_agent_1", name="web", swarm=None, teams=(), role="agent")
    matrix = views.MatrixView(
        environment="development", subjects=(subject,), rows=(row,), more=True
    )
    text = as_text(matrix, Shown(None, 0))
    assert text.splitlines()[0].split() == ["key", "namespace", "level", "owner", "web"]
    assert "plan␛[2J  default    team   a      r-- level" in text
    assert "(more: --offset)" in text


def test_an_explanation_can_be_read_and_its_remedies_copied() -> None:
    view = views.ExplanationView(
        subject="dev_msg_1", kind="message", environment="development", state="dead",
        verdict="It failed for good.", remedies=("swarmdeck queue retry dev_msg_1",),
        reasons=(views.ReasonView(rule="error", text="bad\nfile"),
                 views.ReasonView(rule="attempts", text="3 of 3", blocks=False)),
    )  # fmt: skip
    assert as_text(view, Shown(None, 0)).splitlines() == [
        "dev_msg_1: It failed for good.",
        "  ✗ error: bad␊file",
        "  · attempts: 3 of 3",
        "  $ swarmdeck queue retry dev_msg_1",
    ]

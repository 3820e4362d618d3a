"""What the engine shows: frozen read models without behaviour.

Units are in the names: `_bytes`, `_s`, `_us` (microseconds; a name ending in `_at_us` is a time
since the epoch). Console, command line and socket all carry these same structs.
"""

from __future__ import annotations

from .access import (
    AccessSummary,
    CellView,
    DecisionView,
    GrantView,
    MatrixRow,
    MatrixView,
    SubjectView,
)
from .artifacts import ArtifactView, LineageView
from .audit import AuditView, ChainView
from .base import Done, View
from .bench import BenchView, BucketView, ComparisonView, DemoAgentView, DemoView
from .consensus import BallotView, ConflictView, ProposalView
from .engine import (
    CheckView,
    ClientView,
    EngineView,
    Overview,
    SettingChangeView,
    SettingView,
)
from .events import EventCounts, EventIds, EventView
from .explain import AlertView, ExplanationView, JournalView, ReasonView
from .health import FindingView, RecoveryView
from .host import AdmissionView, EnvironmentView, HolderView, HostView, LoanView
from .measures import MeasuredView, MeasureView
from .memory import KeyPage, MemoryStatsView, RecordView
from .metrics import MeasurementView, SeriesView
from .queue import FlowView, HistoryView, LaneView, MessageView, QueueCounts, ScheduleView
from .store import BackupView, DatabaseView, PragmaView, StatementView
from .swarms import AgentView, HealthView, PerformanceView, SwarmView, TeamView, TokenView
from .tasks import DependencyView, TaskNodeView, TaskView
from .vault import DataKeyView, KeyringView, VaultGlance, VaultView

__all__ = [
    "AccessSummary",
    "AdmissionView",
    "AgentView",
    "AlertView",
    "ArtifactView",
    "AuditView",
    "BackupView",
    "BallotView",
    "BenchView",
    "BucketView",
    "CellView",
    "ChainView",
    "CheckView",
    "ClientView",
    "ComparisonView",
    "ConflictView",
    "DataKeyView",
    "DatabaseView",
    "DecisionView",
    "DemoAgentView",
    "DemoView",
    "DependencyView",
    "Done",
    "EngineView",
    "EnvironmentView",
    "EventCounts",
    "EventIds",
    "EventView",
    "ExplanationView",
    "FindingView",
    "FlowView",
    "GrantView",
    "HealthView",
    "HistoryView",
    "HolderView",
    "HostView",
    "JournalView",
    "KeyPage",
    "KeyringView",
    "LaneView",
    "LineageView",
    "LoanView",
    "MatrixRow",
    "MatrixView",
    "MeasureView",
    "MeasuredView",
    "MeasurementView",
    "MemoryStatsView",
    "MessageView",
    "Overview",
    "PerformanceView",
    "PragmaView",
    "ProposalView",
    "QueueCounts",
    "ReasonView",
    "RecordView",
    "RecoveryView",
    "ScheduleView",
    "SeriesView",
    "SettingChangeView",
    "SettingView",
    "StatementView",
    "SubjectView",
    "SwarmView",
    "TaskNodeView",
    "TaskView",
    "TeamView",
    "TokenView",
    "VaultGlance",
    "VaultView",
    "View",
]

"""Probes, recovery and alerts."""

from __future__ import annotations

from typing import Annotated, Literal

from .. import views
from ..model import Role
from .spec import Action, OptionalWhere, action, arg

PolicyName = Literal["RESTART", "RECREATE", "SCALE_UP", "FAILOVER", "ALERT_ONLY"]

Subject = Annotated[
    str, arg("swarm id, environment, disk, memory or bus", positional=True, min_length=1)
]


@action(list[views.FindingView], query=True)
class HealthList(Action, frozen=True, kw_only=True, tag="health.list"):
    """List what the probes found last: stores, disk, memory, bus, agents, addresses."""

    environment: OptionalWhere = None


@action(list[views.FindingView], query=True, lane="background", timeout_s=700)
class HealthCheck(Action, frozen=True, kw_only=True, tag="health.check"):
    """Probe everything now, or one subject. Recovers nothing."""

    subject: Annotated[
        str | None, arg("only this swarm, environment or disk, memory, bus", positional=True)
    ] = None


@action(views.RecoveryView, role=Role.ADMIN, idempotent=True)
class RecoverySet(Action, frozen=True, kw_only=True, tag="recovery.set"):
    """Choose what is done when something is ill."""

    subject: Subject
    policy: Annotated[PolicyName, arg("what is done", positional=True)]
    standby: Annotated[str, arg("with FAILOVER: the swarm of its environment that takes over")] = ""
    address: Annotated[str, arg("of a swarm: http address that is probed; left out: none")] = ""


@action(list[views.RecoveryView], query=True)
class RecoveryList(Action, frozen=True, kw_only=True, tag="recovery.list"):
    """List how everything is recovered, what was tried and when the next attempt may be."""

    environment: OptionalWhere = None


@action(views.RecoveryView, idempotent=True)
class RecoveryReset(Action, frozen=True, kw_only=True, tag="recovery.reset"):
    """Give something all its recovery attempts back, without a cooldown."""

    subject: Subject


@action(views.AlertView, idempotent=True)
class AlertAck(Action, frozen=True, kw_only=True, tag="alert.ack"):
    """Say that somebody knows of an alert: it calls for nobody until it gets graver or returns."""

    id: Annotated[str, arg("alert id, as alert list shows it", positional=True)]

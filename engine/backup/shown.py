"""Backups as they are shown."""

from __future__ import annotations

from ..views import BackupView
from .manifest import Manifest


def looked(made: Manifest) -> str:
    files = f", {made.contents:,} contents of artifacts" if made.contents else ""
    return (
        f"signature, SHA-256, schema, pages, {made.records:,} records, {made.messages:,} messages"
        f"{files} and {made.audit_rows:,} audit rows are in order"
    )


def view(made: Manifest, status: str, detail: str, elapsed_s: float = 0.0) -> BackupView:
    return BackupView(
        name=made.name,
        environment=made.environment,
        created_at_us=made.created_us,
        size_bytes=made.size,
        records=made.records,
        messages=made.messages,
        audit_rows=made.audit_rows,
        schema_version=made.schema_version,
        status=status,
        detail=detail,
        elapsed_s=elapsed_s,
        contents=made.contents or 0,
        content_bytes=made.content_bytes or 0,
    )


def failed(environment: str, name: str, detail: str, elapsed_s: float = 0.0) -> BackupView:
    return BackupView(
        name=name,
        environment=environment,
        created_at_us=0,
        size_bytes=0,
        records=0,
        messages=0,
        audit_rows=0,
        schema_version=0,
        status="failed",
        detail=detail,
        elapsed_s=elapsed_s,
    )

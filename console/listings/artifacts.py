"""Files that agents have made."""

from __future__ import annotations

from typing import Final

from ...engine import actions
from .. import columns
from ..places import Place
from .base import Listing, ident

ARTIFACTS: Final = Listing(
    title="Artifacts, the newest version of each",
    columns=columns.artifacts,
    key=ident,
    empty="No artifact is kept here.\n\nn  stores a file; or type  :artifact put development FILE",
    groups=("artifacts", "rows", "table", "motion"),
    query=lambda scope: actions.ArtifactList(environment=scope.place),
    opens=lambda artifact: Place("artifact", artifact.id),
    paged=True,
    words=lambda artifact: (
        artifact.damage
        or (
            f"{artifact.id}: {artifact.name}, version {artifact.version}, {artifact.level}"
            + (f", made from {artifact.parent}" if artifact.parent else "")
        )
    ),
)

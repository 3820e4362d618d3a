"""Where an artifact stands, and why it cannot be read."""

from __future__ import annotations

from .. import actions
from ..environment import Place
from ..errors import NotFound
from ..model import Principal, format_size
from ..views import ArtifactView, ExplanationView
from .draft import Draft, span, unknown


async def explain_artifact(principal: Principal, place: Place, ident: str) -> ExplanationView:
    """Raises NotFound, also for an artifact that `principal` may not read."""
    try:
        versions = await place.artifacts.versions(principal, ident)
    except NotFound as error:
        raise unknown(ident) from error
    artifact = next(each for each in versions if each.id == ident)
    draft = Draft(ident, "artifact", artifact.environment, artifact.state)
    now_us = place.database.clock.wall_us()
    ago = span((now_us - artifact.created_at_us) / 1_000_000)
    draft.adds("author", f"{artifact.author} stored it {ago} ago; {artifact.owner} owns it")
    draft.adds("level", f"it is for those of the level {artifact.level}")
    draft.adds("content", _content(artifact))
    if artifact.parent is not None:
        draft.adds("parent", f"it was made from {artifact.parent}")
        draft.remedy(actions.ArtifactLineage(id=ident))
    newest = versions[0]
    if newest.id != ident:
        draft.adds("newer", f"{newest.id} is version {newest.version} of it")
    return draft.view(_verdict(draft, artifact, place.ring.reason, now_us))


def _content(artifact: ArtifactView) -> str:
    kept = f"{format_size(artifact.stored_bytes)} on the disk, once for all that hold the same"
    return f"{format_size(artifact.size_bytes)}, {kept}"


def _verdict(draft: Draft, artifact: ArtifactView, sealed: str, now_us: int) -> str:
    if artifact.damage:
        draft.blocks("damaged", artifact.damage)
        draft.remedy(actions.ArtifactVerify(id=artifact.id))
        return "it is damaged: put the same content again, or restore a backup"
    if sealed:
        draft.blocks("sealed", f"{artifact.environment} is sealed: {sealed}")
        draft.remedy(actions.VaultUnseal())
        return "it can be read when the vault is open"
    if artifact.checked_at_us is None:
        draft.remedy(actions.ArtifactVerify(id=artifact.id))
        return "it is stored; nobody has read it whole to verify it"
    ago = span((now_us - artifact.checked_at_us) / 1_000_000)
    return f"it was in order when it was verified, {ago} ago"

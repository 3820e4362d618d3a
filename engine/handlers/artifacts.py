"""Artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from .. import actions, codec, views
from ..artifacts import transfer, upkeep
from ..artifacts.rows import Wish
from ..artifacts.service import Artifacts, Wanted
from ..dispatch import Context
from ..model import Environment, format_size
from .paging import page_of
from .services import Part


class ArtifactHandlers(Part):
    """Artifacts."""

    async def artifact_put(
        self, context: Context, action: actions.ArtifactPut
    ) -> views.ArtifactView:
        path = Path(action.file)
        name = action.name or path.name
        wanted = Wanted(
            name=name,
            type=action.type,
            format=action.format or Path(name).suffix.removeprefix("."),
            level=action.level,
            team=action.team,
            parent=action.parent,
            of=action.of,
            metadata=codec.encode_json(action.metadata),
        )
        return await transfer.put_file(
            self._place(action.environment).artifacts, self._actor(context, action.actor), wanted,
            path, context.progress, compress=not action.uncompressed,
        )  # fmt: skip

    async def artifact_get(self, context: Context, action: actions.ArtifactGet) -> views.Done:
        size = await transfer.save(
            self._store(action.id), self._actor(context, action.actor), action.id,
            Path(action.output), context.progress, replace=action.replace,
        )  # fmt: skip
        return views.Done(detail=f"{format_size(size)} in {action.output}")

    async def artifact_list(
        self, context: Context, action: actions.ArtifactList
    ) -> list[views.ArtifactView]:
        actor = self._actor(context, action.actor)
        down = action.order in {"age", "size", "version"}
        return await page_of(
            [place.artifacts for place in self._places(action.environment)],
            lambda kept, offset, limit: kept.page(actor, _wish(action, offset, limit)),
            action,
            _KEYS[action.order],
            reverse=down is not action.descending,
        )

    async def artifact_show(
        self, context: Context, action: actions.ArtifactShow
    ) -> views.ArtifactView:
        actor = self._actor(context, action.actor)
        return await self._store(action.id).show(actor, action.id)

    async def artifact_versions(
        self, context: Context, action: actions.ArtifactVersions
    ) -> list[views.ArtifactView]:
        actor = self._actor(context, action.actor)
        return await self._store(action.id).versions(actor, action.id)

    async def artifact_lineage(
        self, context: Context, action: actions.ArtifactLineage
    ) -> list[views.LineageView]:
        actor = self._actor(context, action.actor)
        return await self._store(action.id).lineage(actor, action.id)

    async def artifact_delete(self, context: Context, action: actions.ArtifactDelete) -> views.Done:
        actor = self._actor(context, action.actor)
        gone = await self._store(action.id).delete(
            actor, action.id, all_versions=action.all_versions
        )
        many = "one version is" if gone == 1 else f"{gone:,} versions are"
        return views.Done(changed=gone, detail=f"{many} deleted")

    async def artifact_verify(
        self, context: Context, action: actions.ArtifactVerify
    ) -> list[views.CheckView]:
        actor = self._actor(context, action.actor)
        if action.id in set(Environment):
            store = self._place(action.id).artifacts
            return await upkeep.check_all(store, actor, context.progress)
        return [await upkeep.check(self._store(action.id), actor, action.id, context.progress)]

    def _store(self, ident: str) -> Artifacts:
        return self._of(ident).artifacts


def _wish(action: actions.ArtifactList, offset: int, limit: int) -> Wish:
    return Wish(
        type=action.type, owner=action.owner, name=action.name, contains=action.contains,
        damaged=action.damaged, versions=action.versions, order=action.order,
        descending=action.descending, offset=offset, limit=limit,
    )  # fmt: skip


_KEYS: Final[dict[str, Any]] = {
    "age": lambda each: (each.created_at_us, each.id),
    "name": lambda each: (each.name, each.id),
    "size": lambda each: (each.size_bytes, each.id),
    "type": lambda each: (each.type, each.id),
    "version": lambda each: (each.version, each.id),
    "owner": lambda each: (each.owner, each.id),
}

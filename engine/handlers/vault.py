"""The vault and backups."""

from __future__ import annotations

from .. import actions, views
from ..dispatch import Context
from .services import Part


class VaultHandlers(Part):
    """The vault and backups."""

    # --- vault ------------------------------------------------------------------------------

    async def vault_status(self, _: Context, action: actions.VaultStatus) -> views.VaultView:
        return self._services.vault.view(action.environment)

    async def vault_seal(self, context: Context, _: actions.VaultSeal) -> views.VaultView:
        return await self._services.vault.seal(actor=context.principal.id)

    async def vault_unseal(self, context: Context, action: actions.VaultUnseal) -> views.VaultView:
        return await self._services.vault.unseal(action.passphrase, actor=context.principal.id)

    async def vault_rotate(self, context: Context, action: actions.VaultRotate) -> views.VaultView:
        return await self._services.vault.rotate(
            action.environment, actor=context.principal.id, progress=context.progress
        )

    async def vault_rekey(self, context: Context, action: actions.VaultRekey) -> views.VaultView:
        return await self._services.vault.rekey(
            action.source, action.passphrase, actor=context.principal.id
        )

    async def vault_shred(self, context: Context, action: actions.VaultShred) -> views.Done:
        done = await self._services.vault.shred(
            action.environment, action.kind, actor=context.principal.id
        )
        place = self._services.places[action.environment]
        if place.refusal is None:
            await place.queue.schedules.reload()  # what they say may be gone, and they with it
            if place.has_artifacts:
                await place.leavings.finish()
        return done

    # --- backups ----------------------------------------------------------------------------

    async def backup_create(
        self, context: Context, action: actions.BackupCreate
    ) -> views.BackupView:
        return await self._services.backups.create(
            action.environment, actor=context.principal.id, progress=context.progress
        )

    async def backup_list(self, _: Context, action: actions.BackupList) -> list[views.BackupView]:
        return await self._services.backups.list(action.environment)

    async def backup_verify(
        self, context: Context, action: actions.BackupVerify
    ) -> views.BackupView:
        return await self._services.backups.verify(
            action.environment, action.name, progress=context.progress
        )

    async def backup_restore(
        self, context: Context, action: actions.BackupRestore
    ) -> views.BackupView:
        return await self._services.backups.restore(
            action.environment, action.name, actor=context.principal.id, progress=context.progress
        )

    async def backup_delete(self, context: Context, action: actions.BackupDelete) -> views.Done:
        return await self._services.backups.delete(
            action.environment, action.name, actor=context.principal.id
        )

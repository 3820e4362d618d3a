"""The doctor on databases, keys and backups: what is wrong, and that it changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swarmdeck.engine import actions as act
from swarmdeck.engine.core import open_core
from swarmdeck.engine.holdings import examine
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.vault import sources, vaultfile
from swarmdeck.engine.views import CheckView

DEV = "development"


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    async with open_core(place, settings=None, transient=True, headless=False, clock=None) as core:
        await core.engine.memory(DEV).set("k", "v")
        await core.engine.run(act.BackupCreate(environment=DEV))
    return place


def found(data: Path) -> dict[str, CheckView]:
    return {check.name: check for check in examine(data, load_settings(None, {}, {}))}


def snapshot(data: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in data.rglob("*") if path.is_file()}


def locks() -> list[str]:
    """The locks this process holds on files."""
    lines = Path("/proc/locks").read_text().splitlines()
    return sorted(line.partition(":")[2] for line in lines if f" {os.getpid()} " in line)


def test_all_is_well_and_nothing_changes(data: Path) -> None:
    before = snapshot(data)
    checks = found(data)
    assert {name: check.status for name, check in checks.items()} == {
        "databases": "ok", "keys": "ok", "backups": "ok",
    }  # fmt: skip
    assert snapshot(data) == before


def test_a_damaged_database_is_named_with_the_way_back(data: Path) -> None:
    file = data / "instances" / DEV / f"{DEV}.db"
    file.write_bytes(b"no database" * 1000)
    before = snapshot(data)
    check = found(data)["databases"]
    assert check.status == "failed"
    assert f"{DEV}.db" in check.detail
    assert check.hint.startswith(f"swarmdeck backup restore {DEV} NAME")
    assert snapshot(data) == before


async def test_an_engine_is_not_disturbed_by_being_examined(data: Path) -> None:
    """The files are open in this very process; a careless look would end their locks."""
    async with open_core(data, settings=None, transient=True, headless=False, clock=None) as core:
        await core.engine.memory(DEV).set("k", "w")
        before = locks()
        assert found(data)["databases"].status == "ok"
        assert locks() == before
        await core.engine.memory(DEV).set("k", "x")


@pytest.mark.parametrize("which", ["keys", "keys/vault.json"])
def test_keys_that_are_open_to_others_are_said(data: Path, which: str) -> None:
    (data / which).chmod(0o755)
    check = found(data)["keys"]
    assert (check.status, check.hint) == ("warning", f"chmod go= {data / which}")


def test_a_key_file_others_can_read_or_that_is_gone_fails(data: Path) -> None:
    file = vaultfile.load(data / "keys")
    assert file is not None
    key = sources.usual_file(file.id)
    key.chmod(0o644)
    assert found(data)["keys"].status == "failed"
    key.chmod(0o600)
    assert found(data)["keys"].status == "ok"
    key.unlink()
    assert found(data)["keys"].status == "failed"


def test_backups_that_are_loose_or_odd_are_said(data: Path, tmp_path: Path) -> None:
    folder = data / "backups" / DEV
    [copy] = folder.glob("*.db")
    copy.chmod(0o644)
    assert "open to others" in found(data)["backups"].detail
    copy.chmod(0o600)
    copy.rename(tmp_path / copy.name)
    assert "only a copy or only a manifest" in found(data)["backups"].detail
    copy.symlink_to(tmp_path / copy.name)
    assert "link" in found(data)["backups"].detail
    copy.unlink()
    copy.with_suffix(".json").unlink()
    assert (found(data)["backups"].status, found(data)["backups"].detail) == (
        "warning", "there are none",
    )  # fmt: skip

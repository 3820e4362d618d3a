"""Where a key comes from, and what is refused as one."""

from __future__ import annotations

import base64
import contextlib
import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from swarmdeck.engine.clock import FakeClock
from swarmdeck.engine.errors import (
    ConfigError,
    Corrupt,
    Denied,
    InvalidInput,
    Sealed,
    Unavailable,
)
from swarmdeck.engine.settings import load_settings
from swarmdeck.engine.vault import Vault, sources, vaultfile

VALUE = bytes(range(32))
PASSPHRASE = "correct horse battery staple"


def open_vault(data: Path, env: dict[str, str] | None = None, **vault: Any) -> Vault:
    overrides = {f"vault.{name}": value for name, value in vault.items()}
    return Vault.open(data, load_settings(None, env or {}, overrides), FakeClock())


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sources, "MEMORY_KIB", 64)
    monkeypatch.setattr(sources, "PASSES", 1)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


# --- a file ------------------------------------------------------------------------------------


def test_a_new_directory_gets_a_key_file_and_is_open(tmp_path: Path) -> None:
    vault = open_vault(tmp_path)
    assert (vault.state, vault.reason) == ("open", "")
    path = tmp_path / "config" / "swarmdeck" / "keys" / f"{vault.id}.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(path.read_bytes()) == 32
    written = (tmp_path / "keys" / "vault.json").read_bytes()
    assert stat.S_IMODE((tmp_path / "keys" / "vault.json").stat().st_mode) == 0o600
    assert path.read_bytes().hex().encode() not in written
    signed = vault.sign(b"m")
    again = open_vault(tmp_path)
    assert (again.id, again.state, again.sign(b"m")) == (vault.id, "open", signed)


def test_keys_are_only_wrapped_in_the_directory(tmp_path: Path) -> None:
    vault = open_vault(tmp_path)
    key = vault.environment_key("development", make=True)
    assert key is not None
    found = msgspec.json.decode((tmp_path / "keys" / "vault.json").read_bytes())
    assert len(found["environments"]) == 5
    for held in (*found["environments"].values(), found["audit"]):
        assert len(base64.b64decode(held["wrapped"])) == 12 + 32 + 16
    assert base64.b64encode(key).decode()[:40] not in str(found)


def key_file(tmp_path: Path) -> Path:
    return sources.usual_file(open_vault(tmp_path).id)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path)
    path.chmod(mode)
    vault = open_vault(tmp_path)
    assert vault.state == "sealed"
    assert "chmod 600" in vault.reason
    with pytest.raises(Sealed, match="others may read") as caught:
        vault.sign(b"m")
    assert caught.value.hint == "swarmdeck vault unseal"
    assert caught.value.exit_code == 7


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    vault = open_vault(tmp_path)
    assert "not a file" in vault.reason
    with pytest.raises(Sealed):
        sources.read_file(path)


@pytest.mark.parametrize("size", [0, 31, 33, 4096])
def test_a_key_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    path = key_file(tmp_path)
    path.write_bytes(bytes(size))
    assert f"has {size} bytes" in open_vault(tmp_path).reason


def test_a_pipe_is_no_key_and_holds_nobody_up(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    path.unlink()
    os.mkfifo(path, 0o600)
    assert "not a file" in open_vault(tmp_path).reason
    with pytest.raises(Sealed):
        sources.read_file(path)


def test_a_key_that_is_missing_seals(tmp_path: Path) -> None:
    key_file(tmp_path).unlink()
    assert "cannot be read" in open_vault(tmp_path).reason
    assert not sources.usual_file(open_vault(tmp_path).id).exists()


def test_a_wrong_key_is_not_damage(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    sound = path.read_bytes()
    path.write_bytes(VALUE)
    vault = open_vault(tmp_path)
    with pytest.raises(Sealed, match="not the key of this vault"):
        vault.sign(b"m")
    assert vault.state == "sealed"
    path.write_bytes(sound)
    assert open_vault(tmp_path).sign(b"m")


def test_a_key_file_of_choice_stays_there(tmp_path: Path) -> None:
    path = tmp_path / "scratch" / "my.key"
    vault = open_vault(tmp_path, key_file=str(path))
    vault.sign(b"m")
    assert path.exists()
    assert not (tmp_path / "config").exists()
    assert open_vault(tmp_path).state == "open"  # it remembers


def test_a_place_that_cannot_be_written_seals(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("in the way")
    vault = open_vault(tmp_path)
    assert vault.state == "sealed"
    assert "cannot make the key file" in vault.reason


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "my.key"
    sources.make_file(path, VALUE)
    with pytest.raises(Unavailable, match="File exists"):
        sources.make_file(path, bytes(32))
    vault = open_vault(tmp_path, key_file=str(path))
    assert (vault.state, path.read_bytes()) == ("open", VALUE)


# --- vault.json --------------------------------------------------------------------------------


def test_every_byte_of_the_file_counts(tmp_path: Path) -> None:
    open_vault(tmp_path).sign(b"m")
    path = tmp_path / "keys" / "vault.json"
    sound = path.read_bytes()
    kept = vaultfile.load(tmp_path / "keys")
    for at in range(len(sound)):
        for bit in (0, 5):
            broken = bytearray(sound)
            broken[at] ^= 1 << bit
            path.write_bytes(broken)
            with contextlib.suppress(Corrupt):
                assert vaultfile.load(tmp_path / "keys") == kept  # space, or hex in capitals


def test_a_damaged_file_seals_and_can_be_put_back(tmp_path: Path) -> None:
    vault = open_vault(tmp_path)
    public = vault.public_key
    path = tmp_path / "keys" / "vault.json"
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b'"protected": true', b'"protected": null'))
    broken = open_vault(tmp_path)
    assert broken.state == "sealed"
    assert "damaged" in broken.reason
    assert path.read_bytes() != sound  # and nothing has written over it
    path.write_bytes(sound)
    assert open_vault(tmp_path).public_key == public


def test_an_edit_with_a_new_checksum_is_refused_with_the_key(tmp_path: Path) -> None:
    open_vault(tmp_path).sign(b"m")
    file = vaultfile.load(tmp_path / "keys")
    assert file is not None
    held = msgspec.structs.replace(file.environments["development"], protected=False)
    edited = msgspec.structs.replace(
        file, environments=file.environments | {"development": held}, mac=file.mac
    )
    sum_ = edited._sum(file.mac)
    vaultfile.save(tmp_path / "keys", msgspec.structs.replace(edited, checksum=sum_))
    vault = open_vault(tmp_path)
    with pytest.raises(Corrupt, match="without its key"):
        vault.sign(b"m")
    assert vault.state == "sealed"


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    open_vault(tmp_path)
    file = vaultfile.load(tmp_path / "keys")
    assert file is not None
    vaultfile.save(tmp_path / "keys", msgspec.structs.replace(file, format=2).signed(None))
    assert "format 2" in open_vault(tmp_path).reason


# --- a passphrase ------------------------------------------------------------------------------


async def test_a_passphrase_starts_sealed_and_opens(tmp_path: Path) -> None:
    vault = open_vault(tmp_path, source="passphrase")
    assert (vault.state, vault.reason) == ("sealed", "its passphrase is needed")
    with pytest.raises(InvalidInput, match="too short"):
        await vault.unseal("short", actor="operator")
    with pytest.raises(InvalidInput, match="needed"):
        await vault.unseal(None, actor="operator")
    view = await vault.unseal(PASSPHRASE, actor="operator")
    assert (view.state, view.source) == ("open", "passphrase")
    public = vault.public_key
    again = open_vault(tmp_path)
    assert again.state == "sealed"
    assert again.public_key == public
    with pytest.raises(Sealed):
        again.sign(b"m")
    with pytest.raises(Denied, match="not the passphrase"):
        await again.unseal("another horse battery staple", actor="operator")
    assert again.state == "sealed"
    await again.unseal(PASSPHRASE, actor="operator")
    assert again.sign(b"m") == vault.sign(b"m")


async def test_a_wrong_passphrase_is_told_from_a_damaged_file(tmp_path: Path) -> None:
    vault = open_vault(tmp_path, source="passphrase")
    await vault.unseal(PASSPHRASE, actor="operator")
    path = tmp_path / "keys" / "vault.json"
    sound = path.read_bytes()
    broken = sound.replace(b'"passes": 1', b'"passes": 2')
    assert broken != sound
    path.write_bytes(broken)
    damaged = open_vault(tmp_path)
    with pytest.raises(Corrupt, match="checksum"):
        await damaged.unseal(PASSPHRASE, actor="operator")
    path.write_bytes(sound)
    await damaged.unseal(PASSPHRASE, actor="operator")
    assert damaged.state == "open"


@pytest.mark.parametrize(
    "change", [{"memory_kib": 1 << 30}, {"passes": 1000}, {"lanes": 0}, {"salt": b"short"}]
)
async def test_impossible_parameters_cost_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    source = msgspec.structs.replace(sources.new_passphrase_source(), **change)
    with pytest.raises(Corrupt, match="impossible"):
        sources.from_passphrase(source, PASSPHRASE)


def test_argon2id_is_as_strong_as_the_manual_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    made = sources.new_passphrase_source()
    assert (made.memory_kib, made.passes, made.lanes, len(made.salt)) == (65536, 3, 4, 16)


# --- the keyring -------------------------------------------------------------------------------


class Keyring:
    """A keyring in memory, in the place of the desktop's."""

    priority = 1

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, name: str) -> str | None:
        return self.held.get((service, name))

    def set_password(self, service: str, name: str, password: str) -> None:
        self.held[service, name] = password


async def test_a_keyring_starts_sealed_and_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = pytest.importorskip("keyring")
    held = Keyring()
    monkeypatch.setattr(keyring, "get_password", held.get_password)
    monkeypatch.setattr(keyring, "set_password", held.set_password)
    vault = open_vault(tmp_path, source="keyring")
    assert vault.state == "sealed"
    await vault.unseal(None, actor="operator")
    assert list(held.held) == [("swarmdeck", vault.id)]
    signed = vault.sign(b"m")
    again = open_vault(tmp_path)
    await again.unseal(None, actor="operator")
    assert again.sign(b"m") == signed
    held.held.clear()
    third = open_vault(tmp_path)
    with pytest.raises(Sealed, match="no key of this vault"):
        await third.unseal(None, actor="operator")


async def test_a_keyring_that_is_not_installed_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "keyring", None)
    vault = open_vault(tmp_path, source="keyring")
    with pytest.raises(Unavailable, match="not installed") as caught:
        await vault.unseal(None, actor="operator")
    assert "swarmdeck[keyring]" in caught.value.hint
    assert vault.state == "sealed"


# --- a value -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        VALUE.decode(), VALUE.hex(), VALUE.hex().upper(), base64.b64encode(VALUE).decode(),
        base64.urlsafe_b64encode(VALUE).decode(),
    ],
)  # fmt: skip
def test_a_value_is_taken_in_three_forms(text: str) -> None:
    assert sources.parse_key(text) == VALUE


@pytest.mark.parametrize(
    "text", ["", "x", "a" * 31, "a" * 33, "z" * 64, VALUE.hex()[:-2], "é" * 20]
)
def test_another_length_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sources.parse_key(text)
    assert not text or len(text) < 10 or text not in str(caught.value)
    assert "openssl rand -hex 32" in caught.value.hint


async def test_a_value_opens_only_what_is_not_strict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opening: Any
) -> None:
    env = {"SQLITE_ENCRYPTION_KEY": VALUE.hex()}
    monkeypatch.setenv("SQLITE_ENCRYPTION_KEY", VALUE.hex())
    async with opening("development", env=env) as site:
        assert "SQLITE_ENCRYPTION_KEY" not in os.environ
        assert site.vault.view().source == "variable"
        await site.put("k", 1)
        states = {each.environment: each.state for each in site.vault.view().environments}
        assert states == {
            "production": "sealed", "staging": "sealed", "development": "open",
            "testing": "open", "research": "open",
        }  # fmt: skip
        assert "vault rekey file" in site.vault.ring("production").reason
    async with opening("production", env=env) as site:
        with pytest.raises(Sealed, match="variable"):
            await site.put("k", 1, who=site.operator)
    async with opening("development") as site:
        assert "variable that is not set" in site.vault.reason
        with pytest.raises(Sealed):
            await site.get("k")
        with pytest.raises(Sealed):
            await site.vault.unseal(None, actor="operator")
    async with opening("development", env=env) as site:
        assert await site.get("k") == 1
        await site.vault.rekey("file", actor="operator")
        assert site.vault.ring("production").state == "open"
    async with opening("production") as site:
        await site.put("k", 1, who=site.operator)


def test_a_wrong_value_seals(tmp_path: Path) -> None:
    open_vault(tmp_path, {"SQLITE_ENCRYPTION_KEY": VALUE.hex()}).sign(b"m")
    vault = open_vault(tmp_path, {"SQLITE_ENCRYPTION_KEY": bytes(32).hex()})
    assert "not the key" in vault.reason

"""The protected engine on the screen: sealed, audited, backed up, and in an emergency."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from swarmdeck.console.commands import SCREENS
from swarmdeck.console.screens.dialogs import ConfirmScreen, FormScreen, TokenScreen
from swarmdeck.engine import actions
from swarmdeck.engine.errors import Sealed

PASSPHRASE = "correct horse battery"


async def filled_in(deck: Any, *texts: str) -> None:
    """Type into the fields of the form that is open, from where it stands, and run it."""
    await deck.until(lambda: isinstance(deck.app.screen, FormScreen) and deck.app.screen.ready)
    for place, text in enumerate(texts):
        if place:
            await deck.press("tab")
        await deck.press(*("space" if letter == " " else letter for letter in text))


@pytest.mark.parametrize("name", SCREENS)
async def test_a_sealed_vault_is_said_on_every_screen(fakes: Any, name: str) -> None:
    async with fakes.console(fakes.sealed(), size=(80, 24)) as deck:
        await deck.type(name)
        await deck.until(lambda: deck.app.deck.crumb == name)
        await deck.until(lambda: "■ SEALED" in deck.text.splitlines()[1])
        assert " u unseal " in deck.text.splitlines()[-1]


async def test_an_open_vault_takes_no_line_and_no_key(fakes: Any) -> None:
    async with fakes.console(fakes.busy(), size=(200, 60)) as deck:
        assert "SEALED" not in deck.text
        assert "unseal" not in deck.text.splitlines()[-1]


async def test_records_of_a_sealed_vault_say_why_they_cannot_be_read(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.sealed())
    host.failures[actions.MemoryList] = Sealed("the vault is sealed", hint="unseal it")
    async with fakes.console(host=host) as deck:
        await deck.type("records development")
        await deck.until(lambda: "nobody can read them" in deck.text and "u  unseals" in deck.text)


async def test_a_passphrase_is_never_shown_kept_or_written_out(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.sealed())
    async with fakes.console(host=host) as deck:
        await deck.press("u")
        await filled_in(deck, PASSPHRASE)
        await deck.until(lambda: "•" * len(PASSPHRASE) in deck.text)
        assert PASSPHRASE not in deck.text
        await deck.press("enter")
        await deck.until(host.changes)
        assert host.changes() == [actions.VaultUnseal(passphrase=PASSPHRASE)]
        await deck.until(lambda: any("vault.unseal" in toast for toast in deck.toasts))
        assert not any(PASSPHRASE in toast for toast in deck.toasts)
        deck.app.history.lines.append(f"vault unseal --passphrase '{PASSPHRASE}'")
        deck.app.enter(f"vault unseal --passphrase '{PASSPHRASE}'")
        assert not any(PASSPHRASE in line for line in deck.app.history.lines)
        assert not any(PASSPHRASE in line for line in deck.app.history._new)


async def test_a_vault_that_opens_by_itself_asks_for_nothing(fakes: Any) -> None:
    seen = fakes.sealed()
    glance = msgspec.structs.replace(seen.vault, source="file")
    host = fakes.FakeHost(msgspec.structs.replace(seen, vault=glance))
    async with fakes.console(host=host) as deck:
        await deck.press("u")
        await deck.until(host.changes)
        assert host.changes() == [actions.VaultUnseal()]


async def test_a_new_passphrase_is_typed_twice(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    async with fakes.console(host=host) as deck:
        await deck.type("form vault rekey passphrase")
        await deck.until(lambda: isinstance(deck.app.screen, FormScreen) and deck.app.screen.ready)
        await filled_in(deck, "", PASSPHRASE)
        await deck.press("enter")
        await deck.until(
            lambda: isinstance(deck.app.screen, ConfirmScreen) and deck.app.screen.ready
        )
        assert PASSPHRASE not in deck.text
        await deck.press(*"another", "enter")
        await deck.until(lambda: "that is not the same" in deck.text)
        assert host.changes() == []
        await deck.press(*["backspace"] * 7, *PASSPHRASE.replace(" ", "~"))
        await deck.press("enter")
        assert host.changes() == [], "blanks count too"


@pytest.mark.parametrize("name", [*SCREENS])
async def test_a_private_record_that_is_read_is_said_on_every_screen(fakes: Any, name: str) -> None:
    async with fakes.console(fakes.emergency(), size=(200, 60)) as deck:
        await deck.type(name)
        await deck.until(lambda: deck.app.deck.crumb == name)
        await deck.until(lambda: "BREAK-GLASS: 11 m left" in deck.text.splitlines()[1])
        notice = deck.text.splitlines()[1]
        assert "QUARANTINED: research" in notice
        assert "CLOCK HELD" in notice


async def test_a_narrow_terminal_says_each_in_its_shortest_form(fakes: Any) -> None:
    async with fakes.console(fakes.emergency(), size=(80, 24)) as deck:
        await deck.until(lambda: "BREAK-GLASS: 11 m left, ! ends it" in deck.text)
        assert "QUARANTINED: research" in deck.text.splitlines()[1]


async def test_one_key_ends_the_read(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.emergency())
    async with fakes.console(host=host) as deck:
        await deck.press("exclamation_mark")
        await deck.until(host.changes)
        assert host.changes() == [actions.AclRevoke(id="prod_grant_glass001")]


async def test_breaking_the_glass_wants_a_reason_and_says_who_is_told(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    async with fakes.console(host=host) as deck:
        await deck.type("records development")
        await deck.until(lambda: "module_1.py" in deck.text)
        await deck.press("B")
        await filled_in(deck, "outage")
        await deck.press("enter")
        await deck.until(lambda: isinstance(deck.app.screen, ConfirmScreen))
        assert "Its owner is told" in deck.text
        assert "outage" in deck.text
        await deck.until(lambda: deck.app.screen.ready)
        await deck.press("y")
        await deck.until(host.changes)
        assert host.changes()[0].reason == "outage"


async def test_the_vault_shows_each_key_and_rotates_where_the_cursor_is(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    async with fakes.console(host=host) as deck:
        await deck.press("V")
        await deck.until(lambda: "retiring" in deck.text and "43 %" in deck.text)
        assert "none yet" in deck.text, "an environment without keys is there too"
        await deck.press("r")
        await deck.until(host.changes)
        assert host.changes() == [actions.VaultRotate(environment="production")]


async def test_shredding_in_production_wants_the_name(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    async with fakes.console(host=host) as deck:
        await deck.type("vault shred production")
        await deck.until(
            lambda: isinstance(deck.app.screen, ConfirmScreen) and deck.app.screen.ready
        )
        assert "can never be read again" in deck.text
        assert "cannot be undone" in deck.text
        await deck.press("y", "enter")
        await deck.until(lambda: "that is not the word" in deck.text)
        assert host.changes() == []


async def test_a_restore_says_since_when_everything_is_lost(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    async with fakes.console(host=host) as deck:
        await deck.type("backups")
        await deck.until(lambda: "1 of 9" in deck.text)
        await deck.press("j", "R")
        await deck.until(
            lambda: isinstance(deck.app.screen, ConfirmScreen) and deck.app.screen.ready
        )
        assert "Lost from development" in deck.text
        await deck.press("y")
        await deck.until(host.changes)
        name = fakes.samples.backup(1).name
        assert host.changes() == [actions.BackupRestore(environment="development", name=name)]


async def test_a_token_is_shown_once_and_stays_nowhere(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    token = host.answers[actions.AgentToken](actions.AgentToken(id="x")).token
    async with fakes.console(host=host) as deck:
        await deck.type("agent token dev_agent_00000001")
        await deck.until(
            lambda: isinstance(deck.app.screen, ConfirmScreen) and deck.app.screen.ready
        )
        await deck.press("y")
        await deck.until(lambda: isinstance(deck.app.screen, TokenScreen))
        await deck.until(lambda: token in deck.text)
        await deck.press("escape")
        await deck.until(lambda: token not in deck.text)
        await deck.type("overview")
        assert token not in deck.text
        assert not any(token in toast for toast in deck.toasts)


async def test_the_trail_is_narrowed_by_risk_and_refusal_in_the_engine(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.busy())
    async with fakes.console(host=host) as deck:
        await deck.press("8")
        await deck.until(lambda: "✗ critical" in deck.text)
        await deck.press("r", "r", "f")
        await deck.until(lambda: "risk high and above · refused" in deck.text)
        await deck.until(
            lambda: any(
                isinstance(a, actions.AuditList) and a.risk == "high" and a.denied
                for a in host.asked
            )
        )


async def test_a_verified_trail_shows_each_chain_with_its_outside_copy(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("8")
        await deck.until(lambda: "1 of 60" in deck.text)
        await deck.press("C")
        await deck.until(lambda: "audit verify" in deck.text and "✗ failed" in deck.text)
        assert "outside" in deck.text


async def test_slow_statements_stand_beside_their_plan(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.type("db")
        await deck.until(lambda: "SEARCH memory USING INDEX" in deck.text)
        assert "1, 1 m" in deck.text, "a pinned reader and for how long"


async def test_an_alert_leads_to_where_something_can_be_done(fakes: Any) -> None:
    host = fakes.FakeHost(fakes.emergency())
    host.answers[actions.AlertList] = lambda _: [
        fakes.samples.alert(1, rule="quarantined", subject="research", environment="research")
    ]
    async with fakes.console(host=host) as deck:
        await deck.press("0")
        await deck.until(lambda: "quarantined" in deck.text)
        await deck.press("enter")
        await deck.until(lambda: deck.app.deck.crumb == "backups")
        assert deck.app.deck.place.environment == "research"


async def test_an_answer_that_took_its_time_does_not_come_between_typing(fakes: Any) -> None:
    async with fakes.console(fakes.busy()) as deck:
        await deck.press("colon", *"swarms")
        deck.app.request(actions.AuditVerify())
        await deck.until(lambda: deck.app._later)
        assert "audit verify" not in deck.text
        await deck.press("enter")
        await deck.until(lambda: deck.app.deck.crumb == "audit verify")

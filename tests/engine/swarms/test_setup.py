"""What processes are started with: said once, checked, kept over restarts and engines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swarmdeck.engine.errors import InvalidInput
from swarmdeck.engine.swarms.roster import Setup
from swarmdeck.engine.swarms.setup import MAX_VARIABLES, WITHHELD, read_setup, values

OWN = {"HOME": "/home/ada", "REDIS_PASSWORD": "canary"}


def test_values_are_given_or_those_of_the_engine_at_that_moment() -> None:
    setup = read_setup(["A=1=2", "EMPTY=", "HOME"], "", 0, OWN)
    assert setup == Setup(variables=(("A", "1=2"), ("EMPTY", ""), ("HOME", None)), warm_up_s=0)
    assert values(setup.variables, {"HOME": "/root"}) == {"A": "1=2", "EMPTY": "", "HOME": "/root"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["=1"], "not the name of a variable"),
        (["1A=1"], "not the name of a variable"),
        (["a b=1"], "not the name of a variable"),
        (["A\n=1"], "not the name of a variable"),
        (["A=x\0y"], "NUL"),
        (["A=1", "A=2"], "twice"),
        (["A=" + "x" * 40_000], "40,000 characters"),
        (["SWARMDECK_TOKEN=x"], "given by the engine"),
        (["AGENT_ID=x"], "given by the engine"),
        (["NOWHERE_SET"], "not set where the engine runs"),
        (["REDIS_PASSWORD"], "a secret of the engine"),
        ([f"A{number}=1" for number in range(MAX_VARIABLES + 1)], "101 variables"),
    ],
)
def test_variables_that_cannot_be_given_are_refused(wrong: list[str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read_setup(wrong, "", None, OWN)


def test_no_secret_of_the_engine_goes_by_name_alone() -> None:
    for name in WITHHELD:
        with pytest.raises(InvalidInput, match="secret of the engine"):
            values([(name, None)], {name: "canary"})
        assert values([(name, "its own")], {name: "canary"}) == {name: "its own"}


def test_a_directory_is_there_absolute_and_can_be_entered(tmp_path: Path) -> None:
    assert read_setup([], str(tmp_path), None, OWN).directory == str(tmp_path)
    (tmp_path / "file").touch()
    for wrong in ("work", str(tmp_path / "none"), str(tmp_path / "file"), "/a\0b", "."):
        with pytest.raises(InvalidInput):
            read_setup([], wrong, None, OWN)
    if os.geteuid() != 0:  # root enters every directory
        (tmp_path / "closed").mkdir(mode=0)
        with pytest.raises(InvalidInput, match="cannot be entered"):
            read_setup([], str(tmp_path / "closed"), None, OWN)

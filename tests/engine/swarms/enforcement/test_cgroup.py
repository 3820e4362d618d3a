"""Groups of the kernel, on a tree of files that stands for one that was given; and on a real one
where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swarmdeck.engine.model import MIB
from swarmdeck.engine.swarms.enforcement import cgroup
from swarmdeck.engine.swarms.enforcement.cgroup import ENGINE, PREFIX, Groups, find_groups

FILES = (
    "cgroup.procs", "memory.max", "memory.high", "memory.swap.max", "memory.events", "cpu.max",
)  # fmt: skip


def group(path: Path, **files: str) -> Path:
    """A group with the files that the kernel makes in it."""
    path.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (path / name).write_text("")
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


class Tree:
    """A cgroup v2 tree in which this process sits in /unit."""

    def __init__(self, directory: Path, controllers: str = "cpu memory") -> None:
        self.proc, self.root = directory / "proc", directory / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        group(self.root, cgroup__controllers=controllers, cgroup__subtree_control="")
        self.given = self.make("unit", controllers)
        group(self.given / ENGINE)
        self.sits("/unit")

    def make(self, path: str, controllers: str) -> Path:
        return group(
            self.root / path,
            cgroup__controllers=controllers,
            cgroup__subtree_control=controllers,
            cgroup__procs=f"{os.getpid()}\n",
        )

    def sits(self, path: str) -> None:
        (self.proc / "self" / "cgroup").write_text(f"4:memory:/x\n0::{path}\n")

    def find(self, *, given: bool = True) -> tuple[Groups | None, str]:
        return find_groups(self.proc, self.root, is_given=lambda *_: given)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture
def groups(tree: Tree) -> Groups:
    found, why = tree.find()
    assert found is not None, why
    group(tree.given / f"{PREFIX}s")
    return found


def said(path: Path) -> str:
    return path.read_text().strip()


def test_the_engine_goes_into_a_leaf_before_it_hands_controllers_down(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[Path, str]] = []
    monkeypatch.setattr(
        cgroup, "_write", lambda file, text: written.append((file.relative_to(tree.given), text))
    )
    found, _ = tree.find()
    assert found is not None
    assert found.has_cpu
    assert [(str(file), text) for file, text in written] == [
        (f"{ENGINE}/cgroup.procs", str(os.getpid())),  # a group with a process hands nothing down
        ("cgroup.subtree_control", "+memory"),
        ("cgroup.subtree_control", "+cpu"),
    ]


def test_an_engine_that_starts_again_in_its_leaf_finds_the_group_above(tree: Tree) -> None:
    tree.sits(f"/unit/{ENGINE}")
    (tree.given / "cgroup.procs").write_text("")
    found, why = tree.find()
    assert found is not None, why
    assert found.hold("s", MIB) is False, "the kernel has made no files in it"


def test_a_swarm_is_limited_and_slowed_before(tree: Tree, groups: Groups) -> None:
    assert groups.hold("s", 320 * MIB, 50)
    swarm = tree.given / f"{PREFIX}s"
    assert said(swarm / "memory.max") == str(320 * MIB)
    assert said(swarm / "memory.high") == str(300 * MIB)
    assert said(swarm / "memory.swap.max") == "0"
    assert said(swarm / "cpu.max") == "50000 100000"


def test_a_swarm_without_a_quota_has_all_processors(tree: Tree, groups: Groups) -> None:
    groups.hold("s", 320 * MIB)
    assert said(tree.given / f"{PREFIX}s" / "cpu.max") == "max 100000"


def test_a_process_is_put_into_the_group_of_its_swarm(tree: Tree, groups: Groups) -> None:
    assert groups.place("s", 4711)
    assert said(tree.given / f"{PREFIX}s" / "cgroup.procs") == "4711"
    assert not groups.place("nobody", 4711)


def test_kills_by_the_kernel_are_told_once(tree: Tree, groups: Groups) -> None:
    events = tree.given / f"{PREFIX}s" / "memory.events"
    assert groups.new_kills("s") == 0
    events.write_text("low 0\nhigh 9\nmax 5\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert groups.new_kills("s") == 2
    assert groups.new_kills("s") == 0
    assert groups.new_kills("nobody") == 0


def test_kills_of_before_an_engine_took_over_are_not_told_again(tree: Tree, groups: Groups) -> None:
    group(tree.given / f"{PREFIX}s", memory__high="", memory__max="")
    events = tree.given / f"{PREFIX}s" / "memory.events"
    events.write_text("oom 3\noom_kill 2\n")
    assert groups.hold("s", 100)
    assert groups.new_kills("s") == 0
    events.write_text("oom 3\noom_kill 3\n")
    assert groups.hold("s", 200)
    assert groups.new_kills("s") == 1


def test_groups_of_swarms_that_ended_are_removed_unless_somebody_is_in_them(
    tree: Tree, groups: Groups
) -> None:
    (tree.given / f"{PREFIX}gone").mkdir()
    groups.keep({"other"})
    assert not (tree.given / f"{PREFIX}gone").exists()
    assert (tree.given / f"{PREFIX}s").exists(), "not empty, as one that holds a process"
    assert (tree.given / ENGINE).exists()


def test_a_tree_that_was_not_given_is_left_as_it_is(tree: Tree) -> None:
    found, why = tree.find(given=False)
    assert (found, why) == (None, "the cgroup /unit was not delegated to this engine")
    assert said(tree.given / ENGINE / "cgroup.procs") == ""


def test_a_unit_without_a_leaf_of_its_own_is_left_as_it_is(tree: Tree) -> None:
    tree.make("swarmdeck.service", "cpu memory")
    tree.sits("/swarmdeck.service")
    found, why = tree.find()
    assert found is None
    assert why == (
        "systemd starts the engine in /swarmdeck.service itself: DelegateSubgroup=engine"
    )
    leaf = group(tree.root / "swarmdeck.service" / ENGINE)
    (tree.root / "swarmdeck.service" / "cgroup.procs").write_text("")
    tree.sits(f"/swarmdeck.service/{ENGINE}")
    assert tree.find()[0] is not None
    assert said(leaf / "cgroup.procs") == str(os.getpid())


def test_a_group_with_others_in_it_is_left_as_it_is(tree: Tree) -> None:
    (tree.given / "cgroup.procs").write_text(f"{os.getpid()}\n1\n")
    found, why = tree.find()
    assert (found, why) == (None, "other processes sit in the cgroup /unit")
    assert said(tree.given / ENGINE / "cgroup.procs") == ""


def test_without_the_memory_controller_there_are_no_groups(tmp_path: Path) -> None:
    found, why = Tree(tmp_path, "hugetlb").find()
    assert (found, why) == (None, "memory is no controller of the cgroup /unit")


def test_without_a_v2_tree_there_are_no_groups(tmp_path: Path) -> None:
    assert find_groups(tmp_path, tmp_path) == (None, "there is no cgroup v2 here")


def test_without_the_cpu_controller_memory_is_limited_all_the_same(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "memory")
    groups, why = tree.find()
    assert groups is not None, why
    group(tree.given / f"{PREFIX}s")
    assert not groups.has_cpu
    assert groups.hold("s", MIB, 50)
    assert said(tree.given / f"{PREFIX}s" / "cpu.max") == ""


def test_root_owns_everything_and_is_given_nothing_by_that(tree: Tree) -> None:
    """On a host every group is root's; only a mark of systemd, or being the root of a container,
    says that one was given away."""
    found, why = find_groups(tree.proc, tree.root)
    if os.geteuid() == 0:
        assert (found, why) == (None, "the cgroup /unit was not delegated to this engine")
    else:
        assert found is not None, "it belongs to this user"


def test_a_real_group_holds_a_real_process() -> None:
    found, why = find_groups()
    if found is None:
        pytest.skip(f"no cgroup v2 of our own: {why}")
    assert found.hold("test", 64 * MIB)
    found.keep(())

"""What agents have to do."""

from __future__ import annotations

from typing import Final

from ...engine import actions
from .. import columns
from ..places import Place
from .base import Listing, ident

DEPENDENCIES: Final = Listing(
    title="What tasks wait for, newest first",
    columns=columns.dependencies,
    key=ident,
    empty="No task waits for anything.\n\n:task depend TASK NEEDS  lets one wait.",
    groups=("dependencies", "rows", "table", "motion"),
    query=lambda scope: actions.DependencyList(environment=scope.place),
    opens=lambda held: Place("task", held.task),
    words=lambda held: f"{held.id}: {held.task} needs {held.needs}, {held.kind}, {held.state}",
)
TASKS: Final = Listing(
    title="Tasks that have not ended, most urgent first",
    columns=columns.tasks,
    key=ident,
    empty="Nothing is to be done.\n\nn  makes a task; or type  :task create development TITLE\n\n"
    "Those that have ended:  :task list --status all",
    groups=("tasks", "rows", "table", "motion"),
    query=lambda scope: actions.TaskList(environment=scope.place),
    opens=lambda task: Place("task", task.id),
    paged=True,
    words=lambda task: (
        f"{task.id}: {task.title}"
        + (f", {task.agent}" if task.agent else "")
        + (f", {'; '.join(task.blockers)}" if task.blockers else "")
    ),
)

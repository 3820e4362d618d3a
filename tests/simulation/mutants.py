"""Bugs planted in the engine while a seed runs, to show that the simulation finds such.

Each is a change of a line: in the text of a function, which is then compiled anew in its module, or
of a statement. One whose line is not there any more fails its test: plant another then.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple
from unittest import mock

from swarmdeck.engine.acl.access import Access
from swarmdeck.engine.memory.operations import Set
from swarmdeck.engine.queue import claiming, delivery, statements, upkeep
from swarmdeck.engine.queue.counters import Counters
from swarmdeck.engine.queue.flow import Flow
from swarmdeck.engine.queue.service import MessageQueue
from swarmdeck.engine.store import batch
from swarmdeck.engine.swarms.crew import Crew
from swarmdeck.engine.swarms.service import Swarms


class Mutant(NamedTuple):
    """`owner` is a class or module, `name` its function or statement; `old` stands there once."""

    what: str
    owner: Any
    name: str
    old: str
    new: str

    @contextmanager
    def planted(self) -> Iterator[None]:
        """While this lasts the engine has the bug."""
        found = inspect.getattr_static(self.owner, self.name)
        with mock.patch.object(self.owner, self.name, self._mutated(found)):
            yield

    def _mutated(self, found: Any) -> Any:
        if isinstance(found, str):
            return self._changed(found)
        bound = found.__func__ if isinstance(found, classmethod) else found
        return _compiled(bound, self._changed(textwrap.dedent(inspect.getsource(found))))

    def _changed(self, text: str) -> str:
        assert text.count(self.old) == 1, f"{self.what}: {self.old!r} is not there once"
        return text.replace(self.old, self.new)


def _compiled(function: Callable[..., Any], source: str) -> Any:
    """What the text of a function makes in the function's own module."""
    module = inspect.getmodule(function)
    assert module is not None
    made: dict[str, Any] = {}
    code = compile(source, f"<mutant of {function.__qualname__}>", "exec", dont_inherit=True)
    exec(code, vars(module), made)
    return made[function.__name__]


MUTANTS: Final = (
    Mutant("an ack is not fenced by its attempt", statements, "ACK",
           "AND holder = ? AND attempt = ?", "AND ? NOT NULL AND ? NOT NULL"),
    Mutant("leases of the dead stay", Crew, "_settle",
           "await self._surely(site, lambda: site.queue.release(exit_.agent))", "pass"),
    Mutant("what fails once more is not counted", Counters, "moved",
           "self._states[move.after] += 1", "self._states[move.after] += move.after != 1"),
    Mutant("nobody is called for what comes back", MessageQueue, "moved",
           "self._line.mark(move.to_target or move.target, move.kind)", "pass"),
    Mutant("what was claimed for somebody who left stays leased", claiming.Untake, "change",
           "if row is not None:", "if row is not None and False:"),
    Mutant("one attempt more than allowed", delivery.Nack, "change",
           "if failures >= max_attempts:", "if failures > max_attempts:"),
    Mutant("what nobody finishes never dies", upkeep, "_take_back",
           "if attempt - spent >= max_attempts:", "if attempt - spent > max_attempts:"),
    Mutant("memory of ended swarms stays allocated", Swarms, "_finish",
           "self._ledger.release(ident)", "pass"),
    Mutant("a write does not reach the cache", Set, "settle",
           "remember((write.namespace, write.key), outcome)",
           "outcome.version % 3 and remember((write.namespace, write.key), outcome)"),
    Mutant("a known key answers with another id", delivery.Send, "change",
           "return int(row[0])", "return self.ident"),
    Mutant("a commit that failed is answered as one that did not", batch, "_attempt",
           "return [blame(error, env, committing=committing) for _ in batch]",
           "return outcomes if committing else [blame(error, env, committing=0) for _ in batch]"),
    Mutant("delays are forgotten", upkeep, "_next_deadline",
           "(sql.NEXT_DELAY, sql.NEXT_LEASE, sql", "(sql.NEXT_LEASE, sql"),
    Mutant("a living agent is not taken up again", Crew, "adopt",
           "if not self.supervisor.adopt(running):", "if True:"),
    Mutant("older goes before more urgent", statements, "HEADS_OF_KIND",
           "ORDER BY priority DESC, id", "ORDER BY id"),
    Mutant("a lease ends a second early", statements, "DUE_LEASE",
           "lease_until <= ?", "lease_until <= ? + 1000000"),
    Mutant("a lease cannot be extended", statements, "EXTEND",
           "SET lease_until = ?,", "SET lease_until = max(lease_until, 0 * ?),"),
    Mutant("a revoked grant stays in force", Access, "revoke",
           "then=self._drop", "then=lambda _: None"),
    Mutant("an end that the disk refused is forgotten", Crew, "_surely",
           "await asyncio.sleep(RECORD_AGAIN_S)", "raise Unavailable('the disk failed')"),
    Mutant("a send that was refused counts for ever", Flow, "settled",
           "self._coming -= count", "self._coming -= count if self._coming % 7 else 0"),
    Mutant("who waits for room is not let in", Flow, "serve_soon",
           "if self._line and self._serving is None:", "if len(self._line) > 1:"),
    Mutant("one message more than fits", Flow, "takes",
           "self.depth + count > self.limit", "self.depth + count > self.limit + 1"),
    Mutant("leases that ran out are not taken from the count", upkeep.Release, "committed",
           "self.keeper.moved(outcome)", "pass"),
)  # fmt: skip

"""An agent that works on messages until somebody kills it.

    consumer.py LEDGER          started by a swarm

The ledger is a file outside the engine, one line for each step: `begun ID ATTEMPT` before a message
is worked on, `done ID ATTEMPT` once the engine has said that it is finished.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from swarmdeck.engine.agent import ANY, Agent, connect_agent
from swarmdeck.engine.handles import Message, Write


class Ledger:
    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, word: str, message: Message) -> None:
        # One write below a page, appended: lines of several processes never mix.
        os.write(self._file, f"{word} {message.id} {message.attempt}\n".encode())


async def main(ledger: Ledger) -> None:
    async def work(_: Agent, message: Message) -> tuple[Any, list[Write]]:
        ledger.note("begun", message)
        number = message.body["number"]
        if message.kind == "failing":
            raise ValueError(f"nobody can work on {number}")
        if message.kind == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return number, [Write(key=f"effect:{number}", value=message.attempt)]

    async with connect_agent() as agent:
        ack = agent.queue.ack

        async def noted(message: Message, result: Any = None, *, writes: Any = ()) -> None:
            await ack(message, result, writes=writes)
            ledger.note("done", message)

        agent.queue.ack = noted  # type: ignore[method-assign]
        await agent.work({ANY: work})


if __name__ == "__main__":
    asyncio.run(main(Ledger(sys.argv[1])))

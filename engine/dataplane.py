"""What agents call thousands of times a second: memory and queue, no receipt, no lane.

The same decisions, audit rows and writer as everything else. A verb answers with a value at
once, a Future or a coroutine; over the socket its arguments are checked against the annotations
here. Values cross as format and body and are never turned into objects on the way; those that
come over the socket are verified, those that our own codec has just made are not again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from . import codec
from .authority import Authority
from .environment import Place
from .errors import InvalidInput, NotFound
from .model import Principal, parse_environment, printable

Level = str | int | None
Verb: TypeAlias = Callable[..., Any]
Outgoing: TypeAlias = tuple[
    str, bytes, int, float, float | None, str | None, str | None, int | None
]
"""Kind, body, priority, delay, expiry, key, whom to, most attempts."""
Measured: TypeAlias = tuple[
    str, float, dict[str, str], str | None, str, str | int | None, float | None
]
"""Name, value, labels, kind, unit, level, days to keep."""


class DataPlane:
    """The verbs by name, over the environments."""

    def __init__(
        self,
        places: Mapping[str, Place],
        serving: Mapping[str, Place],
        authority: Authority | None = None,
    ) -> None:
        """`serving` are those of the places that are open. `authority` is asked about calls of
        the operator where its role is not the system role everywhere."""
        self._places = places
        self._serving = serving
        verbs: dict[str, Verb] = {
            "memory.get": self.memory_get,
            "memory.set": self.memory_set,
            "memory.delete": self.memory_delete,
            "memory.has": self.memory_has,
            "memory.clear": self.memory_clear,
            "memory.mget": self.memory_mget,
            "memory.mset": self.memory_mset,
            "memory.keys": self.memory_keys,
            "memory.incr": self.memory_incr,
            "queue.send": self.queue_send,
            "queue.send_many": self.queue_send_many,
            "queue.broadcast": self.queue_broadcast,
            "queue.claim": self.queue_claim,
            "queue.extend": self.queue_extend,
            "queue.ack": self.queue_ack,
            "queue.nack": self.queue_nack,
            "queue.result": self.queue_result,
            "metric.record": self.metric_record,
            "batch.commit": self.batch_commit,
            "artifact.begin": self.artifact_begin,
            "artifact.append": self.artifact_append,
            "artifact.finish": self.artifact_finish,
            "artifact.abort": self.artifact_abort,
            "artifact.read": self.artifact_read,
            "agent.heartbeat": self.agent_heartbeat,
            "agent.ready": self.agent_ready,
            "agent.renew": self.agent_renew,
            "agent.renewed": self.agent_renewed,
        }
        trusted = verbs | {
            "memory.set": self._set,
            "memory.mset": self._mset,
            "batch.commit": self._batch,
        }
        self._is_limited = authority is not None and authority.is_limited
        if authority is not None and authority.is_limited:
            verbs = {name: _limited(name, verb, authority) for name, verb in verbs.items()}
            trusted = {name: _limited(name, verb, authority) for name, verb in trusted.items()}
        self.verbs: Final[Mapping[str, Verb]] = verbs
        self.trusted: Final[Mapping[str, Verb]] = trusted

    def bound(
        self, verb: str, acting: Callable[[], Principal], environment: str
    ) -> Callable[..., Any]:
        """A trusted verb of one actor and environment, for those who call it very often."""
        answer = self.trusted[verb]
        if verb != "memory.get" or self._is_limited:
            return lambda *args: answer(acting(), environment, *args)
        serving, refused = self._serving, self._refused

        def get(namespace: str, key: str) -> Any:  # noqa: ANN401 - the same, in fewer steps
            place = serving.get(environment)
            if place is None:
                place = refused(environment)
            return place.memory.get(acting(), namespace, key)

        return get

    def _at(self, environment: str) -> Place:
        place = self._serving.get(environment)
        return place if place is not None else self._refused(environment)

    def _refused(self, environment: str) -> Place:
        """Raises InvalidInput for an unknown environment, else why it does not serve."""
        place = self._places[parse_environment(environment)]
        if place.refusal is not None:
            raise place.refusal.again()
        return place

    def memory_get(self, principal: Principal, environment: str, namespace: str, key: str) -> Any:  # noqa: ANN401
        return self._at(environment).memory.get(principal, namespace, key)

    def memory_set(  # noqa: PLR0913, PLR0917 - what crosses the wire
        self,
        principal: Principal,
        environment: str,
        namespace: str,
        key: str,
        format_: int,
        body: bytes,
        level: Level,
        ttl_s: float | None,
        if_version: int | None,
    ) -> Any:  # noqa: ANN401
        codec.check(format_, body)
        return self._set(
            principal, environment, namespace, key, format_, body, level, ttl_s, if_version
        )

    def _set(self, principal: Principal, environment: str, *args: Any) -> Any:  # noqa: ANN401
        return self._at(environment).memory.set(principal, *args)

    def memory_delete(
        self,
        principal: Principal,
        environment: str,
        namespace: str,
        key: str,
        if_version: int | None,
    ) -> Any:  # noqa: ANN401
        return self._at(environment).memory.delete(principal, namespace, key, if_version)

    def memory_has(self, principal: Principal, environment: str, namespace: str, key: str) -> Any:  # noqa: ANN401
        return self._at(environment).memory.has(principal, namespace, key)

    def memory_clear(
        self, principal: Principal, environment: str, namespace: str | None, prefix: str
    ) -> Any:  # noqa: ANN401
        return self._at(environment).memory.clear(principal, namespace, prefix)

    def memory_mget(
        self, principal: Principal, environment: str, namespace: str, keys: list[str]
    ) -> Any:  # noqa: ANN401
        return self._at(environment).memory.mget(principal, namespace, keys)

    def memory_mset(
        self,
        principal: Principal,
        environment: str,
        namespace: str,
        items: list[tuple[str, int, bytes]],
        level: Level,
        ttl_s: float | None,
    ) -> Any:  # noqa: ANN401
        for _, format_, body in items:
            codec.check(format_, body)
        return self._mset(principal, environment, namespace, items, level, ttl_s)

    def _mset(self, principal: Principal, environment: str, *args: Any) -> Any:  # noqa: ANN401
        return self._at(environment).memory.mset(principal, *args)

    def memory_keys(
        self,
        principal: Principal,
        environment: str,
        namespace: str,
        prefix: str,
        limit: int,
        cursor: str | None,
    ) -> Any:  # noqa: ANN401
        return self._at(environment).memory.keys(principal, namespace, prefix, limit, cursor)

    def memory_incr(
        self, principal: Principal, environment: str, namespace: str, key: str, by: int
    ) -> Any:  # noqa: ANN401
        return self._at(environment).memory.incr(principal, namespace, key, by)

    def queue_send(  # noqa: PLR0913, PLR0917 - what crosses the wire
        self,
        principal: Principal,
        environment: str,
        kind: str,
        body: bytes,
        priority: int,
        delay_s: float,
        expires_s: float | None,
        key: str | None,
        to: str | None,
        max_attempts: int | None,
        wait_s: float = 0,
    ) -> Any:  # noqa: ANN401
        return self._at(environment).queue.send(
            principal, kind, body, priority, delay_s, expires_s, key, to, max_attempts, wait_s
        )

    def queue_send_many(
        self, principal: Principal, environment: str, messages: list[Outgoing], wait_s: float = 0
    ) -> Any:  # noqa: ANN401
        return self._at(environment).queue.send_many(principal, messages, wait_s)

    def queue_broadcast(  # noqa: PLR0913, PLR0917 - what crosses the wire
        self,
        principal: Principal,
        environment: str,
        kind: str,
        body: bytes,
        to: str | None,
        priority: int,
        delay_s: float,
        expires_s: float | None,
        key: str | None,
        max_attempts: int | None,
        wait_s: float = 0,
    ) -> Any:  # noqa: ANN401
        return self._at(environment).queue.broadcast(
            principal, kind, body, to, priority, delay_s, expires_s, key, max_attempts, wait_s
        )

    def queue_claim(
        self,
        principal: Principal,
        environment: str,
        limit: int,
        lease_s: float,
        wait_s: float,
        kinds: list[str] | None,
    ) -> Any:  # noqa: ANN401
        return self._at(environment).queue.claim(principal, limit, lease_s, wait_s, kinds)

    def queue_extend(
        self, principal: Principal, environment: str, ident: str, attempt: int, lease_s: float
    ) -> Any:  # noqa: ANN401
        return self._at(environment).queue.extend(principal, ident, attempt, lease_s)

    def queue_ack(
        self,
        principal: Principal,
        environment: str,
        ident: str,
        attempt: int,
        result: bytes | None,
        writes: list[list[Any]],
    ) -> Any:  # noqa: ANN401
        return self._at(environment).queue.ack(principal, ident, attempt, result, writes)

    def queue_nack(
        self,
        principal: Principal,
        environment: str,
        ident: str,
        attempt: int,
        error: str,
        delay_s: float | None,
    ) -> Any:  # noqa: ANN401
        return self._at(environment).queue.nack(principal, ident, attempt, error, delay_s)

    async def queue_result(
        self, principal: Principal, environment: str, ident: str, wait_s: float
    ) -> list[Any]:
        place = self._at(environment)
        try:
            found = await place.queue.outcome(principal, ident, wait_s)
        except NotFound:
            await place.reads.refuse(principal, "queue.result", printable(ident))
            raise
        mark = (found.state, str(found.attempt))
        await place.reads.look(principal, "queue.result", ident, mark)
        return found.wire

    def batch_commit(
        self, principal: Principal, environment: str, items: list[list[Any]], atomic: bool
    ) -> Any:  # noqa: ANN401
        return self._batch(principal, environment, items, atomic, check=True)

    def _batch(
        self,
        principal: Principal,
        environment: str,
        items: list[list[Any]],
        atomic: bool,
        *,
        check: bool = False,
    ) -> Any:  # noqa: ANN401
        from .batch.intake import commit  # noqa: PLC0415 - most programs need none

        place = self._at(environment)
        return commit(
            place.database, place.memory, place.queue, principal, items, atomic=atomic, check=check
        )

    async def artifact_begin(  # noqa: PLR0913, PLR0917 - what crosses the wire
        self,
        principal: Principal,
        environment: str,
        name: str,
        kind: str,
        format_: str,
        level: Level,
        team: str | None,
        parent: str | None,
        of: str | None,
        metadata: bytes,
        compress: bool,
    ) -> str:
        """Begin to send a content in pieces; the name of the upload."""
        from .artifacts.service import Wanted  # noqa: PLC0415 - rarely asked

        wanted = Wanted(name, kind, format_, level, team, parent, of, metadata)
        return await self._at(environment).uploads.begin(principal, wanted, compress=compress)

    def artifact_append(
        self, principal: Principal, environment: str, upload: str, at: int, body: bytes
    ) -> Any:  # noqa: ANN401
        return self._at(environment).uploads.append(principal, upload, at, body)

    async def artifact_finish(self, principal: Principal, environment: str, upload: str) -> str:
        """The id of the version that was stored."""
        return (await self._at(environment).uploads.finish(principal, upload)).id

    def artifact_abort(self, principal: Principal, environment: str, upload: str) -> Any:  # noqa: ANN401
        return self._at(environment).uploads.abort(principal, upload)

    async def artifact_read(
        self, principal: Principal, environment: str, ident: str, chunk: int
    ) -> list[Any]:
        """A chunk of a content, from 0 on, and how many there are."""
        return list(await self._at(environment).artifacts.chunk(principal, ident, chunk))

    async def metric_record(
        self, principal: Principal, environment: str, values: list[Measured]
    ) -> None:
        from .measures.service import Wanted  # noqa: PLC0415 - most agents measure nothing

        wanted = [
            Wanted(
                name=name, value=value, labels=labels, kind=kind, unit=unit, level=level,
                keep_days=keep_days,
            )
            for name, value, labels, kind, unit, level, keep_days in values
        ]  # fmt: skip
        await self._at(environment).measures.record(principal, wanted)

    def agent_heartbeat(self, principal: Principal, environment: str) -> None:
        self._at(environment).registry.heartbeat(_agent(principal))

    def agent_ready(self, principal: Principal, environment: str) -> Any:  # noqa: ANN401
        return self._at(environment).registry.ready(_agent(principal))

    def agent_renew(self, principal: Principal, environment: str) -> str:
        """A new token, which counts from `agent.renewed` on."""
        return self._at(environment).registry.tokens.offer(_agent(principal))

    def agent_renewed(self, principal: Principal, environment: str, token: str) -> Any:  # noqa: ANN401
        return self._at(environment).registry.tokens.take(_agent(principal), token)


def _limited(name: str, verb: Verb, authority: Authority) -> Verb:
    """A verb that the operator calls only with the role it needs. Signature and annotations stay:
    over the socket its arguments are checked against them."""

    @functools.wraps(verb)
    def checked(principal: Principal, environment: str, *args: Any) -> Any:  # noqa: ANN401
        if principal.is_operator:
            authority.require_verb(name, environment)
        return verb(principal, environment, *args)

    return checked


def _agent(principal: Principal) -> str:
    if principal.is_operator:
        raise InvalidInput("the operator has no heartbeat", hint="only agents call this")
    return principal.id

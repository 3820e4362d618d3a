"""What agents call thousands of times a second: memory and queue, no receipt, no lane.

The same decisions, audit rows and writer as everything else. A verb answers with a value at
once, a Future or a coroutine; over the socket its arguments are checked against the annotations
here. Values cross as format and body and are never decoded on the way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec

from . import codec
from .environment import Place
from .errors import Denied, InvalidInput
from .model import Principal, parse_environment

P = ParamSpec("P")

MAX_WAIT_S: Final = 60.0

Opener = Callable[[str], Awaitable[Place]]
Level = str | int | None


def _in_place(
    verb: Callable[Concatenate[DataPlane, Principal, Place, P], Any],
) -> Callable[Concatenate[DataPlane, Principal, str, P], Any]:
    """Find the environment; one that was never used is opened first."""

    @wraps(verb)
    def call(
        self: DataPlane, principal: Principal, environment: str, *args: P.args, **kwargs: P.kwargs
    ) -> Any:  # noqa: ANN401 - as the verb
        place = self.places.get(environment)
        if place is None:
            return self.later(lambda found: verb(self, principal, found, *args, **kwargs), environment)
        return verb(self, principal, place, *args, **kwargs)

    return call


class DataPlane:
    """The verbs by name, over the open environments."""

    def __init__(self, places: Mapping[str, Place], opener: Opener) -> None:
        self.places = places
        self._opener = opener
        self.verbs: Final[Mapping[str, Callable[..., Any]]] = {
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
            "queue.claim": self.queue_claim,
            "queue.extend": self.queue_extend,
            "queue.ack": self.queue_ack,
            "queue.nack": self.queue_nack,
            "agent.heartbeat": self.agent_heartbeat,
            "agent.ready": self.agent_ready,
        }

    def later(
        self, call: Callable[[Place], Any], environment: str
    ) -> Coroutine[Any, Any, Any]:
        name = parse_environment(environment).value

        async def opened() -> Any:  # noqa: ANN401 - as the verb
            answer = call(await self._opener(name))
            return await answer if isinstance(answer, Awaitable) else answer

        return opened()

    @_in_place
    def memory_get(self, principal: Principal, place: Place, namespace: str, key: str) -> Any:  # noqa: ANN401
        return place.memory.get(principal, namespace, key)

    @_in_place
    def memory_set(
        self,
        principal: Principal,
        place: Place,
        namespace: str,
        key: str,
        format_: int,
        body: bytes,
        level: Level,
        ttl_s: float | None,
        if_version: int | None,
    ) -> Any:  # noqa: ANN401
        return place.memory.set(principal, namespace, key, format_, body, level, ttl_s, if_version)

    @_in_place
    def memory_delete(
        self, principal: Principal, place: Place, namespace: str, key: str, if_version: int | None
    ) -> Any:  # noqa: ANN401
        return place.memory.delete(principal, namespace, key, if_version)

    @_in_place
    def memory_has(self, principal: Principal, place: Place, namespace: str, key: str) -> Any:  # noqa: ANN401
        return place.memory.has(principal, namespace, key)

    @_in_place
    def memory_clear(
        self, principal: Principal, place: Place, namespace: str | None, prefix: str
    ) -> Any:  # noqa: ANN401
        return place.memory.clear(principal, namespace, prefix)

    @_in_place
    def memory_mget(
        self, principal: Principal, place: Place, namespace: str, keys: list[str]
    ) -> Any:  # noqa: ANN401
        return place.memory.mget(principal, namespace, keys)

    @_in_place
    def memory_mset(
        self,
        principal: Principal,
        place: Place,
        namespace: str,
        items: list[tuple[str, int, bytes]],
        level: Level,
        ttl_s: float | None,
    ) -> Any:  # noqa: ANN401
        return place.memory.mset(principal, namespace, items, level, ttl_s)

    @_in_place
    def memory_keys(
        self,
        principal: Principal,
        place: Place,
        namespace: str,
        prefix: str,
        limit: int,
        cursor: str | None,
    ) -> Any:  # noqa: ANN401
        return place.memory.keys(principal, namespace, prefix, limit, cursor)

    @_in_place
    def memory_incr(
        self, principal: Principal, place: Place, namespace: str, key: str, by: int
    ) -> Any:  # noqa: ANN401
        return place.memory.incr(principal, namespace, key, by)

    @_in_place
    def queue_send(
        self,
        principal: Principal,
        place: Place,
        kind: str,
        body: bytes,
        priority: int,
        delay_s: float,
        expires_s: float | None,
        key: str | None,
        to: str | None,
        max_attempts: int,
    ) -> Any:  # noqa: ANN401
        _at_home(principal, place)
        return place.queue.send(
            principal, kind, codec.check_json(body), priority, delay_s, expires_s, key, to,
            max_attempts,
        )  # fmt: skip

    @_in_place
    def queue_claim(
        self,
        principal: Principal,
        place: Place,
        limit: int,
        lease_s: float,
        wait_s: float,
        kinds: list[str] | None,
    ) -> Any:  # noqa: ANN401
        _at_home(principal, place)
        return place.queue.claim(principal, limit, lease_s, wait_s, kinds)

    @_in_place
    def queue_extend(
        self, principal: Principal, place: Place, ident: str, attempt: int, lease_s: float
    ) -> Any:  # noqa: ANN401
        return place.queue.extend(principal, ident, attempt, lease_s)

    @_in_place
    def queue_ack(
        self,
        principal: Principal,
        place: Place,
        ident: str,
        attempt: int,
        result: bytes | None,
        writes: list[list[Any]],
    ) -> Any:  # noqa: ANN401
        checked = place.memory.check_writes(writes)
        text = None if result is None else codec.check_json(result)
        return place.queue.ack(principal, ident, attempt, text, checked)

    @_in_place
    def queue_nack(
        self,
        principal: Principal,
        place: Place,
        ident: str,
        attempt: int,
        error: str,
        delay_s: float | None,
    ) -> Any:  # noqa: ANN401
        return place.queue.nack(principal, ident, attempt, error, delay_s)

    @_in_place
    def agent_heartbeat(self, principal: Principal, place: Place) -> None:
        place.registry.heartbeat(_agent(principal))

    @_in_place
    def agent_ready(self, principal: Principal, place: Place) -> Any:  # noqa: ANN401
        return place.registry.ready(_agent(principal))


def _at_home(principal: Principal, place: Place) -> None:
    """Messages never cross environments by themselves."""
    if not principal.is_operator and principal.environment != place.environment:
        raise Denied(
            f"{principal.id} may not use the queue of {place.environment}",
            hint=f"it belongs to {principal.environment}",
        )


def _agent(principal: Principal) -> str:
    if principal.is_operator:
        raise InvalidInput("the operator has no heartbeat", hint="only agents call this")
    return principal.id

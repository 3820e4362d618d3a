"""What a link server serves, and the check that stands before each data-plane call."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from types import GenericAlias
from typing import Any, Protocol, TypeAlias

import msgspec

from ..actions import Action
from ..dispatch import Receipt
from ..errors import InvalidInput
from ..events import EventBus
from ..model import Principal
from . import protocol
from .protocol import Greeting

Verb: TypeAlias = Callable[..., Any]
Decode: TypeAlias = Callable[[msgspec.Raw], tuple[Any, ...]]


class Backend(Protocol):
    """What the server serves. All of it is called on the server's loop."""

    @property
    def bus(self) -> EventBus: ...

    @property
    def verbs(self) -> Mapping[str, Verb]:
        """Data-plane calls `verb(principal, environment, *args)` by name. A verb answers with a
        value, a Future or a coroutine. Arguments are checked against its annotations, which
        must therefore resolve at run time; answers are msgpack builtins."""
        ...

    def greeting(self) -> Greeting:
        """Who serves: release, pid and data directory."""
        ...

    def authenticate(self, agent: str, token: str) -> Principal:
        """The agent with this id and token. Raises Denied."""
        ...

    def resolve(self, actor: str) -> Principal:
        """`operator` or an agent id as it is now. Raises NotFound or Denied."""
        ...

    def acting(self, actor: str) -> Principal:
        """The same for a connection of the operator. Raises Denied where its role does not let it
        act as an agent."""
        ...

    def dispatch(self, action: Action, principal: Principal) -> Receipt: ...

    async def publish(self, channel: str, body: Any, principal: Principal) -> int: ...  # noqa: ANN401

    def check_channel(self, channel: str, principal: Principal) -> None:
        """Raises Denied when this principal may not listen there."""
        ...


class CheckedVerb:
    """A data-plane call and the types of its arguments. Those that have a default may be left out
    at the end, as a client does that was made before there were any."""

    __slots__ = ("_decode", "_function", "_name", "_shorter")

    def __init__(self, name: str, function: Verb) -> None:
        self._name = name
        self._function = function
        hints = typing.get_type_hints(function)
        wanted = list(inspect.signature(function).parameters.values())[2:]
        types = tuple(hints.get(each.name, Any) for each in wanted)
        least = sum(each.default is each.empty for each in wanted)
        self._decode = _decoder(types)
        self._shorter = {count: _decoder(types[:count]) for count in range(least, len(types))}

    def __call__(self, principal: Principal, environment: str, args: msgspec.Raw) -> Any:  # noqa: ANN401
        try:
            checked = self._decoder_for(args)(args)
        except protocol.UNDECODABLE as error:
            raise InvalidInput(f"{self._name}: {error}") from error
        return self._function(principal, environment, *checked)

    def _decoder_for(self, args: msgspec.Raw) -> Decode:
        if not self._shorter:
            return self._decode
        first = memoryview(args)[0]
        count = first & 0x0F if first & 0xF0 == 0x90 else -1  # how msgpack begins a short array
        return self._shorter.get(count, self._decode)


def _decoder(types: tuple[Any, ...]) -> Decode:
    return msgspec.msgpack.Decoder(GenericAlias(tuple, types)).decode

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
    """A data-plane call and the types of its arguments."""

    __slots__ = ("_decode", "_function", "_name")

    def __init__(self, name: str, function: Verb) -> None:
        self._name = name
        self._function = function
        hints = typing.get_type_hints(function)
        wanted = list(inspect.signature(function).parameters.values())[2:]
        types = tuple(hints.get(each.name, Any) for each in wanted)
        self._decode: Callable[[msgspec.Raw], tuple[Any, ...]] = msgspec.msgpack.Decoder(
            GenericAlias(tuple, types)
        ).decode

    def __call__(self, principal: Principal, environment: str, args: msgspec.Raw) -> Any:  # noqa: ANN401
        try:
            checked = self._decode(args)
        except protocol.UNDECODABLE as error:
            raise InvalidInput(f"{self._name}: {error}") from error
        return self._function(principal, environment, *checked)

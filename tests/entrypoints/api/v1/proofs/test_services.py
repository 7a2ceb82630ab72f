"""Every service that takes an id, with another owner's: the command line and the routes call the same ones.

The services are found in the container: whatever takes a principal, or an owner's id, and the id of a thing.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias
from uuid import UUID

import pytest

from recado.agents.models import AgentForm
from recado.bootstrap import Container
from recado.conversation.errors import IllegalTransition
from recado.core.errors import DomainError, InvalidInput, NotFound
from recado.identity.principal import Principal
from recado.identity.users import UserChanges
from tests.architecture.wiring import hints_of, type_of
from tests.entrypoints.api.v1.proofs.scene import MAKERS, Scene
from tests.support.callers import admin_of

pytestmark = pytest.mark.proof

ON_BOTH_DATABASES = True

Call: TypeAlias = Callable[..., Awaitable[object]]

OTHERS: Final[Mapping[str, Mapping[str, object]]] = {
    "ContactService.rename": {"name": "Ana Maria"},
    "EndpointService.replay": {"since": datetime(2026, 3, 14, tzinfo=UTC)},
    "HandOffService.assign": {"user_id": None},
    "HandOffService.reply": {"text": "oi", "take": True},
    "NumberAgentService.set": {"form": AgentForm("echo")},
    "UserService.change": {"changes": UserChanges(name="Bia")},
    "UserService.change_role": {"role": "viewer"},
    "Transcripts.page": {"limit": 5},
    "UserService.rename": {"name": "Bia"},
}
"""What a method needs besides who calls and the thing."""

EXEMPT: Final[Mapping[str, str]] = {
    "Fanout.advance": "jobs and services call it, with the owner of what they hold",
    "OwnSessions.end": "it finds what is the caller's own, no other's of the owner: test_sweep.py asks as that user",
    "Fanout.resume": "as `Fanout.advance`",
    "EndpointService.resend": "it needs an event besides: tests/events/test_delivering.py",
}
"""Methods that the sweep leaves out, with the reason."""
REFUSED: Final[Mapping[str, type[DomainError]]] = {
    "HandOffService.release": IllegalTransition,
    "NumberAgentService.renew_secret": InvalidInput,
}
"""How a method ends that finds its owner's thing in a state that does not allow it."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a service that does something with a thing of an owner."""

    provider: str
    name: str
    takes_principal: bool
    thing: str
    """The parameter with the id of the thing, by whose name it is made."""

    async def call(self, container: Container, owner_id: UUID, thing: UUID) -> object:
        service = container.providers[self.provider]()
        method: Call = getattr(service, self.name.partition(".")[2])
        who = admin_of(owner_id) if self.takes_principal else owner_id
        return await method(who, thing, **OTHERS.get(self.name, {}))


def methods() -> Iterator[Method]:
    for provider, provided in Container.providers.items():
        service = type_of(provided)
        if isinstance(service, type) and service.__module__.startswith("recado."):
            for name, function in inspect.getmembers(service, inspect.iscoroutinefunction):
                if not name.startswith("_") and (found := _method(provider, f"{service.__name__}.{name}", function)):
                    yield found


def _method(provider: str, name: str, function: Callable[..., object]) -> Method | None:
    hints = hints_of(function)
    parameters = [each for each in inspect.signature(function).parameters if each != "self"]
    if len(parameters) < 2:
        return None
    who, thing = parameters[:2]
    knows_who = hints.get(who) is Principal or (who == "owner_id" and hints.get(who) is UUID)
    return Method(provider, name, hints[who] is Principal, thing) if knows_who and hints.get(thing) is UUID else None


FOUND: Final = [each for each in methods() if each.name not in EXEMPT]


def test_they_are_found() -> None:
    assert {"HandOffService.take", "KnowledgeService.document", "NumberService.number"} <= {each.name for each in FOUND}
    assert {each.thing for each in FOUND} - MAKERS.keys() == set(), "say in scene.py how such a thing is made"


@pytest.mark.parametrize("method", FOUND, ids=lambda each: str(each.name))
async def test_a_thing_of_another_is_not_found(
    container: Container, scene: Scene, stranger: UUID, method: Method
) -> None:
    thing = await scene.make(method.thing)
    before = await scene.everything()
    with pytest.raises(NotFound):
        await method.call(container, stranger, thing)
    assert await scene.everything() == before
    if (refused := REFUSED.get(method.name)) is None:
        await method.call(container, scene.world.owner_id, thing)
        return
    with pytest.raises(refused):
        await method.call(container, scene.world.owner_id, thing)

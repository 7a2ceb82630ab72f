"""What the agents' tests share: an owner, turns, and the services over a real database."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest

from recado.agents.knowledge.service import KnowledgeService
from recado.agents.registry import AgentRegistry
from recado.agents.runner import AgentRunner
from recado.agents.service import AgentService
from recado.conversation.ports import HistoryEntry, Incoming, TurnContext
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import UuidV7
from tests.agents.fakes import ONE_BY_ONE
from tests.agents.loopback import Loopback, listening
from tests.support.keys import KEY_RING, register_owner

OWNER, OTHER_OWNER = UUID(int=1), UUID(int=77)
Turns = Callable[..., TurnContext]


@pytest.fixture
def owner() -> UUID:
    return OWNER


@pytest.fixture
def turn_of(clock: FrozenClock, owner: UUID) -> Turns:
    """Makes a turn of the given texts."""

    def make(
        *texts: str,
        locale: str = "pt-BR",
        history: tuple[HistoryEntry, ...] = (),
        seconds: float = 30,
        owner_id: UUID = owner,
        name: str | None = "Ana",
    ) -> TurnContext:
        return TurnContext(
            owner_id=owner_id,
            contact_id=UUID(int=2),
            conversation_id=UUID(int=3),
            turn_id=UUID(int=4),
            locale=locale,
            contact_name=name,
            messages=[Incoming(text, "text", clock.now()) for text in texts],
            history=history,
            deadline=clock.now() + timedelta(seconds=seconds),
            effects=ONE_BY_ONE,
        )

    return make


@pytest.fixture(scope="session")
def running_server() -> Iterator[Loopback]:
    with listening() as loopback:
        yield loopback


@pytest.fixture
def server(running_server: Loopback) -> Loopback:
    """A server on loopback that has been asked nothing yet."""
    running_server.forget()
    return running_server


@pytest.fixture
def knowledge(database: Database, clock: FrozenClock, ids: UuidV7) -> KnowledgeService:
    return KnowledgeService(database, clock, ids)


@pytest.fixture
def registry() -> AgentRegistry:
    return AgentRegistry()


@pytest.fixture
async def service(database: Database, registry: AgentRegistry, clock: FrozenClock, ids: UuidV7) -> AgentService:
    """The service over a database with two owners."""
    for owner_id in (OWNER, OTHER_OWNER):
        await database.write(partial(register_owner, owner_id=owner_id, now=clock.now()), owner=None)
    return AgentService(database, registry, KEY_RING, clock, ids)


@pytest.fixture
async def runner(
    service: AgentService, registry: AgentRegistry, knowledge: KnowledgeService, clock: FrozenClock
) -> AsyncIterator[AgentRunner]:
    runner = AgentRunner(service, registry, knowledge, clock, grace_seconds=0.2)
    yield runner
    await runner.aclose()

"""Each provider of the container passes what the constructor is annotated with."""

from collections.abc import Callable

import pytest

from recado.bootstrap import Container, metadata
from recado.conversation.ports import Agents
from recado.conversation.upkeep.expiry import IdleExpiry
from recado.core.clock import Clock
from recado.core.container import containers, providers
from recado.core.database.engine import Database
from recado.identity.owners import OwnerService
from recado.operations.pruning import Pruning
from recado.operations.verify import Verifier
from recado.settings import Settings
from tests.architecture.wiring import fits, problems


def test_every_argument_fits_its_parameter() -> None:
    assert problems(Container) == []


def test_each_part_is_built_once_whichever_thread_asks_for_it_first() -> None:
    """Two services of one kind would not hear each other: an agent that was changed in one would go on in the other."""
    singletons = [each for each in Container.providers.values() if isinstance(each, providers.BaseSingleton)]
    assert len(singletons) > 50
    assert not [each for each in singletons if not isinstance(each, providers.ThreadSafeSingleton)]


def _count(many: int, names: Callable[[str], int]) -> None: ...


class Base(containers.DeclarativeContainer):
    settings: providers.Dependency[Settings] = providers.Dependency(instance_of=Settings)
    clock: providers.Provider[Clock] = Container.clock
    database: providers.Provider[Database] = Container.database


PLANTED = [
    providers.Singleton(IdleExpiry, Base.clock, "nonsense", 3),
    providers.Singleton(Pruning, Base.clock, Base.database),
    providers.Singleton(Pruning, Base.database),
    providers.Singleton(Verifier, Base.database, Base.clock, Base.settings.provided.database_url),
    providers.Singleton(Verifier, Base.database, Base.clock, "300"),
    providers.Singleton(OwnerService, Base.database, Base.clock, providers.Singleton(Pruning), Base.clock),
    providers.Singleton(_count, 3, providers.Object(metadata)),
    providers.Singleton(_count, Base.clock.provider, providers.Object(len)),
]


@pytest.mark.parametrize("planted", PLANTED, ids=range(len(PLANTED)))
def test_a_wrong_argument_is_found(planted: "providers.Singleton[object]") -> None:
    class Wrong(Base):
        wrong = planted

    assert [each for each in problems(Wrong) if each.startswith("wrong: ")]


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        (int, float, True),
        (float, int, False),
        (str | None, str | None, True),
        (str | None, str, False),
        (bytes, bytes | None, True),
        (Pruning, Agents, False),
        (Database, object, True),
    ],
)
def test_types_are_compared(given: object, wanted: object, expected: bool) -> None:
    assert fits(given, wanted) is expected

"""Typed repositories: they query the database in the domain's words and decide nothing.

Rows of tenants are reached through `OwnedRepository`, which takes the owner from the unit of work and refuses to work
without one, so a query that forgets the tenant cannot be written by accident.

    _OF_LANE = Prepared(owned(messages, Message).where(messages.c.lane == bindparam("lane")))

    class Messages(OwnedRepository[Message]):
        table, entity, noun = messages, Message, "message"

        def of_lane(self, lane: Lane) -> list[Message]:
            return self._many(_OF_LANE, lane=lane)
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from sqlalchemy import ClauseElement, ColumnElement, Select, Table, bindparam, select, update

from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import NotFound

T = TypeVar("T")


def entities(table: Table, entity: type[Any]) -> Select[*tuple[Any, ...]]:
    """Return SELECT of an entity's columns, in the order of its fields."""
    return select(*(table.c[name] for name in column_names(entity)))


def column_names(entity: type[Any]) -> tuple[str, ...]:
    """Return the columns that are an entity's fields."""
    return tuple(field.name for field in fields(entity))


def of_owner(table: Table) -> ColumnElement[bool]:
    """Return the condition of every statement of an `OwnedRepository`; the repository binds the owner."""
    return table.c.owner_id == bindparam("owner")


def owned(table: Table, entity: type[Any]) -> Select[*tuple[Any, ...]]:
    """Return SELECT of one owner's entities."""
    return entities(table, entity).where(of_owner(table))


class Repository(Generic[T]):
    """Entities of one table.

    The entity is a dataclass whose fields are columns of the table (not always all of them).
    """

    table: ClassVar[Table]
    entity: ClassVar[type[Any]]
    noun: ClassVar[str] = "row"
    _names: ClassVar[tuple[str, ...]]
    _prepared: ClassVar[dict[tuple[str, ...], Prepared]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._prepared = {}
        if hasattr(cls, "entity"):
            cls._names = column_names(cls.entity)

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._bound_always: Mapping[str, object] = {}

    def get(self, id_: UUID) -> T | None:
        """Return the entity; None when it does not exist or belongs to another owner."""
        by_id = self._statement_for(("get",), lambda: self._all().where(self.table.c.id == bindparam("id")))
        return self._one(by_id, id=id_)

    def require(self, id_: UUID) -> T:
        """Return the entity; raises `NotFound` with a sentence for people."""
        found = self.get(id_)
        if found is None:
            raise NotFound(f"there is no {self.noun} {id_}")
        return found

    def add(self, entity: T) -> T:
        self.add_all([entity])
        return entity

    def add_all(self, entities: Iterable[T]) -> None:
        insert = self._statement_for(("add",), lambda: inserting(self.table, *self._names))
        self._uow.run_many(insert, [self._values(entity) for entity in entities])

    def change(self, id_: UUID, **columns: object) -> bool:
        """Set columns of one row; return whether the row exists."""
        statement = self._statement_for(("change", *columns), lambda: self._changing(columns))
        return self._run(statement, of_id=id_, **columns) == 1

    def _changing(self, columns: Iterable[str]) -> ClauseElement:
        one = update(self.table).where(self.table.c.id == param(self.table.c.id, "of_id"), *self._scope())
        return one.values({name: param(self.table.c[name]) for name in columns})

    def _values(self, entity: T) -> dict[str, object]:
        return {name: getattr(entity, name) for name in self._names}

    def _all(self) -> Select[*tuple[Any, ...]]:
        return entities(self.table, self.entity).where(*self._scope())

    def _scope(self) -> Sequence[ColumnElement[bool]]:
        return ()

    def _statement_for(self, key: tuple[str, ...], build: Callable[[], ClauseElement]) -> Prepared:
        """Return the statement of this key, built at its first use."""
        prepared = self._prepared.get(key)
        if prepared is None:
            prepared = self._prepared[key] = Prepared(build())
        return prepared

    def _one(self, prepared: Prepared, **values: object) -> T | None:
        found = self._many(prepared, **values)
        return found[0] if found else None

    def _many(self, prepared: Prepared, **values: object) -> list[T]:
        names, rows = self._names, self._uow.rows(prepared, **self._bound_always, **values)
        return [self.entity(**dict(zip(names, row, strict=True))) for row in rows]

    def _run(self, prepared: Prepared, **values: object) -> int:
        return self._uow.run(prepared, **self._bound_always, **values)


class OwnedRepository(Repository[T]):
    """Entities of one owner: every statement carries the owner of the unit of work."""

    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(uow)
        if uow.owner is None:
            raise RuntimeError(f"{type(self).__name__} needs a unit of work with an owner")
        self.owner: UUID = uow.owner
        self._bound_always = {"owner": self.owner}

    def _scope(self) -> Sequence[ColumnElement[bool]]:
        return (of_owner(self.table),)

    def _values(self, entity: T) -> dict[str, object]:
        values = super()._values(entity)
        if values["owner_id"] != self.owner:
            raise RuntimeError(f"a {self.noun} of another owner was about to be stored")
        return values

"""Typed repositories: they ask the database in the domain's words and never decide anything.

Rows of tenants are reached through `OwnedRepository`, which takes the owner from the unit of work and refuses to work
without one, so a query that forgets the tenant cannot be written by accident.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, select, update
from sqlalchemy.engine import RowMapping

from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import NotFound

T = TypeVar("T")


class Repository(Generic[T]):
    """Entities of one table. The entity is a dataclass whose fields are columns of the table (not always all)."""

    table: ClassVar[Table]
    entity: ClassVar[type[Any]]
    noun: ClassVar[str] = "row"

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def get(self, id_: UUID) -> T | None:
        """The entity, or None when there is none (or it is somebody else's)."""
        return self._one(self._select().where(self.table.c.id == id_))

    def require(self, id_: UUID) -> T:
        """The entity; raises `NotFound` in words a person understands."""
        found = self.get(id_)
        if found is None:
            raise NotFound(f"there is no {self.noun} {id_}")
        return found

    def add(self, entity: T) -> T:
        self._uow.execute(self.table.insert(), self._values(entity))
        return entity

    def add_all(self, entities: Iterable[T]) -> None:
        rows = [self._values(entity) for entity in entities]
        if rows:
            self._uow.execute(self.table.insert(), rows)

    def change(self, id_: UUID, **columns: object) -> bool:
        """Set columns of one row; whether it was there."""
        statement = update(self.table).where(self.table.c.id == id_, *self._scope()).values(**columns)
        return self._uow.changed(statement) == 1

    def _values(self, entity: T) -> dict[str, object]:
        return {field.name: getattr(entity, field.name) for field in fields(self.entity)}

    def _entity(self, row: RowMapping) -> T:
        found: T = self.entity(**row)
        return found

    def _select(self) -> Select[*tuple[Any, ...]]:
        columns = [self.table.c[field.name] for field in fields(self.entity)]
        return select(*columns).where(*self._scope())

    def _scope(self) -> Sequence[ColumnElement[bool]]:
        return ()

    def _one(self, statement: Select[*tuple[Any, ...]]) -> T | None:
        row = self._uow.first(statement)
        return None if row is None else self._entity(row)

    def _many(self, statement: Select[*tuple[Any, ...]]) -> list[T]:
        return [self._entity(row) for row in self._uow.all(statement)]


class OwnedRepository(Repository[T]):
    """Entities of one owner: every question carries the owner of the unit of work."""

    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(uow)
        if uow.owner is None:
            raise RuntimeError(f"{type(self).__name__} needs a unit of work with an owner")
        self.owner: UUID = uow.owner

    def _scope(self) -> Sequence[ColumnElement[bool]]:
        return (self.table.c.owner_id == self.owner,)

    def _values(self, entity: T) -> dict[str, object]:
        values = super()._values(entity)
        if values["owner_id"] != self.owner:
            raise RuntimeError(f"a {self.noun} of another owner was about to be stored")
        return values

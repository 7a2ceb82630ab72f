"""All rows of one owner, table by table and page by page, whatever the tables are.

Most tables have no index that begins with the owner. So a table is walked along its primary key, in windows of so many
rows of all owners: a statement never takes longer because others have many rows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement, MetaData, Table, and_, delete, not_, or_, select, tuple_
from sqlalchemy.engine import RowMapping

from recado.core.database.tenancy import tenant_column
from recado.core.database.unit_of_work import UnitOfWork

WINDOW: Final = 5_000
"""So many rows of all owners one statement looks at."""

Position: TypeAlias = tuple[Any, ...]
"""The values of a row's primary key, as the database's driver and SQLAlchemy exchange them."""


class OwnerRows:
    """The rows of owners in one table."""

    def __init__(self, table: Table) -> None:
        column = tenant_column(table)
        if column is None:
            raise ValueError(f"{table.name} has no owner")
        self.table = table
        self._owner: ColumnElement[UUID] = table.c[column]
        self._key = list(table.primary_key.columns)

    def window_end(self, uow: UnitOfWork, after: Position | None) -> Position | None:
        """Return where the next window ends; None when it reaches the end of the table."""
        statement = select(*self._key).order_by(*self._key).offset(WINDOW - 1).limit(1)
        found = uow.all(statement if after is None else statement.where(self._beyond(after)))
        return self.position_of(found[0]) if found else None

    def rows(self, uow: UnitOfWork, owner: UUID, after: Position | None, end: Position | None) -> Sequence[RowMapping]:
        """Return the owner's whole rows in a window."""
        return uow.all(select(self.table).where(*self._within(owner, after, end)).order_by(*self._key))

    def keys(self, uow: UnitOfWork, owner: UUID, after: Position | None, end: Position | None) -> Sequence[Position]:
        """Return the keys of the owner's rows in a window."""
        found = uow.all(select(*self._key).where(*self._within(owner, after, end)).order_by(*self._key))
        return [self.position_of(row) for row in found]

    def delete(self, uow: UnitOfWork, owner: UUID, keys: Sequence[Position]) -> int:
        """Delete some of the owner's rows, at most `STEP`. On SQLite their bytes are overwritten as well."""
        with overwriting(uow):
            return uow.changed(delete(self.table).where(self._owner == owner, self._any_of(keys)))

    def position_of(self, row: RowMapping) -> Position:
        """Return the primary key of a row."""
        return tuple(row[column.name] for column in self._key)

    def _within(self, owner: UUID, after: Position | None, end: Position | None) -> list[ColumnElement[bool]]:
        conditions = [self._owner == owner]
        if after is not None:
            conditions.append(self._beyond(after))
        if end is not None:
            conditions.append(not_(self._beyond(end)))
        return conditions

    def _beyond(self, position: Position) -> ColumnElement[bool]:
        """Return the condition that a row comes after a position: by the first column that differs."""
        columns = list(zip(self._key, position, strict=True))
        return or_(
            *(
                and_(*(column == value for column, value in columns[:number]), columns[number][0] > columns[number][1])
                for number in range(len(columns))
            )
        )

    def _any_of(self, keys: Sequence[Position]) -> ColumnElement[bool]:
        """Return the condition that a row has one of these keys. A list of values is compiled once for all pages."""
        if len(self._key) == 1:
            return self._key[0].in_([key[0] for key in keys])
        return tuple_(*self._key).in_(keys)


def tables_of_owners(metadata: MetaData) -> Sequence[OwnerRows]:
    """Return every table that has an owner; a table that refers to another comes after that one."""
    return [OwnerRows(table) for table in metadata.sorted_tables if tenant_column(table) is not None]


@contextmanager
def overwriting(uow: UnitOfWork) -> Iterator[None]:
    """On SQLite overwrite what is deleted meanwhile, also pages that would only be marked as free.

    Other deletions overwrite what lies in pages that they write anyway, which costs nothing.
    """
    if uow.dialect != "sqlite":
        yield
        return
    uow.execute_raw("PRAGMA secure_delete = ON")
    try:
        yield
    finally:
        uow.execute_raw("PRAGMA secure_delete = FAST")

"""Tells which constraint refused a row.

SQLAlchemy's `IntegrityError` covers unique keys, foreign keys, checks and missing values alike, so catching it does not
tell what was wrong. The drivers differ: PostgreSQL names the constraint, SQLite the columns.
"""

from collections.abc import Iterator, Sequence

from sqlalchemy import Column, Index, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy.exc import IntegrityError

_DUPLICATE = "23505"
_SQLITE_DUPLICATE = "UNIQUE constraint failed: "


def is_duplicate_of(error: IntegrityError, *columns: Column[object]) -> bool:
    """Return whether `error` says that another row has these values in exactly these columns of one table."""
    refused = error.orig
    if (sqlstate := getattr(refused, "sqlstate", None)) is not None:
        diagnosis = getattr(refused, "diag", None)
        return sqlstate == _DUPLICATE and getattr(diagnosis, "constraint_name", None) in set(_names_of(columns))
    said = str(refused)
    named = {f"{column.table.name}.{column.name}" for column in columns}
    return said.startswith(_SQLITE_DUPLICATE) and set(said.removeprefix(_SQLITE_DUPLICATE).split(", ")) == named


def _names_of(columns: Sequence[Column[object]]) -> Iterator[str]:
    """Yield the names of the unique keys over these columns."""
    table = columns[0].table
    assert isinstance(table, Table)  # noqa: S101 - narrows the type: our columns are columns of tables
    keys: list[UniqueConstraint | PrimaryKeyConstraint | Index] = [
        *(each for each in table.constraints if isinstance(each, UniqueConstraint | PrimaryKeyConstraint)),
        *(each for each in table.indexes if each.unique),
    ]
    for key in keys:
        if set(key.columns) == set(columns) and key.name is not None:
            yield str(key.name)

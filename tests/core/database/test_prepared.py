"""Statements that are compiled once: values go in and come out with the domain's types."""

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Column, MetaData, String, Table, bindparam, delete, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError

import recado
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.database.types import Id, Json, Moment
from recado.core.database.unit_of_work import UnitOfWork
from tests.support.servers.postgres import PostgresServer

letters = Table(
    "letters",
    MetaData(),
    Column("id", Id, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("body", Json),
    Column("sender", String, unique=True),
)
INSERT = Prepared(inserting(letters))
EVERYTHING = Prepared(select(letters).order_by(letters.c.id))
ID, OTHER = UUID(int=1), UUID(int=2)
AT = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)
LETTER = {"id": ID, "at": AT, "body": {"words": ["olá", 1]}, "sender": "Ana"}


@pytest.fixture
async def uow_of(database: SqliteDatabase) -> SqliteDatabase:
    """A database with the table of these tests."""
    await database.write(lambda uow: letters.create(uow.execute(text("SELECT 1")).connection), owner=None)
    return database


async def test_values_keep_their_types(uow_of: SqliteDatabase) -> None:
    await uow_of.write(lambda uow: uow.run(INSERT, **LETTER), owner=None)
    rows = await uow_of.read(lambda uow: uow.rows(EVERYTHING), owner=None)
    assert rows == [(ID, AT, {"words": ["olá", 1]}, "Ana")]


async def test_compared_values_take_the_type_of_their_column(uow_of: SqliteDatabase) -> None:
    since = Prepared(select(letters.c.id).where(letters.c.at >= bindparam("since")))
    await uow_of.write(lambda uow: uow.run(INSERT, **LETTER), owner=None)
    assert await uow_of.read(lambda uow: uow.rows(since, since=AT), owner=None) == [(ID,)]


async def test_a_value_inside_a_statement_needs_no_name(uow_of: SqliteDatabase) -> None:
    on_that_day = Prepared(select(letters.c.sender).where(letters.c.at == AT, letters.c.id == ID).limit(1))
    await uow_of.write(lambda uow: uow.run(INSERT, **LETTER), owner=None)
    assert await uow_of.read(lambda uow: uow.rows(on_that_day), owner=None) == [("Ana",)]


async def test_returning_gives_typed_rows(uow_of: SqliteDatabase) -> None:
    rename = (
        update(letters)
        .where(letters.c.id == param(letters.c.id, "of_id"))
        .values(sender=param(letters.c.sender))
        .returning(letters.c.id, letters.c.at)
    )

    def work(uow: UnitOfWork) -> list[tuple[UUID, datetime]]:
        uow.run(INSERT, **LETTER)
        return [(id_, at) for id_, at in uow.rows(Prepared(rename), of_id=ID, sender="Bia")]

    assert await uow_of.write(work, owner=None) == [(ID, AT)]


async def test_counts_what_it_changed(uow_of: SqliteDatabase) -> None:
    remove = Prepared(delete(letters).where(letters.c.id == bindparam("id")))

    def work(uow: UnitOfWork) -> list[int]:
        return [
            uow.run_many(INSERT, [LETTER, {**LETTER, "id": OTHER, "sender": "Bia"}]),
            uow.run_many(INSERT, []),
            uow.run(remove, id=ID),
            uow.run(remove, id=ID),
        ]

    assert await uow_of.write(work, owner=None) == [2, 0, 1, 0]


@pytest.mark.parametrize("count", [1, 2, 3, 127, 128, 129, 300])
async def test_any_number_of_rows_is_stored_and_returned(uow_of: SqliteDatabase, count: int) -> None:
    new = Prepared(inserting(letters).on_conflict_do_nothing().returning(letters.c.id))
    rows = [{**LETTER, "id": UUID(int=number), "sender": f"Ana {number}"} for number in range(count)]

    def work(uow: UnitOfWork) -> tuple[list[UUID], list[UUID], int]:
        told = [id_ for (id_,) in uow.rows_of_many(new, rows[::2])]
        rest = [id_ for (id_,) in uow.rows_of_many(new, rows)]
        return told, rest, len(uow.rows(EVERYTHING))

    told, rest, stored = await uow_of.write(work, owner=None)
    assert (told, rest, stored) == ([row["id"] for row in rows[::2]], [row["id"] for row in rows[1::2]], count)


async def test_a_broken_constraint_raises_the_usual_error_without_values(
    uow_of: SqliteDatabase,
) -> None:
    twice = [LETTER, {**LETTER, "id": OTHER}]
    with pytest.raises(IntegrityError, match="UNIQUE") as one_by_one:
        await uow_of.write(lambda uow: [uow.run(INSERT, **letter) for letter in twice], owner=None)
    with pytest.raises(IntegrityError, match="UNIQUE") as together:
        await uow_of.write(lambda uow: uow.run_many(INSERT, twice), owner=None)
    assert "Ana" not in str(one_by_one.value) + str(together.value)
    assert await uow_of.read(lambda uow: uow.rows(EVERYTHING), owner=None) == []


async def test_a_forgotten_value_is_named(uow_of: SqliteDatabase) -> None:
    with pytest.raises(KeyError, match="sender"):
        await uow_of.write(lambda uow: uow.run(INSERT, id=ID, at=AT, body=None), owner=None)


async def test_a_naive_moment_does_not_get_in(uow_of: SqliteDatabase) -> None:
    with pytest.raises(ValueError, match="naive"):
        await uow_of.write(
            lambda uow: uow.run(INSERT, **{**LETTER, "at": datetime(2026, 3, 1)}),  # noqa: DTZ001 - that is the point
            owner=None,
        )


def test_a_list_of_values_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot bind a list"):
        _ = Prepared(select(letters.c.id).where(letters.c.id.in_([ID, OTHER]))).compiled("sqlite").sql


async def test_an_error_that_comes_with_a_later_row_is_converted_too(uow_of: SqliteDatabase) -> None:
    overflows = Prepared(text("SELECT abs(column1) FROM (VALUES (1), (-9223372036854775808))"))
    with pytest.raises(OperationalError, match="overflow"):
        await uow_of.write(lambda uow: uow.rows(overflows), owner=None)


def test_postgresql_understands_every_statement_of_ours(postgres_server: PostgresServer) -> None:
    """PostgreSQL compiles and plans each of them, though not every one is run by a test."""
    statements = dict(_statements_of_ours())
    assert len(statements) > 80
    with closing(PostgresDatabase(postgres_server.make()).open_connection()) as connection:
        for name, prepared in statements.items():
            form = prepared.compiled("postgresql")
            for sql in filter(None, (form.driver_sql, form.by_column)):
                try:
                    connection.execute(f"PREPARE ours AS {sql}".encode())
                except psycopg.Error as error:
                    raise AssertionError(f"{name}: {error}") from error
                connection.execute("DEALLOCATE ours")


def test_a_percent_sign_is_no_placeholder() -> None:
    like = Prepared(text("SELECT 1 WHERE 'a%' LIKE :pattern AND 5 % 3 = :rest"))
    assert like.compiled("postgresql").driver_sql == "SELECT 1 WHERE 'a%' LIKE $1 AND 5 % 3 = $2"


def test_many_rows_are_an_array_for_each_column_on_postgresql() -> None:
    held = Prepared(text("SELECT n FROM letters WHERE sender IN (VALUES (:sender)) ORDER BY sender"))
    [(sql, values)] = held.compiled("postgresql").statements_for([["Ana"], ["Bia"], ["Caio"]])
    assert (sql, values) == (
        "SELECT n FROM letters WHERE sender = ANY ($1::TEXT[]) ORDER BY sender",
        [["Ana", "Bia", "Caio"]],
    )


def _statements_of_ours() -> Iterator[tuple[str, Prepared]]:
    for found in pkgutil.walk_packages(recado.__path__, "recado."):
        if not found.name.startswith("recado.migrations") and not found.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(found.name)).items():
                if isinstance(value, Prepared):
                    yield f"{found.name}.{name}", value

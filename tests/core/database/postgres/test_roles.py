"""The backstop between owners: SQL that forgets the owner sees and changes nothing of other owners."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Column, Integer, LargeBinary, Table, delete, insert, make_url, select, text, update
from sqlalchemy.exc import DBAPIError, ProgrammingError

from recado.bootstrap import metadata
from recado.core.database.postgres.connections import postgres_engine
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.postgres.roles import NAME_OWNER, Proof, RolesMissing, roles_of, transaction_preamble
from recado.core.database.tenancy import tenant_column
from recado.core.database.types import Id, Json, JsonObject, Moment, ProviderId
from recado.core.database.unit_of_work import UnitOfWork
from tests.support.servers.postgres import PostgresServer

ANA, BIA = UUID(int=0xA), UUID(int=0xB)
OF_TENANTS: Final[Mapping[Table, str]] = {
    table: column for table in metadata().sorted_tables if (column := tenant_column(table)) is not None
}
_FITTING: Final[Mapping[str, object]] = {
    "send_policy": "prefer_silence",
    "role": "admin",
    "purpose": "invite",
    "kind": "reply",
    "bulk_operations.kind": "retry",
    "status": "waiting",
    "state": "waiting",
}
"""Values that a check constraint asks for, of a column wherever it is or of one table."""


@pytest.fixture(scope="module")
def tenants_url(postgres_server: PostgresServer) -> str:
    """A database in which each tenant table holds one row of Ana's and one of Bia's."""
    url = postgres_server.make()
    engine = postgres_engine(make_url(url))
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # No row has a parent.
        for number, (table, owner) in enumerate(itertools.product(OF_TENANTS, (ANA, BIA))):
            connection.execute(insert(table).values(row_of(table, owner, number)))
    engine.dispose()
    return url


@pytest.fixture
async def database(tenants_url: str) -> AsyncIterator[PostgresDatabase]:
    """One writer and one reader, so that each test uses the same connection again."""
    database = PostgresDatabase(tenants_url, writers=1, readers=1)
    yield database
    await database.close()


@pytest.fixture
def bare(tenants_url: str) -> "Iterator[psycopg.Connection[tuple[object, ...]]]":
    """A connection on which no transaction has begun."""
    with closing(PostgresDatabase(tenants_url).open_connection()) as connection:
        yield connection


def row_of(table: Table, owner: UUID, number: int) -> dict[str, object]:
    """Return a row of a table for one owner."""
    values: dict[str, object] = {column.name: value_for(column, number) for column in table.c if wants(column)}
    return {**values, OF_TENANTS[table]: owner}


def wants(column: "Column[object]") -> bool:
    return column.primary_key or column.unique is True or not column.nullable


def value_for(column: "Column[object]", number: int) -> object:
    """Return a value of the column's type that no other row has."""
    fitting = _FITTING.get(f"{column.table}.{column.name}") or _FITTING.get(column.name)
    if fitting is not None:
        return fitting
    kinds: list[tuple[type, object]] = [
        (Id, UUID(int=1_000 + number)),
        (Moment, datetime(2026, 1, 1, tzinfo=UTC)),
        (ProviderId, f"SM{number:032x}"),
        (Json, {}),
        (JsonObject, {}),
        (Integer, number),
        (LargeBinary, b"x%d" % number),
    ]
    found = [value for kind, value in kinds if isinstance(column.type, kind)]
    if found:
        return found[0]
    return bool(number % 2) if column.type.python_type is bool else f"x{number}"


def owners_seen(uow: UnitOfWork) -> dict[str, set[object]]:
    """Return whose rows SQL without any condition finds, for each table."""
    return {
        table.name: {row[column] for row in uow.all(select(table.c[column]))} for table, column in OF_TENANTS.items()
    }


def everywhere(*owners: UUID) -> dict[str, set[UUID]]:
    return {table.name: set(owners) for table in OF_TENANTS}


def who(uow: UnitOfWork) -> tuple[int, str, str]:
    """Return the server's process, the role, and the owner that is set."""
    row = uow.execute_raw(
        "SELECT pg_backend_pid(), current_user::text, coalesce(current_setting('recado.owner', true), '')"
    )[0]
    return row[0], row[1], row[2]


class TestSqlThatForgetsTheOwner:
    async def test_sees_one_owner_s_rows_and_none_of_another_s(self, database: PostgresDatabase) -> None:
        for owner in (ANA, BIA):
            assert await database.read(owners_seen, owner=owner) == everywhere(owner)
            assert await database.write(owners_seen, owner=owner) == everywhere(owner)

    async def test_sees_every_owner_s_rows_as_the_system(self, database: PostgresDatabase) -> None:
        assert await database.read(owners_seen, owner=None) == everywhere(ANA, BIA)
        assert await database.write(owners_seen, owner=None) == everywhere(ANA, BIA)

    async def test_sees_nothing_of_an_owner_that_has_nothing(self, database: PostgresDatabase) -> None:
        assert await database.read(owners_seen, owner=UUID(int=0xC)) == everywhere()

    @pytest.mark.parametrize("table", OF_TENANTS, ids=lambda table: table.name)
    async def test_changes_nothing_of_another_s(self, database: PostgresDatabase, table: Table) -> None:
        column = table.c[OF_TENANTS[table]]

        def touch(uow: UnitOfWork) -> tuple[int, int]:
            changed = uow.changed(update(table).where(column == BIA).values({column.name: BIA}))
            return changed, uow.changed(delete(table).where(column == BIA))

        assert await database.write(touch, owner=ANA) == (0, 0)

    @pytest.mark.parametrize("table", OF_TENANTS, ids=lambda table: table.name)
    async def test_stores_nothing_as_another_s(self, database: PostgresDatabase, table: Table) -> None:
        new = insert(table).values(row_of(table, BIA, 500))
        given_away = update(table).values({OF_TENANTS[table]: BIA})
        for statement in (new, given_away):
            with pytest.raises(ProgrammingError, match="row-level security"):
                await database.write(partial(UnitOfWork.execute, statement=statement), owner=ANA)

    async def test_reaches_no_table_without_an_owner(self, database: PostgresDatabase) -> None:
        for table in set(metadata().sorted_tables) - set(OF_TENANTS):
            with pytest.raises(ProgrammingError, match="permission denied"):
                await database.read(partial(UnitOfWork.all, statement=select(table)), owner=ANA)


class TestSqlOfAnAttackerInATenantsTransaction:
    """Whatever one statement may say, it shows no row of anybody else."""

    @pytest.mark.parametrize(
        ("statement", "refusal"),
        [
            ("SET ROLE {system}", "permission denied to set role"),
            ("SELECT set_config('role', '{system}', true)", "permission denied to set role"),
            ("SET SESSION AUTHORIZATION {system}", "permission denied to set session authorization"),
            ("GRANT {system} TO {tenant}", "permission denied to grant role"),
            ("ALTER ROLE {tenant} BYPASSRLS", "permission denied to alter role"),
            ("ALTER TABLE messages DISABLE ROW LEVEL SECURITY", "must be owner of table"),
            ("DROP POLICY recado_tenant ON messages", "must be owner of"),
            ("CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", "permission denied for schema"),
            ("SELECT secret, password FROM tenant_access", "permission denied for table tenant_access"),
            ("SELECT sealed FROM system_keys", "permission denied for table system_keys"),
        ],
    )
    async def test_is_refused(self, database: PostgresDatabase, statement: str, refusal: str) -> None:
        roles = roles_of(make_url(database.url).database or "")
        said = statement.format(system=roles.system, tenant=roles.tenant)
        with pytest.raises(DBAPIError, match=refusal):
            await database.write(lambda uow: uow.execute_raw(said), owner=ANA)

    @pytest.mark.parametrize(
        "statement",
        [
            "RESET ROLE",
            "SET ROLE NONE",
            "RESET SESSION AUTHORIZATION",
            "SELECT set_config('role', 'none', true)",
            "SET LOCAL row_security = on",
        ],
    )
    async def test_goes_back_to_nothing_more(self, database: PostgresDatabase, statement: str) -> None:
        def attack(uow: UnitOfWork) -> dict[str, set[object]]:
            uow.execute_raw(statement)
            return owners_seen(uow)

        for door in (database.write, database.read):
            assert await door(attack, owner=ANA) == everywhere(ANA)

    async def test_names_another_owner_in_vain(self, database: PostgresDatabase) -> None:
        def attack(uow: UnitOfWork) -> dict[str, set[object]]:
            uow.execute_raw("SELECT set_config('recado.owner', $1, true)", str(BIA))
            return owners_seen(uow)

        for door in (database.write, database.read):
            assert await door(attack, owner=ANA) == everywhere()
            assert await door(owners_seen, owner=BIA) == everywhere(BIA)

    async def test_repeats_the_proof_of_another_session_in_vain(
        self, database: PostgresDatabase, tenants_url: str
    ) -> None:
        """Sessions of one role see each other's statements in `pg_stat_activity`."""
        spied = "SELECT current_setting('recado.owner'), current_setting('recado.proof')"
        other = PostgresDatabase(tenants_url)
        [(owner, proof)] = await other.read(lambda uow: uow.execute_raw(spied), owner=BIA)
        await other.close()

        def attack(uow: UnitOfWork) -> dict[str, set[object]]:
            uow.execute_raw(
                "SELECT set_config('recado.owner', $1, true), set_config('recado.proof', $2, true)", owner, proof
            )
            return owners_seen(uow)

        assert await database.read(attack, owner=ANA) == everywhere()

    async def test_sees_no_proof_in_the_statements_of_other_sessions(
        self, database: PostgresDatabase, bare: "psycopg.Connection[tuple[object, ...]]"
    ) -> None:
        """A proof that was seen would be good for the next transaction on the same connection."""
        roles = roles_of(bare.info.dbname)
        seen: list[str] = []

        def look(uow: UnitOfWork) -> str:
            """Look as a tenant at this transaction, whose last statement named its owner."""
            with bare.transaction():
                bare.execute(f'SET LOCAL ROLE "{roles.tenant}"'.encode())
                shown = bare.execute("SELECT query FROM pg_stat_activity WHERE state LIKE 'idle in%'").fetchall()
            seen.extend(str(query) for (query,) in shown)
            return str(uow.execute_raw("SELECT current_setting('recado.proof')")[0][0])

        for door in (database.write, database.read):
            proof = await door(look, owner=BIA)
            assert proof not in " ".join(seen)
        assert any("recado.proof" in query for query in seen)

    async def test_finds_the_secret_in_no_function(self, database: PostgresDatabase, tenants_url: str) -> None:
        with closing(PostgresDatabase(tenants_url).open_connection()) as login:
            [(secret,)] = login.execute("SELECT encode(secret, 'hex') FROM tenant_access").fetchall()
        source = "SELECT pg_get_functiondef('recado_proved_owner'::regproc)"
        [(shown,)] = await database.read(lambda uow: uow.execute_raw(source), owner=ANA)
        assert str(secret) not in shown


class TestWithoutAnOwner:
    @pytest.mark.parametrize("setting", ["RESET recado.owner", "SET recado.owner = ''"])
    async def test_the_tenant_role_sees_nothing(
        self, bare: "psycopg.Connection[tuple[object, ...]]", setting: str
    ) -> None:
        bare.execute(f'SET ROLE "{roles_of(bare.info.dbname).tenant}"'.encode())
        bare.execute(setting.encode())
        for table in OF_TENANTS:
            assert bare.execute(f"SELECT count(*) FROM {table.name}".encode()).fetchall() == [(0,)], table.name

    async def test_a_transaction_of_one_owner_never_becomes_another_s(self, database: PostgresDatabase) -> None:
        with pytest.raises(RuntimeError, match="another's"):
            await database.read(lambda uow: uow.for_owner(BIA), owner=ANA)


class TestUnderLoad:
    async def test_no_connection_carries_one_tenant_to_the_next(self, tenants_url: str) -> None:
        """Many owners at once on few connections, some of whose transactions fail: each sees its own rows only."""
        database = PostgresDatabase(tenants_url, writers=3, readers=3)
        table = metadata().tables["contacts"]

        def look(uow: UnitOfWork, owner: UUID | None, fails: bool) -> set[object]:
            seen = {row["owner_id"] for row in uow.all(select(table.c.owner_id))}
            assert seen == ({ANA, BIA} if owner is None else {owner}), owner
            if fails:
                uow.execute_raw("SELECT * FROM nowhere")
            return seen

        async def one(number: int) -> None:
            owner = (ANA, BIA, None)[number % 3]
            door = database.write if number % 2 else database.read
            with suppress(ProgrammingError):
                await door(partial(look, owner=owner, fails=number % 7 == 0), owner=owner)

        await asyncio.gather(*(one(number) for number in range(600)))
        await database.close()


class TestAConnectionThatIsUsedAgain:
    async def test_carries_no_role_and_no_owner_over(self, database: PostgresDatabase) -> None:
        roles = roles_of(make_url(database.url).database or "")
        as_ana, as_bia, as_system = [
            (roles.tenant, str(ANA)),
            (roles.tenant, str(BIA)),
            (roles.system, ""),
        ]
        for door in (database.write, database.read):
            seen = [await door(who, owner=owner) for owner in (ANA, BIA, None, ANA, None)]
            assert len({pid for pid, *_ in seen}) == 2, "the system has one connection, and both tenants another"
            assert [tuple(rest) for _, *rest in seen] == [as_ana, as_bia, as_system, as_ana, as_system]

    async def test_carries_none_over_after_a_failure_either(self, database: PostgresDatabase) -> None:
        for door in (database.write, database.read):
            with pytest.raises(ProgrammingError):
                await door(lambda uow: uow.execute_raw("SELECT * FROM nowhere"), owner=ANA)
            _, _, owner = await door(who, owner=None)
            assert owner == ""
            assert await door(owners_seen, owner=BIA) == everywhere(BIA)

    @pytest.mark.parametrize("read_only", [False, True])
    @pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
    async def test_is_the_login_s_again_once_the_transaction_has_ended(
        self, bare: "psycopg.Connection[tuple[object, ...]]", end: str, read_only: bool
    ) -> None:
        """A connection pooler may then hand it to anybody."""
        what = b"SELECT current_user = session_user, coalesce(current_setting('recado.owner', true), '')"
        roles, proof = roles_of(bare.info.dbname), Proof(bytes(32), 0)
        as_ana = transaction_preamble("public", role=roles.tenant, read_only=read_only, proof=proof)
        as_system = transaction_preamble("public", role=roles.system, read_only=read_only)
        for words, owner in ((as_ana, ANA), (as_system, None)):
            bare.execute(words.begin.encode(), prepare=False)
            if (named := words.named(owner)) is not None:
                psycopg.RawCursor(bare).execute(NAME_OWNER, named)
            assert bare.execute(what).fetchall() == [(False, "" if owner is None else str(owner))]
            bare.execute(end.encode())
            assert bare.execute(what).fetchall() == [(True, "")]

    async def test_sees_the_right_rows_with_a_statement_that_the_server_keeps(self, database: PostgresDatabase) -> None:
        """The driver has it prepared after five runs; the plan of one role must not serve another."""

        def seen(uow: UnitOfWork) -> int:
            return int(uow.execute_raw("SELECT count(*) FROM messages")[0][0])

        found = [await database.write(seen, owner=owner) for _ in range(8) for owner in (ANA, None, BIA)]
        assert found == [1, 2, 1] * 8


class TestRoles:
    def test_bear_the_name_of_their_database(self) -> None:
        assert roles_of("recado").system == "recado_system_recado"
        assert roles_of("recado").tenant == "recado_tenant_recado"

    def test_have_names_that_postgresql_does_not_cut(self) -> None:
        first, second = (roles_of("ã" * 30 + end) for end in ("_one", "_two"))
        assert len({first.system, first.tenant, second.system, second.tenant}) == 4
        assert max(len(name.encode()) for name in (first.system, second.tenant)) <= 63

    async def test_that_were_never_made_are_named_together_with_the_command(
        self, postgres_server: PostgresServer
    ) -> None:
        database = PostgresDatabase(postgres_server.make(empty=True))
        for door in (database.write, database.read):
            with pytest.raises(RolesMissing, match=r"recado_system_recado_\d+.* run `recado migrate`"):
                await door(who, owner=None)
        await database.close()

    async def test_of_one_database_see_nothing_in_another(
        self, postgres_server: PostgresServer, bare: "psycopg.Connection[tuple[object, ...]]"
    ) -> None:
        other = make_url(postgres_server.make()).database or ""
        for role in (roles_of(other).system, roles_of(other).tenant):
            bare.execute(f'SET ROLE "{role}"'.encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                bare.execute("SELECT * FROM messages")
            bare.execute("RESET ROLE")

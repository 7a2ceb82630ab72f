"""Row-level security as `recado migrate` sets it up, with a login that is no superuser."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import make_url

from recado.bootstrap import metadata
from recado.core.database.postgres.connections import postgres_engine
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.postgres.doors import ACCESS_TABLE
from recado.core.database.postgres.roles import RolesMissing, quoted, roles_of
from recado.migrations import tenancy
from recado.migrations.postgres import await_schema, migrate_postgres
from tests.support.servers.postgres import PostgresServer

pytestmark = pytest.mark.proof

_ADMIN, _PLAIN = "plain_admin", "plain"
_UNWALLED = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'owner_id'
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
  AND NOT (c.relrowsecurity AND c.relforcerowsecurity
           AND (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname LIKE 'recado_%') = 2)
"""
_NEW_OWNER = """
INSERT INTO owners
    (id, name, email, locale, send_policy, created_at, data_key_sealed, data_key_id, lane_salt_sealed)
VALUES
    ('00000000-0000-0000-0000-00000000000a', 'Ana', 'ana@example.com', 'pt-BR', 'prefer_silence', now(), '', '', '')
"""


@pytest.fixture(scope="module")
def logins(postgres_server: PostgresServer) -> None:
    """One login that may make roles, and one that may do nothing."""
    postgres_server.command(f"CREATE ROLE {_ADMIN} LOGIN CREATEROLE")
    postgres_server.command(f"CREATE ROLE {_PLAIN} LOGIN")


def database_of(server: PostgresServer, login: str) -> str:
    """Return the URL of an empty database that a login owns, with that login."""
    url = make_url(server.make(empty=True))
    server.command(f"ALTER DATABASE {url.database} OWNER TO {login}")
    return url.set(username=login).render_as_string(hide_password=False)


@pytest.fixture
def url(postgres_server: PostgresServer, logins: None) -> str:  # noqa: ARG001 - it must have made them
    return database_of(postgres_server, _ADMIN)


@pytest.fixture
def plain_url(postgres_server: PostgresServer, logins: None) -> str:  # noqa: ARG001
    return database_of(postgres_server, _PLAIN)


def ask(url: str, *statements: str) -> Sequence[tuple[object, ...]]:
    """Return the result of the last of some statements, on a separate connection."""
    with closing(PostgresDatabase(url).open_connection()) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def as_superuser(url: str) -> str:
    return make_url(url).set(username="recado").render_as_string(hide_password=False)


def system_role(url: str) -> str:
    return f'"{roles_of(make_url(url).database or "").system}"'


class TestMigrating:
    def test_secures_each_table_with_an_owner(self, url: str) -> None:
        migrate_postgres(url, metadata)
        assert ask(url, _UNWALLED) == []
        assert ask(url, "CREATE TABLE diaries (owner_id uuid)", _UNWALLED) == [("diaries",)], "and this would notice"

    def test_makes_roles_that_cannot_pass_by_policies_of_which_one_can_log_in(self, url: str) -> None:
        migrate_postgres(url, metadata)
        what = (
            "SELECT rolname::text, rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication"
            f" FROM pg_roles WHERE rolname LIKE 'recado\\_%\\_{make_url(url).database}' ORDER BY rolname"
        )
        roles = roles_of(make_url(url).database or "")
        assert ask(url, what) == [
            (roles.system, False, False, False, False, False, False),
            (roles.tenant, True, False, False, False, False, False),
        ]

    def test_gives_tenants_no_membership_in_any_role(self, url: str) -> None:
        migrate_postgres(url, metadata)
        tenant = roles_of(make_url(url).database or "").tenant
        assert ask(url, f"SELECT count(*) FROM pg_auth_members WHERE member = '{tenant}'::regrole") == [(0,)]

    def test_again_keeps_password_and_secret(self, url: str) -> None:
        """Processes that run have read them."""
        migrate_postgres(url, metadata)
        what = f"SELECT secret, login, password FROM {ACCESS_TABLE}"
        before = ask(url, what)
        engine = postgres_engine(make_url(url))
        with engine.begin() as connection:
            tenancy.enforce(connection, metadata())
        engine.dispose()
        migrate_postgres(url, metadata)
        assert ask(url, what) == before

    def test_leaves_the_owner_of_the_tables_nothing_to_see(self, url: str) -> None:
        migrate_postgres(url, metadata)
        assert ask(url, f"SET ROLE {system_role(url)}", _NEW_OWNER, "SELECT name FROM owners") == [("Ana",)]
        assert ask(url, "SELECT current_user::text, (SELECT count(*) FROM owners)") == [(_ADMIN, 0)]

    def test_lets_a_revision_move_rows_all_the_same(self, url: str) -> None:
        migrate_postgres(url, metadata)
        ask(url, f"SET ROLE {system_role(url)}", _NEW_OWNER)
        engine = postgres_engine(make_url(url))
        with engine.begin() as connection:
            tenancy.relax(connection)
            assert connection.exec_driver_sql("UPDATE owners SET name = 'Ana Lu'").rowcount == 1
            tenancy.enforce(connection, metadata())
        engine.dispose()
        assert ask(url, "SELECT count(*) FROM owners") == [(0,)]

    def test_twice_changes_nothing(self, url: str) -> None:
        migrate_postgres(url, metadata)
        engine = postgres_engine(make_url(url))
        with engine.begin() as connection:
            assert not tenancy.enforce(connection, metadata(), only_if_missing=True)
        engine.dispose()

    @pytest.mark.parametrize(
        "damage",
        [
            "ALTER TABLE messages NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE messages DISABLE ROW LEVEL SECURITY",
            "DROP POLICY recado_tenant ON messages",
            "REVOKE INSERT ON messages FROM {system}",
            "DROP FUNCTION recado_search",
        ],
    )
    def test_again_mends_what_is_missing(self, url: str, damage: str) -> None:
        migrate_postgres(url, metadata)
        ask(url, damage.format(system=system_role(url)))
        assert not migrate_postgres(url, metadata).migrated
        assert ask(url, _UNWALLED) == []
        engine = postgres_engine(make_url(url))
        with engine.begin() as connection:
            assert not tenancy.enforce(connection, metadata(), only_if_missing=True)
        engine.dispose()


class TestTheFunctionsForTenants:
    WHOSE = (
        "SELECT pg_get_userbyid(proowner)::text, prosecdef, has_function_privilege('public', oid, 'EXECUTE'),"
        " has_function_privilege('{tenant}', oid, 'EXECUTE'), has_schema_privilege('{system}', 'public', 'CREATE')"
        " FROM pg_proc WHERE proname = 'recado_search'"
    )

    def whose(self, url: str) -> Sequence[tuple[object, ...]]:
        roles = roles_of(make_url(url).database or "")
        return ask(url, self.WHOSE.format(system=roles.system, tenant=roles.tenant))

    def test_run_as_the_system_which_can_make_no_more_of_them(self, url: str) -> None:
        migrate_postgres(url, metadata)
        system = roles_of(make_url(url).database or "").system
        assert self.whose(url) == [(system, True, False, True, False)]

    def test_of_a_copied_database_are_made_anew(self, url: str, postgres_server: PostgresServer) -> None:
        """They ran as the system of the one that was copied."""
        migrate_postgres(url, metadata)
        copy = f"{make_url(url).database}_moved"
        postgres_server.command(f"CREATE DATABASE {copy} TEMPLATE {make_url(url).database} OWNER {_ADMIN}")
        copied = make_url(url).set(database=copy).render_as_string(hide_password=False)
        migrate_postgres(copied, metadata)
        assert self.whose(copied) == [(roles_of(copy).system, True, False, True, False)]

    def test_with_other_arguments_are_replaced(self, url: str) -> None:
        """As by a release that has changed one."""
        migrate_postgres(url, metadata)
        system = roles_of(make_url(url).database or "").system
        older = "CREATE FUNCTION public.recado_search(match text) RETURNS int LANGUAGE sql AS 'SELECT 1'"
        name = "public.recado_search(tsquery, tsquery, bigint, bigint, integer)"
        ask(url, f"GRANT CREATE ON SCHEMA public TO {quoted(system)}", f"SET ROLE {quoted(system)}",
            f"DROP FUNCTION {name}", older)  # fmt: skip
        migrate_postgres(url, metadata)
        assert [role for role, *_ in self.whose(url)] == [system]
        assert ask(url, f"SELECT to_regprocedure('{name}') IS NULL") == [(False,)]

    def test_need_the_schema_s_permission_and_name_it(self, plain_url: str) -> None:
        """As where an administrator owns the schema, and lets the login make tables in it."""
        roles = roles_of(make_url(plain_url).database or "")
        administrator = as_superuser(plain_url)
        for role in (roles.system, roles.tenant):
            ask(administrator, f'CREATE ROLE "{role}"', f'GRANT "{role}" TO {_PLAIN}')
        ask(administrator, "ALTER SCHEMA public OWNER TO recado", f"GRANT CREATE, USAGE ON SCHEMA public TO {_PLAIN}")
        with pytest.raises(
            tenancy.RolesRefused, match=f"{_PLAIN} may not let {roles.system} make functions"
        ) as refused:
            migrate_postgres(plain_url, metadata)
        ask(administrator, str(refused.value).split("`")[1])
        assert migrate_postgres(plain_url, metadata).migrated
        await_schema(plain_url, wait_seconds=0)


class TestATableThatIsOpen:
    """As one that a revision makes by hand, with an owner and without a policy."""

    OPEN = "CREATE TABLE diaries (owner_id uuid)"

    def test_makes_the_migration_fail(self, url: str) -> None:
        migrate_postgres(url, metadata)
        ask(url, self.OPEN)
        with pytest.raises(RolesMissing, match="the table diaries is not behind row-level security"):
            migrate_postgres(url, metadata)

    def test_keeps_processes_from_starting(self, url: str) -> None:
        migrate_postgres(url, metadata)
        ask(url, self.OPEN)
        with pytest.raises(RolesMissing, match="the table diaries is not behind"):
            await_schema(url, wait_seconds=0)


class TestTenantsThatCannotLogIn:
    """Then they take their role on the one login that there is, as the system does."""

    async def works(self, url: str) -> tuple[str, str]:
        """Session and role of a tenant's transaction."""
        database = PostgresDatabase(url)
        who = "SELECT session_user::text, current_user::text"
        [row] = await database.read(lambda uow: uow.execute_raw(who), owner=UUID(int=10))
        await database.close()
        return row[0], row[1]

    async def test_because_this_login_may_not_let_them(self, plain_url: str) -> None:
        roles = roles_of(make_url(plain_url).database or "")
        for role in (roles.system, roles.tenant):
            ask(as_superuser(plain_url), f'CREATE ROLE "{role}"', f'GRANT "{role}" TO {_PLAIN}')
        migrate_postgres(plain_url, metadata)
        await_schema(plain_url, wait_seconds=0)
        assert await self.works(plain_url) == (_PLAIN, roles.tenant)

    async def test_because_the_server_s_rules_do_not_let_them_in(self, url: str) -> None:
        """A role that may not connect is refused like one that `pg_hba.conf` does not name."""
        roles = roles_of(make_url(url).database or "")
        ask(as_superuser(url), f"REVOKE CONNECT ON DATABASE {make_url(url).database} FROM PUBLIC")
        migrate_postgres(url, metadata)
        assert ask(url, f"SELECT login, password FROM {ACCESS_TABLE}") == [(None, None)]
        assert ask(url, f"SELECT rolcanlogin FROM pg_roles WHERE rolname = '{roles.tenant}'") == [(False,)]
        assert await self.works(url) == (_ADMIN, roles.tenant)

    async def test_log_in_after_the_next_migration_that_may_let_them(self, url: str) -> None:
        ask(as_superuser(url), f"REVOKE CONNECT ON DATABASE {make_url(url).database} FROM PUBLIC")
        migrate_postgres(url, metadata)
        ask(as_superuser(url), f"GRANT CONNECT ON DATABASE {make_url(url).database} TO PUBLIC")
        migrate_postgres(url, metadata)
        roles = roles_of(make_url(url).database or "")
        assert await self.works(url) == (roles.tenant, roles.tenant)

    async def test_since_their_password_was_changed_are_told_what_to_run(self, url: str) -> None:
        migrate_postgres(url, metadata)
        roles = roles_of(make_url(url).database or "")
        ask(as_superuser(url), f'ALTER ROLE "{roles.tenant}" NOLOGIN')
        with pytest.raises(RolesMissing, match=r"tenants cannot log in.*run `recado migrate`"):
            await self.works(url)
        migrate_postgres(url, metadata)
        assert await self.works(url) == (roles.tenant, roles.tenant)


class TestALoginThatMayMakeNoRoles:
    def test_gets_the_statements_that_an_administrator_must_run(self, plain_url: str) -> None:
        with pytest.raises(tenancy.RolesRefused, match=f"{_PLAIN} may not make the roles") as refused:
            migrate_postgres(plain_url, metadata)
        assert ask(plain_url, "SELECT to_regclass('messages')") == [(None,)], "and nothing was changed"
        script = str(refused.value).split("`")[1]

        ask(as_superuser(plain_url), *script.split("; "))

        assert migrate_postgres(plain_url, metadata).migrated
        await_schema(plain_url, wait_seconds=0)
        assert ask(plain_url, f"SET ROLE {system_role(plain_url)}", _NEW_OWNER, "SELECT name FROM owners") == [("Ana",)]
        assert ask(plain_url, "SELECT count(*) FROM owners") == [(0,)]

    def test_takes_no_role_that_bypasses_policies(self, plain_url: str) -> None:
        ask(as_superuser(plain_url), f"CREATE ROLE {system_role(plain_url)} BYPASSRLS")
        with pytest.raises(tenancy.RolesRefused, match="BYPASSRLS"):
            migrate_postgres(plain_url, metadata)


class TestAStart:
    def test_without_the_roles_names_the_command(self, url: str, postgres_server: PostgresServer) -> None:
        """As in a database that was restored elsewhere: its tables exist, its roles do not."""
        migrate_postgres(url, metadata)
        copy = f"{make_url(url).database}_copy"
        postgres_server.command(f"CREATE DATABASE {copy} TEMPLATE {make_url(url).database} OWNER {_ADMIN}")
        copied = make_url(url).set(database=copy).render_as_string(hide_password=False)
        with pytest.raises(RolesMissing, match=f"recado_system_{copy}.*run `recado migrate`"):
            await_schema(copied, wait_seconds=0)

        await_schema(copied, pause=partial(bring, copied))

        assert ask(copied, f"SET ROLE {system_role(copied)}", _NEW_OWNER, "SELECT name FROM owners") == [("Ana",)]

    def test_with_tables_that_are_open_names_the_command(self, url: str) -> None:
        migrate_postgres(url, metadata)
        ask(url, "ALTER TABLE message_queue NO FORCE ROW LEVEL SECURITY")
        with pytest.raises(RolesMissing, match="run `recado migrate`"):
            await_schema(url, wait_seconds=0)


def bring(url: str, _seconds: float) -> None:
    migrate_postgres(url, metadata)


class TestASchemaOfItsOwn:
    @pytest.fixture
    def named_url(self, url: str) -> Iterator[str]:
        """Where the schema has the login's name: the default search path finds it by the current role."""
        ask(url, f"CREATE SCHEMA {_ADMIN}")
        yield url

    async def test_is_found_by_the_roles_too(self, named_url: str) -> None:
        migrate_postgres(named_url, metadata)
        assert ask(named_url, f"SELECT to_regclass('{_ADMIN}.owners') IS NOT NULL") == [(True,)]
        database = PostgresDatabase(named_url)
        await database.write(lambda uow: uow.execute_raw(_NEW_OWNER), owner=None)
        assert await database.read(lambda uow: uow.execute_raw("SELECT name FROM owners"), owner=None) == [("Ana",)]
        await database.close()

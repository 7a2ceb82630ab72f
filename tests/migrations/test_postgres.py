"""The schema on PostgreSQL: one process makes it, all others wait for it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import make_url, text

from recado.bootstrap import metadata
from recado.core.database.postgres.connections import postgres_engine
from recado.core.errors import ConfigurationError, StorageUnavailable
from recado.migrations import HEAD
from recado.migrations.postgres import (
    SchemaTooOld,
    ServerTooOld,
    await_schema,
    migrate_postgres,
    require_server,
    revision_of,
)
from recado.migrations.runner import MigrationResult, NotRecadoDatabase, SchemaTooNew, SchemaUnreleased
from tests.support.servers.postgres import PostgresServer

_INDEXES = text("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'")
_GENERATED = text("SELECT generation_expression FROM information_schema.columns WHERE is_generated = 'ALWAYS'")


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    """An empty database."""
    return postgres_server.make(empty=True)


def change(url: str, sql: str) -> None:
    engine = postgres_engine(make_url(url))
    with engine.begin() as connection:
        connection.execute(text(sql))
    engine.dispose()


class TestMigrating:
    def test_is_done_by_one_of_those_who_try_at_once(self, url: str) -> None:
        with ThreadPoolExecutor(4) as several:
            results = list(several.map(lambda _: migrate_postgres(url, metadata), range(4)))
        assert sorted(result.migrated for result in results) == [False, False, False, True]
        assert revision_of(url) == HEAD

    def test_makes_the_tables_of_the_code(self, url: str) -> None:
        migrate_postgres(url, metadata)
        engine = postgres_engine(make_url(url))
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": False})
            differences = compare_metadata(context, metadata())
        engine.dispose()
        # What only PostgreSQL has is made by hand, and row-level security has a table of its own.
        by_hand = ("search", "ix_events_number", "tenant_access")
        assert [each for each in differences if not any(name in str(each) for name in by_hand)] == []

    def test_makes_the_partial_indexes_and_the_full_text_of_the_code(
        self, url: str, postgres_server: PostgresServer
    ) -> None:
        """Alembic does not compare these, and both are constraints:

        an index that is not partial would refuse valid rows.
        """
        migrate_postgres(url, metadata)
        assert walls(url) == walls(postgres_server.make())

    def test_of_a_later_release_s_database_is_refused(self, url: str) -> None:
        migrate_postgres(url, metadata)
        change(url, "UPDATE alembic_version SET version_num = '0999'")
        with pytest.raises(SchemaTooNew, match="0999"):
            migrate_postgres(url, metadata)

    def test_of_an_unreleased_version_s_database_is_refused(self, url: str) -> None:
        migrate_postgres(url, metadata)
        change(url, "UPDATE alembic_version SET version_num = '0001'")
        with pytest.raises(SchemaUnreleased, match="start with a new database"):
            migrate_postgres(url, metadata)
        with pytest.raises(SchemaUnreleased, match="start with a new database"):
            await_schema(url)

    def test_is_refused_beside_tables_of_another_program(self, url: str) -> None:
        change(url, "CREATE TABLE owners (x INTEGER)")
        with pytest.raises(NotRecadoDatabase, match=r"has a table owners .* RECADO_DATABASE_URL"):
            migrate_postgres(url, metadata)
        assert revision_of(url) is None

    @pytest.mark.parametrize(("version_num", "release"), [(90_624, 9), (130_014, 13), (140_020, 14)])
    def test_on_a_server_that_is_too_old_is_refused(self, version_num: int, release: int) -> None:
        with pytest.raises(ServerTooOld, match=rf"release {release} and Recado needs 15 or later"):
            require_server(version_num)

    @pytest.mark.parametrize("version_num", [150_000, 180_001])
    def test_on_a_later_server_is_not(self, version_num: int) -> None:
        require_server(version_num)

    def test_goes_on_beside_tables_whose_names_are_not_ours(self, url: str) -> None:
        """They may be an extension's."""
        change(url, "CREATE TABLE spatial_ref_sys (x INTEGER)")
        assert migrate_postgres(url, metadata).migrated


class TestAStart:
    def test_goes_on_where_the_schema_is_right(self, url: str) -> None:
        migrate_postgres(url, metadata)
        assert await_schema(url) == MigrationResult(HEAD, HEAD, migrated=False)

    def test_waits_for_a_process_that_migrates(self, url: str) -> None:
        looks: list[float] = []

        def meanwhile(seconds: float) -> None:
            looks.append(seconds)
            migrate_postgres(url, metadata)

        await_schema(url, pause=meanwhile)
        assert len(looks) == 1

    def test_that_waited_in_vain_names_the_command(self, url: str) -> None:
        with pytest.raises(SchemaTooOld, match="run `recado migrate`"):
            await_schema(url, wait_seconds=0)
        assert revision_of(url) is None, "and it has changed nothing"

    def test_without_a_server_says_so(self) -> None:
        with pytest.raises(StorageUnavailable, match="RECADO_DATABASE_URL"):
            await_schema("postgresql://recado@127.0.0.1:1/recado", wait_seconds=0)

    def test_waits_for_a_server_that_starts_again(self, url: str, postgres_server: PostgresServer) -> None:
        migrate_postgres(url, metadata)
        postgres_server.crash()
        assert await_schema(url, pause=lambda _: postgres_server.start()).after == HEAD

    def test_with_a_name_that_is_no_database_says_so(self, url: str) -> None:
        nowhere = make_url(url).set(database="nowhere").render_as_string(hide_password=False)
        with pytest.raises((ConfigurationError, StorageUnavailable), match="nowhere"):
            await_schema(nowhere, wait_seconds=0)

    @pytest.mark.parametrize("option", ["nonsense=1", "sslmode=perhaps"])
    def test_with_an_option_in_its_url_that_is_none_says_so(self, url: str, option: str) -> None:
        name, _, value = option.partition("=")
        odd = make_url(url).update_query_dict({name: value}).render_as_string(hide_password=False)
        with pytest.raises((ConfigurationError, StorageUnavailable), match="RECADO_DATABASE_URL"):
            await_schema(odd, wait_seconds=0)


def walls(url: str) -> tuple[set[str], set[str]]:
    engine = postgres_engine(make_url(url))
    with engine.connect() as connection:
        indexes = {str(row[0]) for row in connection.execute(_INDEXES)}
        generated = {str(row[0]) for row in connection.execute(_GENERATED)}
    engine.dispose()
    return indexes, generated

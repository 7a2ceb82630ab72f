"""The same commands over PostgreSQL."""

import stat
import subprocess
from pathlib import Path

from sqlalchemy import make_url

from recado.migrations import HEAD
from tests.entrypoints.cli.conftest import PUBLIC, Recado
from tests.support.servers.postgres import PostgresServer


class TestOnPostgres:
    def test_only_migrate_makes_the_tables_and_then_all_is_well(
        self, recado: Recado, postgres_server: PostgresServer
    ) -> None:
        there = {"RECADO_DATABASE_URL": postgres_server.make(empty=True), "RECADO_PUBLIC_URL": PUBLIC}
        told = recado("doctor", **there)
        assert (told.exit_code, told.stderr) == (
            1,
            f"Error: PostgreSQL: the database is at schema none instead of {HEAD}: run recado migrate\n",
        )
        assert recado.one("migrate", **there) == {"before": None, "after": HEAD, "migrated": True}
        assert f"database: PostgreSQL is at schema {HEAD}" in recado("doctor", **there).stdout
        form = ("--name", "Padaria", "--email", "ana@padaria.example", "--password-env", "ONCE")
        made = recado.one("org", "register", *form, **there, ONCE="pão quente às seis")
        assert [each["owner_id"] for each in recado.many("org", "list", **there)] == [made["owner_id"]]
        assert recado.one("verify", **there)["violations"] == []

    def test_a_backup_is_what_its_own_tool_makes_of_it(
        self, recado: Recado, postgres_server: PostgresServer, tmp_path: Path
    ) -> None:
        """By a login that is no superuser: nothing but the role of the system may see the rows."""
        database = make_url(postgres_server.make(empty=True))
        postgres_server.command("CREATE ROLE keeper LOGIN CREATEROLE")
        postgres_server.command(f"ALTER DATABASE {database.database} OWNER TO keeper")
        there = {"RECADO_DATABASE_URL": database.set(username="keeper").render_as_string(hide_password=False)}
        recado.one("migrate", **there)
        form = ("--name", "Padaria", "--email", "ana@padaria.example", "--password-env", "ONCE")
        made_there = recado.one("org", "register", *form, **there, ONCE="pão quente às seis")
        dump, tools = tmp_path / "recado.dump", str(postgres_server.tools)
        made = recado.one("backup", dump, PATH=tools, **there)
        assert (made["bytes"], made["schema"]) == (dump.stat().st_size, HEAD)
        assert stat.S_IMODE(dump.stat().st_mode) == 0o600

        copy = postgres_server.make(empty=True)
        restored = subprocess.run(
            [f"{tools}/pg_restore", "--no-owner", f"--dbname={copy}", dump], capture_output=True, check=False
        )
        assert (restored.returncode, restored.stderr) == (0, b"")
        recado.one("migrate", RECADO_DATABASE_URL=copy)
        assert recado.one("verify", RECADO_DATABASE_URL=copy)["violations"] == []
        owners = recado.many("org", "list", RECADO_DATABASE_URL=copy)
        assert [each["owner_id"] for each in owners] == [made_there["owner_id"]]

    def test_without_the_tool_a_backup_says_what_to_type(self, recado: Recado, tmp_path: Path) -> None:
        told = recado.refuses(
            "backup",
            tmp_path / "recado.dump",
            PATH=str(tmp_path),
            RECADO_DATABASE_URL="postgresql://recado:canary@db.internal/recado",
        )
        as_system = "--role=recado_system_recado --enable-row-security --exclude-table-data=tenant_access"
        assert f"pg_dump --format=custom --no-owner {as_system} --file=FILE 'postgresql://recado@db.internal/" in told
        assert "canary" not in told
        assert [each.name for each in tmp_path.iterdir()] == ["recado.db"]

    def test_a_server_that_is_gone_gets_a_sentence(self, recado: Recado) -> None:
        nowhere = "postgresql://recado@127.0.0.1:1/recado"
        refused = recado.refuses("migrate", RECADO_DATABASE_URL=nowhere)
        assert "RECADO_DATABASE_URL cannot be used now" in refused

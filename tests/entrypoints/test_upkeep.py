import json
import resource
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from recado.bootstrap import SCHEDULES
from recado.entrypoints.cli.doctor import durability, encoding, shared
from recado.migrations import HEAD
from tests.brokers import RedisServer
from tests.entrypoints.conftest import Recado
from tests.ports import reserved_port
from tests.servers import PostgresServer

PUBLIC = "https://recado.example"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recado.db"


def spoil(file: Path, sql: str) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute(sql)
    connection.close()


class TestVerify:
    def test_a_sound_database_has_no_violations(self, recado: Recado) -> None:
        report = recado.one("verify")
        assert (report["accepted"], report["open"], report["violations"], report["orphans"]) == (5, 0, [], 1)
        assert isinstance(report["outcomes"], dict)
        outcomes = {outcome: count for outcome, count in report["outcomes"].items() if count}
        assert outcomes == {"answered": 2, "apologised": 2, "handed_off": 1}
        assert "No violations." in recado.says("verify")

    def test_a_person_reads_the_reasons_below_what_was_suppressed(self, recado: Recado, file: Path) -> None:
        spoil(file, "UPDATE messages SET outcome = 'suppressed', outcome_reason = 'quota' WHERE outcome = 'apologised'")
        assert "suppressed 2 quota 2" in " ".join(recado("verify").stdout.split())

    def test_a_broken_promise_fails_and_names_the_message(self, recado: Recado, file: Path) -> None:
        spoil(file, "DELETE FROM inbox_items")
        ended = recado("verify", "--json")
        [violation] = json.loads(ended.stdout)["violations"]
        assert (ended.exit_code, ended.stderr) == (1, "Error: 1 violation of the promise\n")
        assert violation["message_sid"] in recado("verify").stdout


class TestMigrate:
    def test_makes_a_database_and_finds_it_done_the_second_time(self, recado: Recado, tmp_path: Path) -> None:
        fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
        first = recado.one("migrate", RECADO_DATABASE_URL=fresh)
        assert first == {"before": None, "after": HEAD, "migrated": True}
        second = recado.says("migrate", RECADO_DATABASE_URL=fresh)
        assert second == f"The database is at schema {HEAD}, as this release wants it.\n"

    def test_a_database_of_a_later_release_gets_a_sentence(self, recado: Recado, file: Path) -> None:
        spoil(file, "UPDATE alembic_version SET version_num = '9999'")
        assert "the database is at schema 9999" in recado.refuses("migrate", status=2)


class TestBackup:
    def test_a_copy_can_be_worked_with(self, recado: Recado, tmp_path: Path) -> None:
        copy = tmp_path / "copy.db"
        made = recado.one("backup", copy)
        assert (made["file"], made["bytes"], made["schema"]) == (str(copy), copy.stat().st_size, HEAD)
        restored = {"RECADO_DATABASE_URL": f"sqlite:///{copy}"}
        assert recado.one("verify", **restored) == recado.one("verify")
        assert "MB at schema" in recado.says("backup", tmp_path / "another.db")

    def test_a_file_that_is_there_stays(self, recado: Recado, file: Path) -> None:
        assert recado.refuses("backup", file) == (
            f"Error: {file} is there already and stays as it is: name another file\n"
        )


class TestRestored:
    def test_drops_nothing_before_it_is_told_to(self, recado: Recado) -> None:
        assert recado.refuses("restored") == (
            "Error: 0 jobs wait to answer customers and would be dropped, and sweeps would look back no further than "
            "now: say --yes if that is meant\n"
        )

    def test_says_what_it_did(self, recado: Recado) -> None:
        assert recado.one("restored", "--yes") == {"dropped": 0, "left": 0, "numbers": 0}


class TestTick:
    @pytest.mark.parametrize("seconds", ["0", "-1", "301", "nan", "inf"])
    def test_of_no_length_is_refused(self, recado: Recado, seconds: str) -> None:
        said = recado.refuses("tick", "--seconds", seconds, RECADO_PUBLIC_URL=PUBLIC)
        assert "--seconds must be a number from 1 to 300" in said

    def test_says_what_it_did_and_what_it_leaves(self, recado: Recado) -> None:
        counts = recado.one(
            "tick", "--seconds", 5, RECADO_PUBLIC_URL=PUBLIC, RECADO_TWILIO_API_URL="http://127.0.0.1:1"
        )
        assert set(counts) == {
            "slots_made", "leases_freed", "jobs", "given_back", "still_due", "oldest_due_seconds",
        }  # fmt: skip
        assert (counts["slots_made"], counts["given_back"]) == (len(SCHEDULES), 0)


class TestDoctor:
    def test_finds_nothing_where_nothing_is_wrong(self, recado: Recado, file: Path) -> None:
        examined = recado.one("doctor", RECADO_PUBLIC_URL=PUBLIC)
        assert examined["ok"] is True
        assert f"database: {file} is at schema {HEAD}" in recado.says("doctor", RECADO_PUBLIC_URL=PUBLIC)

    def test_tells_every_setting_that_keeps_it_from_serving(self, recado: Recado) -> None:
        ended = recado("doctor", RECADO_SECRET_KEY=None)
        assert ended.exit_code == 1
        assert "Error: RECADO_PUBLIC_URL is not set" in ended.stderr
        assert "make one with python3 -c" in ended.stderr

    def test_tells_of_a_schema_that_is_not_this_release_s(self, recado: Recado, file: Path) -> None:
        spoil(file, "DELETE FROM alembic_version")
        ended = recado("doctor", "--json", RECADO_PUBLIC_URL=PUBLIC)
        assert (ended.exit_code, json.loads(ended.stdout)["ok"]) == (1, False)
        assert "has tables" in ended.stderr
        assert "no revision of Recado's" in ended.stderr

    def test_a_file_that_is_no_database_gets_a_sentence(self, recado: Recado, file: Path) -> None:
        file.write_text("a shopping list, which is longer than the header of any database", "utf-8")
        ended = recado("doctor", RECADO_PUBLIC_URL=PUBLIC)
        assert f"Error: {file} is not a database" in ended.stderr

    def test_a_database_to_be_made_is_fine(self, recado: Recado, tmp_path: Path) -> None:
        fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
        shown = recado.says("doctor", RECADO_PUBLIC_URL=PUBLIC, RECADO_DATABASE_URL=fresh)
        assert "is not there yet; recado migrate or recado serve makes it" in shown
        assert not (tmp_path / "fresh.db").exists()


class TestDoctorOfABroker:
    def test_says_how_redis_is(self, recado: Recado, redis_server: RedisServer) -> None:
        there = {"RECADO_QUEUE_BACKEND": "bullmq", "RECADO_REDIS_URL": redis_server.url, "RECADO_PUBLIC_URL": PUBLIC}
        assert "bullmq: Redis keeps no append-only file" in recado.says("doctor", **there)

    def test_one_that_is_not_there_is_an_error(self, recado: Recado) -> None:
        nowhere = f"redis://127.0.0.1:{reserved_port()}/0"
        ended = recado("doctor", RECADO_QUEUE_BACKEND="bullmq", RECADO_REDIS_URL=nowhere, RECADO_PUBLIC_URL=PUBLIC)
        assert ended.exit_code == 1
        assert "Redis cannot be reached" in ended.stderr


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
        as_system = "--role=recado_system_recado --enable-row-security"
        assert f"pg_dump --format=custom --no-owner {as_system} --file=FILE 'postgresql://recado@db.internal/" in told
        assert "canary" not in told
        assert [each.name for each in tmp_path.iterdir()] == ["recado.db"]

    def test_a_server_that_is_gone_gets_a_sentence(self, recado: Recado) -> None:
        nowhere = "postgresql://recado@127.0.0.1:1/recado"
        refused = recado.refuses("migrate", RECADO_DATABASE_URL=nowhere)
        assert "RECADO_DATABASE_URL cannot be used now" in refused


class TestDoctorTriesWhatAServerDoes:
    """Each of these is a database that opens and reads well."""

    def test_a_full_disk(self, recado: Recado, file: Path) -> None:
        """No file may grow: to SQLite that is a failing write."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        with closing(sqlite3.connect(file)) as held:  # Keeps the log, so that opening it again makes no file.
            held.execute("PRAGMA journal_mode=WAL")
            held.execute("CREATE TABLE t AS SELECT randomblob(100000) AS x")
            held.commit()
            resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{file}-wal").stat().st_size, hard))
            try:
                ended = recado("doctor", "--json", RECADO_PUBLIC_URL=PUBLIC)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert [each["name"] for each in json.loads(ended.stdout)["findings"] if not each["ok"]] == ["write"]
        assert (ended.exit_code, "cannot store now" in ended.stderr) == (1, True)

    def test_another_key(self, recado: Recado) -> None:
        ended = recado("doctor", RECADO_PUBLIC_URL=PUBLIC, RECADO_SECRET_KEY="B" * 43)
        assert ended.exit_code == 1
        assert "no stored credential opens: RECADO_SECRET_KEY is not the key that sealed them" in ended.stderr

    def test_a_row_that_was_changed(self, recado: Recado, file: Path, owner: str) -> None:
        words = ("--account-sid", "AC" + "d" * 32, "--auth-token-env", "TOKEN", "--address", "+5511900000077")
        recado.one("numbers", "add", "--owner", owner, *words, TOKEN="0123456789abcdef0123456789abcdef")
        spoil(file, "UPDATE twilio_accounts SET auth_token_sealed = x'00' WHERE account_sid = x'4143" + "d" * 32 + "'")
        ended = recado("doctor", RECADO_PUBLIC_URL=PUBLIC)
        assert ended.exit_code == 1
        assert "opens 1 of 2 stored credentials, but not those of AC" + "d" * 32 in ended.stderr

    def test_a_file_that_is_open_to_others_is_a_note(self, recado: Recado, file: Path) -> None:
        file.chmod(0o644)
        told = recado.says("doctor", RECADO_PUBLIC_URL=PUBLIC)
        assert f"mode: {file} is open to other users of this machine (0644): chmod 600 {file}" in told

    def test_settings_of_postgresql_that_take_back_what_was_confirmed(
        self, recado: Recado, postgres_server: PostgresServer
    ) -> None:
        """The server of the tests never waits for the disk."""
        ended = recado("doctor", RECADO_DATABASE_URL=postgres_server.make(), RECADO_PUBLIC_URL=PUBLIC)
        assert ended.exit_code == 1
        assert "PostgreSQL runs with fsync=off" in ended.stderr
        assert "PostgreSQL runs with full_page_writes=off" in ended.stderr
        assert "durability: PostgreSQL's synchronous_commit is off; Recado raises it" in ended.stdout
        assert "write: a trial was stored" in ended.stdout

    @pytest.mark.parametrize("name", ["LATIN1", "SQL_ASCII", "WIN1252"])
    def test_an_encoding_that_cannot_hold_what_customers_write(self, name: str) -> None:
        [finding] = encoding({"server_encoding": name})
        assert not finding.ok
        assert f"has the encoding {name}, which cannot store" in finding.says
        assert encoding({"server_encoding": "UTF8"}) == []

    def test_an_encoding_is_asked_of_the_database(self, recado: Recado, postgres_server: PostgresServer) -> None:
        """Before its schema is made, for it must be made anew."""
        name = "recado_latin"
        postgres_server.command(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        ended = recado("doctor", RECADO_DATABASE_URL=postgres_server.named(name), RECADO_PUBLIC_URL=PUBLIC)
        assert ended.exit_code == 1
        assert "has the encoding LATIN1" in ended.stderr

    @pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p"])
    def test_a_file_on_a_network_file_system(self, kind: str, tmp_path: Path) -> None:
        file = tmp_path / "shop files" / "recado.db"
        place = str(file.parent).replace(" ", r"\040")
        network, local = f"server:/x {place} {kind} rw 0 0\n", f"/dev/sda1 {tmp_path} ext4 rw 0 0\n"
        [finding] = shared(file, f"{network}{local}server:/y /elsewhere ext4 rw 0 0\n")
        assert not finding.ok
        assert f"lies on a network file system ({kind} at {file.parent})" in finding.says
        assert shared(file, network + network.replace(kind, "ext4")) == []
        assert shared(tmp_path / "shop files 2", network + local) == []

    @pytest.mark.parametrize("strong", ["on", "remote_apply", "remote_write"])
    def test_settings_of_postgresql_that_keep_it(self, strong: str) -> None:
        [finding] = durability({"fsync": "on", "full_page_writes": "on", "synchronous_commit": strong})
        assert finding.ok

import json
import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

import pytest

from recado.core.clock import SystemClock
from recado.migrations import HEAD
from recado.operations.doctor.postgres import check_durability, check_encoding, check_tenants
from recado.operations.doctor.sqlite import on_network_file_system
from tests.entrypoints.cli.conftest import PUBLIC, Recado, spoil
from tests.support.servers.brokers import RedisServer
from tests.support.servers.ports import reserved_port
from tests.support.servers.postgres import PostgresServer


class TestDoctor:
    def test_finds_nothing_where_nothing_is_wrong(self, recado: Recado, file: Path) -> None:
        examined = recado.one("doctor", RECADO_PUBLIC_URL=PUBLIC)
        assert examined["ok"] is True
        assert isinstance(examined["findings"], list)
        assert {tuple(each) for each in examined["findings"]} == {("name", "ok", "says")}
        assert f"database: {file} is at schema {HEAD}" in recado.says("doctor", RECADO_PUBLIC_URL=PUBLIC)

    def test_tells_every_setting_that_keeps_it_from_serving(self, recado: Recado) -> None:
        ended = recado("doctor", RECADO_SECRET_KEY=None)
        assert ended.exit_code == 1
        assert "Error: RECADO_PUBLIC_URL is not set" in ended.stderr
        assert "make one with python3 -c" in ended.stderr

    def test_reports_a_schema_of_another_release(self, recado: Recado, file: Path) -> None:
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
        assert "does not exist yet; recado migrate or recado serve creates it" in shown
        assert not (tmp_path / "fresh.db").exists()


class TestDoctorOfABroker:
    def test_reports_the_state_of_redis(self, recado: Recado, redis_server: RedisServer) -> None:
        there = {"RECADO_QUEUE_BACKEND": "bullmq", "RECADO_REDIS_URL": redis_server.url, "RECADO_PUBLIC_URL": PUBLIC}
        assert "bullmq: Redis keeps no append-only file" in recado.says("doctor", **there)

    def test_one_that_is_not_there_is_an_error(self, recado: Recado) -> None:
        nowhere = f"redis://127.0.0.1:{reserved_port()}/0"
        ended = recado("doctor", RECADO_QUEUE_BACKEND="bullmq", RECADO_REDIS_URL=nowhere, RECADO_PUBLIC_URL=PUBLIC)
        assert ended.exit_code == 1
        assert "Redis cannot be reached" in ended.stderr


class TestDoctorOfTheMailServer:
    def test_says_that_links_are_printed_without_one(self, recado: Recado) -> None:
        assert "mail: RECADO_SMTP_URL names no mail server" in recado.says("doctor", RECADO_PUBLIC_URL=PUBLIC)

    def test_one_that_is_not_there_is_an_error(self, recado: Recado) -> None:
        nowhere = {"RECADO_SMTP_URL": f"smtp://127.0.0.1:{reserved_port()}", "RECADO_SMTP_FROM": "recado@example.com"}
        ended = recado("doctor", RECADO_PUBLIC_URL=PUBLIC, **nowhere)
        assert (ended.exit_code, "cannot be reached (Connection refused)" in ended.stderr) == (1, True)


class TestFilesOfVariables:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        monkeypatch.chdir(tmp_path)
        with patch.dict(os.environ):
            yield tmp_path

    def says(self, recado: Recado) -> list[str]:
        findings = json.loads(recado("doctor", "--json").stdout)["findings"]
        return [each["says"] for each in findings if each["name"] in {"files", "mode"}]

    def test_are_told_with_what_wins_over_them(self, recado: Recado, folder: Path) -> None:
        (folder / "recado.env").write_text("RECADO_LEASE_SECONDS=20\nRECADO_DATABASE_URL=sqlite:///other.db\n")
        (folder / ".env").write_text("OTHER=1\n")
        assert self.says(recado)[:2] == [
            "recado.env is read, variables: 2; other values win for RECADO_DATABASE_URL",
            ".env is read, variables: 1",
        ]

    def test_with_a_key_that_others_can_read_are_told(self, recado: Recado, folder: Path) -> None:
        (folder / "recado.env").write_text("RECADO_SECRET_KEY=" + "A" * 43)
        (folder / "recado.env").chmod(0o644)
        assert "recado.env is open to other users of this machine (0644): chmod 600 recado.env" in self.says(recado)

    def test_are_not_told_where_there_are_none(self, recado: Recado) -> None:
        assert [each for each in self.says(recado) if ".env" in each] == []


class TestTrials:
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
        assert ended.stderr == (
            "Error: RECADO_SECRET_KEY is not the key that sealed the owners' keys: set the one that did\n"
        )

    def test_a_row_that_was_changed(self, recado: Recado, file: Path, owner: str) -> None:
        words = ("--account-sid", "AC" + "d" * 32, "--auth-token-env", "TOKEN", "--address", "+5511900000077")
        recado.one("numbers", "add", "--owner", owner, *words, TOKEN="0123456789abcdef0123456789abcdef")
        spoil(
            file,
            "UPDATE twilio_credentials SET auth_token_sealed = x'00' WHERE account_id IN"
            f" (SELECT id FROM channel_accounts WHERE account_ref = x'4143{'d' * 32}')",
        )
        ended = recado("doctor", RECADO_PUBLIC_URL=PUBLIC)
        assert ended.exit_code == 1
        assert f"1 of 2 stored credentials cannot be opened, those of AC{'d' * 32}: store them again" in ended.stderr

    def test_an_owners_row_that_was_changed(self, recado: Recado, file: Path, owner: str) -> None:
        words = ("--name", "Livraria", "--email", "dona@livraria.example", "--password-env", "ONCE")
        recado.one("org", "register", *words, ONCE="cavalo correto bateria")
        spoil(file, f"UPDATE owners SET data_key_sealed = x'00' WHERE id = x'{UUID(owner).hex}'")
        ended = recado("doctor", RECADO_PUBLIC_URL=PUBLIC)
        assert ended.exit_code == 1
        assert f"opens the keys of 1 of 2 owners, but not those of {owner}: their rows were changed" in ended.stderr

    def test_an_owner_that_another_key_sealed(self, recado: Recado, file: Path, owner: str) -> None:
        words = ("--name", "Livraria", "--email", "dona@livraria.example", "--password-env", "ONCE")
        recado.one("org", "register", *words, ONCE="cavalo correto bateria")
        spoil(file, f"UPDATE owners SET data_key_id = '0000000000000000' WHERE id = x'{UUID(owner).hex}'")
        ended = recado("doctor", RECADO_PUBLIC_URL=PUBLIC)
        assert ended.exit_code == 1
        assert f"not those of {owner}: they were sealed with another RECADO_SECRET_KEY" in ended.stderr

    def test_the_row_of_the_only_owner_that_was_changed(self, recado: Recado, file: Path, owner: str) -> None:
        spoil(file, "UPDATE owners SET data_key_sealed = x'00'")
        ended = recado("doctor", RECADO_PUBLIC_URL=PUBLIC)
        assert ended.exit_code == 1
        assert f"not those of {owner}: their rows were changed" in ended.stderr

    def test_a_key_of_the_installation_that_another_key_sealed(self, recado: Recado, file: Path) -> None:
        key = "'twilio.callbacks', x'00', '0000000000000000', 0"
        spoil(file, f"INSERT INTO system_keys (name, sealed, key_id, created_at) VALUES ({key})")
        ended = recado("doctor", RECADO_PUBLIC_URL=PUBLIC)
        assert ended.exit_code == 1
        assert (
            "the key 'twilio.callbacks' of this installation was sealed with another RECADO_SECRET_KEY" in ended.stderr
        )

    def test_an_account_that_is_paused_is_a_note(self, recado: Recado, file: Path, owner: str) -> None:
        until = int(SystemClock().now().timestamp() + 3600) * 1_000_000
        spoil(file, f"UPDATE channel_accounts SET paused_until = {until}, paused_why = '63038'")
        told = recado.says("doctor", RECADO_PUBLIC_URL=PUBLIC)
        assert f"paused: account AC{'a' * 32} of owner {owner} sends nothing until " in told
        assert "UTC (63038)" in told

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
        assert "durability: PostgreSQL's synchronous_commit is off; Recado sets it" in ended.stdout
        assert "write: a trial row was stored" in ended.stdout
        assert "tenants: transactions of owners run as recado_tenant_recado_" in ended.stdout

    def test_owners_that_share_a_login_are_a_note(self) -> None:
        [finding] = check_tenants(None)
        assert (finding.ok, "share the login of the URL" in finding.detail) == (True, True)

    @pytest.mark.parametrize("name", ["LATIN1", "SQL_ASCII", "WIN1252"])
    def test_an_encoding_that_cannot_hold_what_customers_write(self, name: str) -> None:
        [finding] = check_encoding({"server_encoding": name})
        assert not finding.ok
        assert f"has the encoding {name}, which cannot store" in finding.detail
        assert check_encoding({"server_encoding": "UTF8"}) == []

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
        [finding] = on_network_file_system(file, f"{network}{local}server:/y /elsewhere ext4 rw 0 0\n")
        assert not finding.ok
        assert f"is on a network file system ({kind} at {file.parent})" in finding.detail
        assert on_network_file_system(file, network + network.replace(kind, "ext4")) == []
        assert on_network_file_system(tmp_path / "shop files 2", network + local) == []

    @pytest.mark.parametrize("strong", ["on", "remote_apply", "remote_write"])
    def test_settings_of_postgresql_that_keep_it(self, strong: str) -> None:
        [finding] = check_durability({"fsync": "on", "full_page_writes": "on", "synchronous_commit": strong})
        assert finding.ok

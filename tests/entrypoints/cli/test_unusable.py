"""Every command on a missing or unusable database: one sentence, no file, no traceback."""

import os
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from typer.testing import Result

from recado.core.database.sqlite.driver import sqlite_module
from recado.migrations import HEAD
from tests.entrypoints.cli.conftest import Recado
from tests.support.processes import Running, until
from tests.support.rights import modes_count
from tests.support.servers.postgres import PostgresServer
from tests.test_docs import commands

PUBLIC: Final = "https://recado.example"
ID: Final = "0197c2f4-8e5a-7c3b-9d21-4f6a8b0c1d2e"
OWNER: Final = ("--owner", ID)

NO_DATABASE: Final = {"demo", "emulator", "emulator send", "completion", "health"}
"""They have none, or one of their own that no other command knows."""
MAKE_ONE: Final = {"serve", "migrate", "init"}
WORDS: Final[Mapping[str, Sequence[str]]] = {
    "worker": (),
    "org register": ("--name", "N", "--email", "n@recado.example", "--password-env", "PW"),
    "org set": (*OWNER, "--locale", "en"),
    "org list": (),
    **dict.fromkeys(("org close", "org reopen"), OWNER),
    "org export": ("everything.jsonl", *OWNER),
    "org purge": (*OWNER, "--yes"),
    "users list": (),
    "users add": (*OWNER, "--email", "n@recado.example", "--role", "viewer", "--password-env", "PW"),
    "users invite": (*OWNER, "--email", "n@recado.example", "--role", "viewer"),
    **dict.fromkeys(("users disable", "users enable", "users reset"), (ID,)),
    "users role": (ID, "viewer"),
    "keys create": (*OWNER, "--name", "N"),
    "keys list": OWNER,
    "keys revoke": (ID,),
    "audit list": OWNER,
    "numbers add": (
        *(*OWNER, "--account-sid", "AC" + "a" * 32),
        *("--auth-token-env", "TOKEN", "--address", "whatsapp:+5511900000001"),
    ),
    "numbers list": OWNER,
    **dict.fromkeys(("numbers check", "numbers remove"), ("whatsapp:+5511900000001", *OWNER)),
    "agents set": (*OWNER, "--agent", "echo"),
    **dict.fromkeys(("agents list", "agents show"), OWNER),
    "agents unset": (*OWNER, "--number", "whatsapp:+5511900000001"),
    "agents test": (*OWNER, "oi"),
    "knowledge add": (*OWNER, __file__),
    "knowledge list": OWNER,
    "knowledge search": (*OWNER, "bolo"),
    "knowledge remove": (*OWNER, "a.md"),
    "conversations list": OWNER,
    **dict.fromkeys(
        ("conversations show", "conversations take", "conversations release", "conversations close"), (ID,)
    ),
    "conversations reply": (ID, "--text", "oi"),
    "conversations assign": (ID, "--user", ID),
    "contacts list": OWNER,
    **dict.fromkeys([f"contacts {act}" for act in ("rename", "block", "unblock", "opt-out", "opt-in")], (ID,)),
    "events list": OWNER,
    "events log": (*OWNER, "--endpoint", ID),
    "events replay": (*OWNER, "--endpoint", ID, "--event", ID),
    "events endpoints add": (*OWNER, "--url", "https://shop.example/events"),
    "events endpoints list": OWNER,
    **{f"events endpoints {act}": (ID, *OWNER) for act in ("set", "enable", "disable", "rotate", "remove")},
    "queue stats": (),
    "queue dead": (),
    "queue retry": ("--all",),
    "queue discard": (ID,),
    "queue move": ("--to", "sqlite"),
    "cron list": (),
    "cron run": ("sweep.turns",),
    "cron set": ("sweep.turns", "--on"),
    "orphans list": (),
    "orphans assign": ("SM" + "e" * 32, *OWNER),
    "verify": (),
    "tick": (),
    "backup": ("copy.db",),
    "restored": ("--yes",),
    "doctor": (),
}
"""Every command that works on the database, and what else must be typed."""
ALL: Final = {**WORDS, "serve": ("--port", "0"), "migrate": (), "init": ()}
AS_PROCESSES: Final = {"serve", "worker"}
"""These commands change the signal handlers of their process, so each runs in a separate process."""
HERE: Final = [name for name in ALL if name not in AS_PROCESSES]
GIVEN: Final = {"PW": "pão quente às seis", "TOKEN": "0123456789abcdef0123456789abcdef", "RECADO_PUBLIC_URL": PUBLIC}


def typed(recado: Recado, name: str, file: Path) -> Result:
    words = (recado_directory(recado) / "copy.db",) if name == "backup" else ALL[name]
    return recado(*name.split(), *words, **GIVEN, RECADO_DATABASE_URL=f"sqlite:///{file}")


def recado_directory(recado: Recado) -> Path:
    return Path(recado.environment["RECADO_DATABASE_URL"].removeprefix("sqlite:///")).parent


def in_a_sentence(name: str, ended: Result) -> str:
    """What a command says that ended as a command should when it cannot do its work."""
    assert isinstance(ended.exception, SystemExit), (name, ended.exception)
    assert ended.exit_code in {1, 2}, (name, ended.output)
    errors = [line for line in ended.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, (name, ended.stderr)
    assert "Traceback" not in ended.stderr, (name, ended.stderr)
    return errors[0]


def test_every_command_is_tried_here() -> None:
    families = {
        *(
            "recado",
            "org",
            "users",
            "keys",
            "audit",
            "numbers",
            "agents",
            "knowledge",
            "conversations",
            "queue",
            "cron",
        ),
        *("orphans", "contacts", "events", "events endpoints"),
    }
    assert {name for name, _ in commands()} - families == NO_DATABASE | set(ALL)


class TestAFileThatIsNotThere:
    @pytest.mark.parametrize("name", [name for name in WORDS if name not in {"worker", "doctor"}])
    def test_is_reported_and_not_created(self, recado: Recado, tmp_path: Path, name: str) -> None:
        nowhere = tmp_path / "elsewhere"
        nowhere.mkdir()
        said = in_a_sentence(name, typed(recado, name, nowhere / "oops.db"))
        assert f"{nowhere}/oops.db is not there: RECADO_DATABASE_URL" in said
        assert "recado migrate" in said
        assert list(nowhere.iterdir()) == []

    def test_is_no_problem_for_the_doctor_which_creates_none(self, recado: Recado, tmp_path: Path) -> None:
        nowhere = tmp_path / "elsewhere"
        nowhere.mkdir()
        assert typed(recado, "doctor", nowhere / "oops.db").exit_code == 0
        assert list(nowhere.iterdir()) == []

    def test_is_not_made_beside_its_log(self, recado: Recado, tmp_path: Path) -> None:
        """SQLite would delete the log, and with it what was stored last."""
        file, log = tmp_path / "gone.db", tmp_path / "gone.db-wal"
        log.write_bytes(b"what was stored last")
        for name in ("migrate", "doctor"):
            said = in_a_sentence(name, typed(recado, name, file))
            assert f"{file} is missing while its log {log} is there" in said, name
        assert (file.exists(), log.read_bytes()) == (False, b"what was stored last")

    def test_is_awaited_by_a_worker_until_another_process_makes_it(self, recado: Recado, tmp_path: Path) -> None:
        file, log = tmp_path / "soon.db", tmp_path / "worker.log"
        url = f"sqlite:///{file}"
        env = {**os.environ, **recado.environment, **GIVEN, "RECADO_DATABASE_URL": url}
        worker = Running("worker", ["worker", "--drain"], env, log)
        try:
            until(lambda: "is not there" in worker.said, said=lambda: worker.said)
            assert not file.exists()
            assert recado.one("migrate", RECADO_DATABASE_URL=url)["migrated"] is True
            assert worker.ends() == 0, worker.said
        finally:
            worker.stop()


class TestAFileThatIsMade:
    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
    def test_is_its_owners_alone_with_all_that_lies_beside_it(self, recado: Recado, tmp_path: Path, umask: int) -> None:
        place = tmp_path / "place"
        place.mkdir()
        before = os.umask(umask)
        try:
            assert typed(recado, "migrate", place / "recado.db").exit_code == 0
            with closing(sqlite_module().connect(place / "recado.db", isolation_level=None)) as connection:
                connection.execute("CREATE TABLE t (x)")
                modes = {each.name: oct(stat.S_IMODE(each.stat().st_mode)) for each in place.iterdir()}
            url = f"sqlite:///{place / 'recado.db'}"
            recado.one("backup", place / "copy.db", RECADO_DATABASE_URL=url)
        finally:
            os.umask(before)
        assert modes == dict.fromkeys(["recado.db", "recado.db-wal", "recado.db-shm", "recado.db.lock"], "0o600")
        assert stat.S_IMODE((place / "copy.db").stat().st_mode) == 0o600

    def test_is_at_no_instant_open_to_others(self, recado: Recado, tmp_path: Path) -> None:
        """Whatever opens it first, its mode is in the call that makes it."""
        made: list[tuple[str, int]] = []

        def told(event: str, arguments: tuple[object, ...]) -> None:
            if event == "open" and watching and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT:
                path = Path(os.fsdecode(arguments[0])) if isinstance(arguments[0], str | bytes) else None
                if path is not None and path.parent == tmp_path:
                    made.append((path.name, arguments[2]))

        watching = True
        sys.addaudithook(told)
        before = os.umask(0)
        try:
            assert typed(recado, "migrate", tmp_path / "new.db").exit_code == 0
        finally:
            os.umask(before)
            watching = False
        assert [name for name, _ in made] == ["new.db.lock", "new.db"]


def damaged(file: Path) -> None:
    """Its pages are there, and hold nothing that makes sense; its header does."""
    content = file.read_bytes()
    file.write_bytes(content[:100] + b"\xff" * (len(content) - 100))


def sql(file: Path, statement: str) -> None:
    with closing(sqlite_module().connect(file, isolation_level=None)) as connection:
        connection.execute(statement)


def place_of(file: Path, what: str) -> Path:
    """A database that cannot be used, and why."""
    match what:
        case "a directory":
            file.unlink()
            file.mkdir()
        case "under a file":
            return file / "recado.db"
        case "garbage":
            file.write_bytes(b"a shopping list, which is longer than the header of any database" * 99)
        case "cut short":
            file.write_bytes(file.read_bytes()[:3_000])
        case "damaged":
            damaged(file)
        case "a device":
            return Path("/dev/null")
        case "another schema":
            sql(file, "UPDATE alembic_version SET version_num = '9999'")
        case "no schema of ours":
            sql(file, "UPDATE alembic_version SET version_num = 'ae1027a6acf'")
        case "another program's":
            file.unlink()
            sql(file, "CREATE TABLE bookmarks (url)")
        case "a loop":
            file.unlink()
            file.symlink_to(file)
    return file


SAID: Final = {
    "a directory": "is a directory",
    "under a file": "there is no such directory",
    "garbage": "is not a database",
    "cut short": "is damaged",
    "damaged": "is damaged",
    "a device": "is no ordinary file",
    "another schema": "is at schema 9999",
    "no schema of ours": "none of Recado's",
    "another program's": "has tables (bookmarks)",
    "a loop": "Too many levels of symbolic links",
}


COPIED: Final = {"another schema", "no schema of ours"}
"""A copy of these can be made, and is what the release that wrote them needs."""


class TestAFileThatCannotBeUsed:
    @pytest.mark.parametrize("what", SAID)
    def test_is_reported_by_every_command_in_one_sentence(self, recado: Recado, tmp_path: Path, what: str) -> None:
        file = place_of(tmp_path / "recado.db", what)
        for name in HERE:
            if name == "backup" and what in COPIED:
                continue
            said = in_a_sentence(name, typed(recado, name, file))
            assert SAID[what] in said, (name, said)
            assert str(file) in said or "the database is at schema" in said or what == "under a file", (name, said)

    @pytest.mark.parametrize("url", ["sqlite:///{file}?mode=ro", "sqlite:///file:{file}"])
    def test_named_by_more_than_a_path_is_refused_with_its_variable(
        self, recado: Recado, tmp_path: Path, url: str
    ) -> None:
        asked = url.format(file=tmp_path / "recado.db").removeprefix("sqlite:///")
        for name in HERE:
            ended = typed(recado, name, Path(asked))
            said = in_a_sentence(name, ended)
            assert said.startswith("Error: RECADO_DATABASE_URL must name a file by its path only"), name
            assert ended.exit_code == (1 if name == "doctor" else 2), name

    @pytest.mark.parametrize("name", ["org list", "verify", "doctor", "queue stats", "tick"])
    def test_because_another_program_counts_its_schemas_as_ours_does_names_the_file(
        self, recado: Recado, tmp_path: Path, name: str
    ) -> None:
        file = tmp_path / "theirs.db"
        sql(file, "CREATE TABLE alembic_version (version_num)")
        sql(file, f"INSERT INTO alembic_version VALUES ('{HEAD}')")
        said = in_a_sentence(name, typed(recado, name, file))
        assert f"{file} is at a schema of Recado's and lacks" in said, said

    @pytest.mark.parametrize("mode", [0o400, 0o000], ids=["read-only", "closed"])
    def test_for_want_of_rights_names_the_file(self, recado: Recado, tmp_path: Path, mode: int) -> None:
        file = tmp_path / "recado.db"
        file.chmod(mode)
        with modes_count():
            for name in HERE:
                said = in_a_sentence(name, typed(recado, name, file))
                assert f"{file} cannot be {'written' if mode else 'read'} by this user" in said, (name, said)

    def test_in_a_folder_without_rights_names_the_folder(self, recado: Recado, tmp_path: Path) -> None:
        folder = tmp_path / "closed"
        folder.mkdir()
        shutil.copy(tmp_path / "recado.db", folder)
        folder.chmod(0o500)
        with modes_count():
            for name in HERE:
                said = in_a_sentence(name, typed(recado, name, folder / "recado.db"))
                assert str(folder) in said, (name, said)
        folder.chmod(0o700)

    @pytest.mark.parametrize("name", sorted(AS_PROCESSES))
    def test_ends_a_server_and_a_worker_in_a_sentence(self, recado: Recado, tmp_path: Path, name: str) -> None:
        file = place_of(tmp_path / "recado.db", "garbage")
        env = {**os.environ, **recado.environment, **GIVEN}
        process = Running(name, [name, *ALL[name]], env, tmp_path / "log")
        try:
            assert process.ends() in {1, 2}, process.said
        finally:
            process.stop()
        assert f"Error: {file} is not a database" in process.said
        assert "Traceback" not in process.said

    def test_for_want_of_rights_to_make_it(self, recado: Recado, tmp_path: Path) -> None:
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o500)
        with modes_count():
            said = in_a_sentence("migrate", typed(recado, "migrate", folder / "recado.db"))
        assert f"{folder} cannot be written by this user" in said


class TestPostgres:
    @pytest.mark.parametrize("name", ["org list", "queue stats", "backup", "verify", "tick", "migrate", "doctor"])
    @pytest.mark.parametrize(
        ("login", "database", "why"),
        [("recado", "nowhere", 'database "nowhere" does not exist'), ("stranger", "postgres", "stranger")],
    )
    def test_that_refuses_is_reported_in_one_sentence(
        self, recado: Recado, postgres_server: PostgresServer, name: str, login: str, database: str, why: str
    ) -> None:
        url = postgres_server.named(database).replace("recado@", f"{login}@")
        ended = recado(*name.split(), *ALL[name], **GIVEN, RECADO_DATABASE_URL=url, PATH=str(postgres_server.tools))
        assert why in in_a_sentence(name, ended)

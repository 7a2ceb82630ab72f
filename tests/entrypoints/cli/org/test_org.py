import json
import os
import pty
import select
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.entrypoints.cli.conftest import NOBODY, PUBLIC, Recado, spoil
from tests.support.patience import PATIENCE
from tests.support.processes import until

PASSWORD = "cavalo correto bateria"


def register(recado: Recado, *more: str) -> "dict[str, object]":
    words = ["org", "register", "--name", "Livraria", "--email", "dono@livraria.example"]
    return recado.one(*words, "--password-env", "PW", *more, PW=PASSWORD)


def names_of_jobs(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM message_queue")}


class TestRegister:
    def test_gives_the_ids_of_the_organisation_and_its_first_user(self, recado: Recado) -> None:
        made = register(recado)
        [user] = recado.many("users", "list", "--owner", made["owner_id"])
        expected = {**made, "email": "dono@livraria.example", "role": "owner", "active": True, "invited": False}
        assert user == {**expected, "name": None}

    def test_a_second_time_is_refused_in_a_sentence(self, recado: Recado) -> None:
        register(recado)
        words = ["org", "register", "--name", "L", "--email", "dono@livraria.example", "--password-env", "PW"]
        sentence = recado.refuses(*words, PW=PASSWORD)
        assert sentence.startswith("Error: dono@livraria.example is registered already")

    def test_a_variable_that_is_not_set_is_named(self, recado: Recado) -> None:
        words = ["org", "register", "--name", "L", "--email", "d@l.example", "--password-env", "PW"]
        assert "PW, which --password-env names, is not set" in recado.refuses(*words)

    def test_the_variable_may_look_like_a_setting(self, recado: Recado) -> None:
        words = ["org", "register", "--name", "L", "--email", "d@l.example", "--password-env", "RECADO_PASSWORD"]
        assert "owner_id" in recado.one(*words, RECADO_PASSWORD=PASSWORD)

    def test_without_a_variable_and_without_a_terminal_it_says_what_to_do(self, recado: Recado) -> None:
        sentence = recado.refuses("org", "register", "--name", "L", "--email", "d@l.example")
        assert "name a variable with --password-env" in sentence

    def test_on_a_terminal_the_password_is_asked_twice_and_never_shown(self, environment: Mapping[str, str]) -> None:
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "recado", "org", "register", "--name", "L", "--email", "d@l.example"]
        process = subprocess.Popen(
            [*command, "--json"],
            env={"PATH": os.environ["PATH"], **environment},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        seen = b""
        for prompt in (b"Password: ", b"The same again: "):
            while not seen.endswith(prompt):
                assert select.select([ours], [], [], PATIENCE)[0], seen
                seen += os.read(ours, 1024)
            os.write(ours, PASSWORD.encode() + b"\n")
        output, _ = process.communicate(timeout=PATIENCE)
        os.close(ours)
        assert (process.returncode, output.count(b"user_id")) == (0, 1)
        assert PASSWORD.encode() not in seen


class TestSet:
    def test_changes_what_is_named_and_nothing_else(self, recado: Recado, owner: str) -> None:
        before = recado.one("org", "set", "--owner", owner)
        words = ["--apology", "Ops!", "--hand-off", "Um momento.", "--send-policy", "prefer_delivery", "--locale", "es"]
        words += ["--nudge", "Ainda está por aí?"]
        after = recado.one("org", "set", "--owner", owner, *words, "--stop-words", "chega, basta")
        changed = {name: value for name, value in after.items() if before[name] != value}
        assert changed == {
            "apology": "Ops!",
            "hand_off": "Um momento.",
            "nudge": "Ainda está por aí?",
            "send_policy": "prefer_delivery",
            "locale": "es",
            "stop_words": ["chega", "basta"],
        }

    def test_an_empty_text_gives_it_back_to_the_product(self, recado: Recado, owner: str) -> None:
        before = recado.one("org", "set", "--owner", owner)
        recado.one("org", "set", "--owner", owner, "--apology", "Ops!", "--start-words", "volta", "--nudge", "Oi?")
        again = recado.one("org", "set", "--owner", owner, "--apology", "", "--start-words", "", "--nudge", "")
        assert (again, again["nudge"]) == (before, None)

    def test_shows_a_person_the_fields_line_by_line(self, recado: Recado, owner: str) -> None:
        lines = recado.says("org", "set", "--owner", owner, "--name", "Padaria 2").splitlines()
        assert ["send", "policy", "prefer_silence"] in [line.split() for line in lines]

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["--locale", "xx"], "Error: 'xx' is not a locale: use pt-BR, en, es\n"),
            (["--send-policy", "x"], "Error: 'x' is not a send policy: use prefer_silence or prefer_delivery\n"),
        ],
    )
    def test_a_wrong_value_gets_a_sentence(self, recado: Recado, owner: str, words: list[str], sentence: str) -> None:
        assert recado.refuses("org", "set", "--owner", owner, *words) == sentence

    def test_an_unknown_owner_gets_a_sentence(self, recado: Recado) -> None:
        assert recado.refuses("org", "set", "--owner", NOBODY) == f"Error: there is no owner {NOBODY}\n"


def test_empty_lists_say_how_to_begin(recado: Recado, tmp_path: os.PathLike[str]) -> None:
    empty = f"sqlite:///{os.fspath(tmp_path)}/empty.db"
    recado.one("migrate", RECADO_DATABASE_URL=empty)
    assert "recado org register" in recado.says("org", "list", RECADO_DATABASE_URL=empty)
    assert recado.many("users", "list", RECADO_DATABASE_URL=empty) == []


def test_organisations_are_listed(recado: Recado, owner: str) -> None:
    [only] = recado.many("org", "list")
    assert (only["owner_id"], only["name"]) == (owner, "Padaria")


class TestTheEnd:
    def test_closes_and_opens_again(self, recado: Recado, owner: str) -> None:
        assert recado.one("org", "close", "--owner", owner)["closed_at"] is not None
        assert "is open" in recado.says("org", "reopen", "--owner", owner)
        assert recado.one("org", "set", "--owner", owner)["closed_at"] is None

    def test_exports_to_a_file_that_only_its_owner_reads(self, recado: Recado, owner: str, tmp_path: Path) -> None:
        file = tmp_path / "all.jsonl"
        made = recado.one("org", "export", "--owner", owner, file)
        lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        assert (lines[0]["owner_id"], made["rows"]) == (owner, len(lines) - 2)
        assert {"owners", "users"} <= {line["table"] for line in lines[1:-1]}
        assert file.stat().st_mode & 0o777 == 0o600

    def test_overwrites_no_file(self, recado: Recado, owner: str, tmp_path: Path) -> None:
        file = tmp_path / "mine"
        file.write_text("precious")
        assert "is not overwritten" in recado.refuses("org", "export", "--owner", owner, file)
        assert file.read_text() == "precious"

    def test_of_nobody_leaves_no_file(self, recado: Recado, tmp_path: Path) -> None:
        assert "there is no owner" in recado.refuses("org", "export", "--owner", NOBODY, tmp_path / "all.jsonl")
        assert list(tmp_path.glob("all*")) == []

    def test_purges_nothing_without_yes_or_before_its_time(self, recado: Recado, owner: str) -> None:
        assert "confirm it with --yes" in recado.refuses("org", "purge", "--owner", owner)
        assert "close it first" in recado.refuses("org", "purge", "--owner", owner, "--yes")
        recado.one("org", "close", "--owner", owner)
        assert "may be purged from" in recado.refuses("org", "purge", "--owner", owner, "--yes")

    def test_waits_for_its_purge_and_says_when_it_is_over(self, recado: Recado, owner: str, file: Path) -> None:
        recado.one("org", "close", "--owner", owner)
        spoil(file, "UPDATE owners SET closed_at = closed_at - 31 * 86400 * 1000000")
        words = [sys.executable, "-m", "recado", "org", "purge", "--owner", owner, "--yes", "--wait"]
        environment = {**os.environ, **recado.environment, "LC_ALL": "C.UTF-8"}
        with subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as waiting:
            until(lambda: "owner.purge" in names_of_jobs(file))
            spoil(file, "UPDATE message_queue SET due_at = 0 WHERE name = 'owner.purge'")
            its_lane = "SELECT lane FROM message_queue WHERE name = 'owner.purge'"
            spoil(file, f"UPDATE lanes SET next_due_at = 0 WHERE lane IN ({its_lane})")
            if recado("tick", RECADO_PUBLIC_URL=PUBLIC).exit_code != 0:
                waiting.kill()
            said, _ = waiting.communicate(timeout=PATIENCE)
        assert said == "Everything of the organisation is deleted.\n"
        assert waiting.returncode == 0
        assert owner not in [each["owner_id"] for each in recado.many("org", "list")]

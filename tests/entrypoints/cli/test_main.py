import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from recado.entrypoints.cli.exit_codes import MEANINGS
from recado.entrypoints.cli.main import app
from tests.entrypoints.cli.conftest import NOBODY, Recado

ROOT = Path(__file__).parents[3]

HEAVY = {
    *("sqlalchemy", "fastapi", "aiohttp", "pydantic", "pydantic_ai", "twilio", "cryptography", "structlog", "rich"),
    *("recado.bootstrap", "recado.emulator"),
}
LOOK = "import sys; from recado.__main__ import main\ntry: main()\nfinally: sys.stderr.write(' '.join(sys.modules))"


def typed(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", LOOK, *words], capture_output=True, text=True, check=True)


# Typer itself reads the options of a family with Pydantic, even to show the help of its commands.
@pytest.mark.parametrize(("words", "allowed"), [(["--help"], set()), (["queue", "retry", "--help"], {"pydantic"})])
def test_help_imports_nothing_that_takes_time(words: Sequence[str], allowed: set[str]) -> None:
    ended = typed(*words)
    assert ended.stdout.startswith("Usage: recado")
    assert HEAVY & set(ended.stderr.split()) <= allowed


def test_help_names_every_command_with_what_it_is_for() -> None:
    shown = Recado({})("--help").stdout
    assert "orphans        List and assign messages to numbers without an owner." in shown
    assert "_not_loaded" not in shown


def test_help_can_be_asked_with_one_letter_everywhere() -> None:
    for words in ([], ["queue"], ["queue", "retry"]):
        assert Recado({}).says(*words, "-h") == Recado({}).says(*words, "--help")


def test_help_and_the_reference_say_how_a_command_can_end() -> None:
    reference = (ROOT / "docs/reference/cli.md").read_text("utf-8")
    for code, meaning in MEANINGS.items():
        assert f"{code:<5d}{meaning}\n" in Recado({}).says("--help")
        assert f"| {code:d} | " in reference


class TestColours:
    """What is no terminal gets none; `CliRunner` plays a terminal that takes them."""

    def shown(self, *words: str, **variables: str | None) -> str:
        nothing = dict.fromkeys(("NO_COLOR", "TERM"))
        return CliRunner().invoke(app, words, color=True, env={**nothing, **variables}, prog_name="recado").output

    def test_stand_in_help_and_errors(self) -> None:
        assert "\x1b[36m" in self.shown("queue", "--help")
        assert "\x1b[31m\x1b[1mError:\x1b[0m No such command" in self.shown("queu")

    @pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
    def test_can_be_switched_off(self, name: str, value: str) -> None:
        assert "\x1b" not in self.shown("queue", "--help", **{name: value}) + self.shown("queu", **{name: value})

    def test_do_not_change_where_things_stand(self) -> None:
        plain = re.sub(r"\x1b\[\d*m", "", self.shown("numbers", "add", "--help"))
        assert plain == Recado({}).says("numbers", "add", "--help")


class TestAnErrorAsJson:
    def error(self, ended: Result) -> object:
        document: dict[str, object] = json.loads(ended.stdout)
        assert list(document) == ["error"]
        return document["error"]

    def test_has_the_code_and_the_sentence_that_stands_on_standard_error(self, recado: Recado) -> None:
        ended = recado("numbers", "list", "--owner", NOBODY, "--json")
        assert self.error(ended) == {"code": "core.not_found", "message": f"there is no owner {NOBODY}"}
        assert (ended.exit_code, ended.stderr) == (1, f"Error: there is no owner {NOBODY}\n")

    def test_is_given_for_a_wrong_command_line_too(self, recado: Recado) -> None:
        ended = recado("numbers", "list", "--json")
        assert self.error(ended) == {"code": "cli.usage", "message": "Missing option '--owner'."}
        assert ended.exit_code == 2

    def test_is_given_for_wrong_settings(self, recado: Recado) -> None:
        ended = recado("queue", "stats", "--json", RECADO_LEASE_SECONDS="0")
        assert "RECADO_LEASE_SECONDS is 0" in str(self.error(ended))
        assert ended.exit_code == 2

    def test_comes_never_beside_a_document(self, recado: Recado) -> None:
        dead = recado.many("queue", "dead")
        newest = recado("queue", "retry", dead[0]["id"], "--json")
        assert newest.exit_code == 1
        assert set(json.loads(newest.stdout)) == {"retried", "refused"}


class TestCompletion:
    @pytest.mark.parametrize(
        ("typed_so_far", "completed"),
        [("recado num", ["numbers"]), ("recado queue re", ["retry"]), ("recado queue retry --f", ["--force"])],
    )
    def test_names_what_may_follow(self, typed_so_far: str, completed: Sequence[str]) -> None:
        words = {"COMP_WORDS": typed_so_far, "COMP_CWORD": str(len(typed_so_far.split()) - 1)}
        assert Recado({}).says(_RECADO_COMPLETE="complete_bash", **words).split() == completed

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_is_switched_on_by_a_script(self, shell: str) -> None:
        assert f"_RECADO_COMPLETE=complete_{shell}" in Recado({}).says("completion", shell)


class TestPortuguese:
    def test_is_spoken_where_the_locale_is(self) -> None:
        assert Recado({"LC_ALL": "pt_BR.UTF-8"}).says("queue", "--help").startswith("Uso: recado queue")
        assert Recado({"LC_ALL": "en_US.UTF-8", "LANG": "pt_BR"}).says("queue", "--help").startswith("Usage: recado")

    def test_is_spoken_of_wrong_command_lines(self) -> None:
        recado = Recado({"LANG": "pt_BR.UTF-8", "LC_ALL": "", "LC_MESSAGES": ""})
        assert "Erro: Não existe o comando 'queu'. Você quis dizer 'queue'?\n" in recado.refuses("queu", status=2)
        assert "Erro: Falta a opção '--owner'.\n" in recado.refuses("numbers", "list", status=2)
        wrong = recado.refuses("users", "list", "--owner", "padaria", status=2)
        assert "Erro: Valor inválido para '--owner': 'padaria' não é um id; um id é como" in wrong


def test_the_version_can_be_asked() -> None:
    assert Recado({}).says("--version").startswith("recado 0.")


def test_a_wrong_command_gets_a_suggestion() -> None:
    assert "Did you mean 'queue'?" in Recado({}).refuses("queu", status=2)


def test_nothing_typed_shows_what_there_is() -> None:
    assert "Commands:" in Recado({}).refuses("orphans", status=2)


def test_all_wrong_settings_are_reported_at_once(environment: Mapping[str, str]) -> None:
    recado = Recado({**environment, "RECADO_SECRET_KEY": "short", "RECADO_LEASE_SECONDS": "0"})
    sentences = recado.refuses("queue", "stats", status=2)
    assert "2 settings must be fixed" in sentences
    assert "RECADO_LEASE_SECONDS is 0" in sentences
    assert "Traceback" not in sentences


def test_a_database_that_cannot_be_opened_gets_a_sentence(recado: Recado) -> None:
    sentence = recado.refuses("queue", "stats", RECADO_DATABASE_URL="sqlite:////nowhere/recado.db", status=2)
    assert sentence == "Error: RECADO_DATABASE_URL names a file in /nowhere, and there is no such directory\n"


def test_an_id_that_is_none_gets_a_sentence(recado: Recado) -> None:
    assert "'padaria' is not an id" in recado.refuses("users", "list", "--owner", "padaria", status=2)


def test_logs_go_to_standard_error_and_only_if_asked_for(recado: Recado, tmp_path: Path) -> None:
    loud = recado("migrate", "--json", RECADO_LOG_LEVEL="info", RECADO_DATABASE_URL=f"sqlite:///{tmp_path}/loud.db")
    assert json.loads(loud.stdout)["migrated"] is True
    assert "migrations.done" in loud.stderr
    quiet = recado("migrate", "--json", RECADO_DATABASE_URL=f"sqlite:///{tmp_path}/quiet.db")
    assert (json.loads(quiet.stdout), quiet.stderr) == (json.loads(loud.stdout), "")

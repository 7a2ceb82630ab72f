import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.entrypoints.cli.conftest import Recado

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

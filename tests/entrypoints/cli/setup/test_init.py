"""`recado init` in an empty folder."""

import json
import os
import pty
import select
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from recado.entrypoints.environment import read_environment_file
from recado.settings import load_settings
from tests.entrypoints.cli.conftest import TOKEN, Recado
from tests.support.patience import PATIENCE
from tests.support.servers.postgres import PostgresServer

NUMBER = "whatsapp:+14155238886"
ACCOUNT = "AC" + "a" * 32
EMAIL = ("--email", "ana@padaria.example")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder, after which the environment is as it was."""
    monkeypatch.chdir(tmp_path)
    with patch.dict(os.environ):
        yield tmp_path


@pytest.fixture
def recado(folder: Path) -> Recado:  # noqa: ARG001 - where it is typed
    """Commands without any variable of Recado's."""
    return Recado({})


def written(folder: Path) -> dict[str, str]:
    return dict(read_environment_file(folder / "recado.env"))


class TestTheFile:
    def test_has_a_new_key_and_is_its_owners_alone(self, recado: Recado, folder: Path) -> None:
        before = os.umask(0)
        try:
            recado.says("init")
        finally:
            os.umask(before)
        assert stat.S_IMODE((folder / "recado.env").stat().st_mode) == 0o600
        assert load_settings(written(folder), purpose="serve").secret_key is not None

    def test_has_another_key_each_time(self, recado: Recado, folder: Path) -> None:
        keys = []
        for _ in range(2):
            with patch.dict(os.environ):
                recado.says("init")
            keys.append(written(folder)["RECADO_SECRET_KEY"])
            (folder / "recado.env").unlink()
        assert keys[0] != keys[1]

    def test_stays_as_it_is_when_init_is_typed_again(self, recado: Recado, folder: Path) -> None:
        recado.says("init")
        before = (folder / "recado.env").read_bytes()
        assert recado.one("init")["written"] == []
        assert (folder / "recado.env").read_bytes() == before

    def test_that_lacks_something_gets_it_added_and_is_closed_to_others(self, recado: Recado, folder: Path) -> None:
        (folder / "recado.env").write_text("RECADO_LEASE_SECONDS=20")
        (folder / "recado.env").chmod(0o644)
        recado.says("init")
        assert written(folder)["RECADO_LEASE_SECONDS"] == "20"
        assert "RECADO_SECRET_KEY" in written(folder)
        assert stat.S_IMODE((folder / "recado.env").stat().st_mode) == 0o600

    def test_repeats_nothing_that_a_variable_says(self, recado: Recado, folder: Path) -> None:
        recado.says("init", RECADO_SECRET_KEY="A" * 43, RECADO_PUBLIC_URL="https://recado.example.com")
        assert not (folder / "recado.env").exists()

    def test_is_not_written_with_what_cannot_be_used(self, recado: Recado, folder: Path) -> None:
        assert "RECADO_PUBLIC_URL must begin with https://" in recado.refuses(
            "init", "--public-url", "http://recado.example.com", status=2
        )
        assert "'padaria' is not a phone number" in recado.refuses("init", *EMAIL, "--number", "padaria")
        assert list(folder.iterdir()) == []

    def test_keeps_a_value_that_differs_from_the_one_given(self, recado: Recado, folder: Path) -> None:
        recado.says("init", "--public-url", "https://recado.example.com")
        with patch.dict(os.environ):
            os.environ.pop("RECADO_PUBLIC_URL", None)
            refused = recado.refuses("init", "--public-url", "https://other.example.com")
        assert "RECADO_PUBLIC_URL is set already" in refused
        assert written(folder)["RECADO_PUBLIC_URL"] == "https://recado.example.com"


class TestWhatIsStored:
    def test_is_a_number_with_an_owner_and_an_agent_on_the_emulator(self, recado: Recado, folder: Path) -> None:
        made = recado.one("init", *EMAIL, "--number", NUMBER)
        [number] = recado.many("numbers", "list", "--owner", made["owner_id"])
        assert (number["number_id"], number["address"], number["problem"]) == (made["number_id"], NUMBER, None)
        [agent] = recado.many("agents", "list", "--owner", made["owner_id"])
        assert (agent["agent"], agent["active"]) == ("echo", True)
        assert written(folder)["RECADO_TWILIO_API_URL"] == "http://127.0.0.1:8010"

    def test_is_an_account_of_twilios_with_its_token(self, recado: Recado, folder: Path) -> None:
        words = ["init", *EMAIL, "--number", NUMBER, "--account-sid", ACCOUNT, "--auth-token-env", "TOKEN"]
        made = recado.one(*words, TOKEN=TOKEN)
        [number] = recado.many("numbers", "list", "--owner", made["owner_id"])
        assert number["account_ref"] == ACCOUNT
        assert "RECADO_TWILIO_API_URL" not in written(folder)

    def test_is_stored_once(self, recado: Recado) -> None:
        first, again = (recado.one("init", *EMAIL, "--number", NUMBER) for _ in range(2))
        assert (first["owner_id"], first["number_id"]) == (again["owner_id"], again["number_id"])
        assert "password" in first
        assert "password" not in again

    def test_gets_the_password_that_is_given(self, recado: Recado) -> None:
        assert "password" not in recado.one("init", *EMAIL, "--password-env", "PW", PW="pão quente às seis")
        assert (
            "among the first that are guessed"
            in recado("init", "--email", "b@c.example", "--password-env", "PW", PW="password").stderr
        )

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["--number", NUMBER], "--number needs --email"),
            (["--account-sid", ACCOUNT], "--account-sid needs --number"),
            ([*EMAIL, "--number", NUMBER, "--account-sid", ACCOUNT], "--account-sid needs --auth-token-env"),
            ([*EMAIL, "--number", NUMBER, "--auth-token-env", "T"], "--auth-token-env needs --account-sid"),
        ],
    )
    def test_needs_what_belongs_together(self, recado: Recado, folder: Path, words: list[str], sentence: str) -> None:
        assert sentence in recado.refuses("init", *words, T=TOKEN)
        assert list(folder.iterdir()) == []


def test_it_begins_on_postgresql_too(recado: Recado, folder: Path, postgres_server: PostgresServer) -> None:
    url = postgres_server.make()
    made = recado.one("init", *EMAIL, "--number", NUMBER, "--database-url", url)
    assert [each["owner_id"] for each in recado.many("org", "list")] == [made["owner_id"]]
    assert written(folder)["RECADO_DATABASE_URL"] == url


def test_what_to_type_next_is_said(recado: Recado) -> None:
    said = recado.says("init", *EMAIL, "--number", NUMBER)
    assert "recado serve --with-worker\n" in said
    assert f"recado emulator --number {NUMBER} --webhook http://127.0.0.1:8000/webhooks/twilio/messages\n" in said


def test_a_person_at_a_terminal_is_asked(folder: Path) -> None:
    """In Portuguese, with an empty answer wherever there is a default."""
    child, terminal = pty.fork()
    if child == 0:
        env = {name: value for name, value in os.environ.items() if not name.startswith("RECADO_")}
        os.chdir(folder)
        os.execve(  # noqa: S606 - our own command
            sys.executable, [sys.executable, "-m", "recado", "init"], env | {"LC_ALL": "pt_BR.UTF-8", "NO_COLOR": "1"}
        )
    said = ""
    answers = {"E-mail": "ana@padaria.example", "organização": "", "Senha": "", "Endereço": "", "SID": "", "Número": ""}
    for question, answer in answers.items():
        said += read_until(terminal, question)
        os.write(terminal, f"{answer}\n".encode())
    said += read_until(terminal, "emulator send", "\n")
    os.waitpid(child, 0)
    assert "A senha de ana@padaria.example, mostrada só agora:" in said
    assert "O id da organização" in said
    assert json.dumps(written(folder)).count("RECADO_") == 3


def read_until(terminal: int, words: str, end: str = " ") -> str:
    """Read until the words and after them `end`: what is typed before a hidden question is complete would be lost."""
    said = ""
    while words not in said or not said.endswith(end):
        assert select.select([terminal], [], [], PATIENCE)[0], said
        said += os.read(terminal, 4096).decode(errors="replace")
    return said

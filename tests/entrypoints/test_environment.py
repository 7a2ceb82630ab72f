"""The variables that `recado.env` and `.env` in the working folder add."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from unittest.mock import patch

import pytest

from recado.core.errors import ConfigurationError
from recado.entrypoints.environment import EnvironmentFileUnusable, assignment, environment, read_environment_file
from tests.entrypoints.cli.conftest import Recado
from tests.support.rights import modes_count

KEY = "A" * 43


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """What a test adds to the environment is gone after it."""
    with patch.dict(os.environ):
        yield


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


RECADO: Final = Recado({})
"""Commands without any variable of Recado's."""


class TestTheFiles:
    def test_are_read_by_commands(self, folder: Path) -> None:
        (folder / "recado.env").write_text(f"RECADO_SECRET_KEY={KEY}\n")
        (folder / ".env").write_text("RECADO_DATABASE_URL=sqlite:///here.db\n")
        assert RECADO("migrate").exit_code == 0
        assert (folder / "here.db").exists()

    def test_lose_against_a_variable_and_recado_env_wins_over_the_other(self, folder: Path) -> None:
        (folder / "recado.env").write_text("RECADO_A=ours\nRECADO_B=ours\n")
        (folder / ".env").write_text("RECADO_A=theirs\nRECADO_B=theirs\nRECADO_C=theirs\n")
        os.environ["RECADO_A"] = "mine"
        found = environment()
        assert [found[f"RECADO_{name}"] for name in "ABC"] == ["mine", "ours", "theirs"]

    def test_are_seen_by_the_processes_that_this_one_starts(self, folder: Path) -> None:
        (folder / ".env").write_text("OTEL_SERVICE_NAME=recado\n")
        environment()
        assert os.environ["OTEL_SERVICE_NAME"] == "recado"

    def test_may_both_be_missing(self, folder: Path) -> None:
        assert environment() == dict(os.environ)
        assert list(folder.iterdir()) == []

    def test_hold_tokens_too(self, folder: Path) -> None:
        (folder / "recado.env").write_text(f"RECADO_SECRET_KEY={KEY}\nPASSWORD='pão quente às seis'\n")
        assert RECADO("migrate").exit_code == 0
        words = ["org", "register", "--name", "P", "--email", "p@padaria.example", "--password-env", "PASSWORD"]
        assert "Registered P" in RECADO.says(*words)

    @pytest.mark.slow
    def test_are_not_the_demos(self, folder: Path) -> None:
        (folder / "recado.env").write_text("RECADO_QUEUE_BACKEND=nonsense\n")
        script = folder / "script.yaml"
        script.write_text('steps:\n  - say: "Vocês abrem no domingo?"\n    expect: ["domingo"]\n')
        words = [sys.executable, "-m", "recado", "demo", "--script", str(script)]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr

    def test_do_not_keep_help_from_being_shown(self, folder: Path) -> None:
        (folder / "recado.env").write_text("what is this\n")
        assert "Create the database" in RECADO.says("migrate", "--help")


class TestALine:
    @pytest.mark.parametrize(
        ("line", "value"),
        [
            ("A=b", "b"),
            ("export A=b", "b"),
            (" A = b  # why", "b"),
            ("A=b#c", "b#c"),
            ("A=", ""),
            ("A='b # c'", "b # c"),
            ('A="b \\"c\\"\\nd"  # why', 'b "c"\nd'),
            ("A=b=c", "b=c"),
        ],
    )
    def test_is_read_as_a_shell_would(self, folder: Path, line: str, value: str) -> None:
        (folder / "recado.env").write_text(f"# a comment\n\n{line}\n")
        assert read_environment_file(folder / "recado.env") == {"A": value}

    @pytest.mark.parametrize("line", ["nonsense", "A='open", "1A=b"])
    def test_that_is_none_is_named_in_our_file_and_skipped_in_the_other(self, folder: Path, line: str) -> None:
        for name in ("recado.env", ".env"):
            (folder / name).write_text(f"B=c\n{line}\n")
        assert read_environment_file(folder / ".env") == {"B": "c"}
        with pytest.raises(EnvironmentFileUnusable, match=r"recado\.env, line 2: write it as NAME=value"):
            read_environment_file(folder / "recado.env")

    @pytest.mark.parametrize("value", ["sqlite:////var/lib/recado.db", "postgresql://u:p%40s@h/n?x=y", KEY + "="])
    def test_that_is_written_means_the_same_to_a_shell(self, folder: Path, value: str) -> None:
        line = assignment("A", value)
        (folder / "recado.env").write_text(line)
        assert read_environment_file(folder / "recado.env") == {"A": value}
        assert shlex.split(line) == [f"A={value}"]

    @pytest.mark.parametrize("value", ["a b", "$(reboot)", "é", "a\nB=c", "'"])
    def test_is_not_written_with_what_they_read_differently(self, value: str) -> None:
        with pytest.raises(ConfigurationError, match="A has characters"):
            assignment("A", value)


class TestAFileThatCannotBeUsed:
    def test_is_named(self, folder: Path) -> None:
        (folder / "recado.env").write_bytes(b"A=\xff\n")
        assert RECADO.refuses("org", "list", status=2) == "Error: recado.env is not a text file in UTF-8\n"
        assert "recado.env is not a text file" in RECADO("doctor").stderr

    def test_because_of_its_mode_is_named(self, folder: Path) -> None:
        (folder / "recado.env").touch(mode=0)
        with modes_count(), pytest.raises(EnvironmentFileUnusable, match="permission denied"):
            environment()

    def test_because_a_stranger_owns_it_is_refused(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / ".env").write_text("RECADO_DATABASE_URL=postgresql://elsewhere/x\n")
        if os.geteuid() == 0:
            os.chown(folder / ".env", 12345, 12345)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: 12345)
        with pytest.raises(EnvironmentFileUnusable, match="belongs to another user"):
            environment()

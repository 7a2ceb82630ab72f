"""A copy can be worked with."""

from pathlib import Path

from recado.migrations import HEAD
from tests.entrypoints.cli.conftest import Recado


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
            f"Error: {file} exists already and is not overwritten: name another file\n"
        )

"""Documents are added, listed, searched and removed."""

from pathlib import Path

import pytest

from tests.entrypoints.cli.conftest import NOBODY, Recado


@pytest.fixture
def opening_hours(tmp_path: Path) -> Path:
    file = tmp_path / "horarios.md"
    file.write_text("# Horários\n\nAbrimos às 8h e fechamos às 20h.\n", "utf-8")
    return file


class TestKnowledge:
    def test_documents_are_added_listed_found_and_removed(
        self, recado: Recado, owner: str, opening_hours: Path
    ) -> None:
        mine = ["--owner", owner]
        assert recado.one("knowledge", "add", *mine, opening_hours) == {"documents": 1, "chunks": 1}
        [document] = recado.many("knowledge", "list", *mine)
        assert (document["name"], document["chunks"]) == ("horarios.md", 1)
        [passage] = recado.many("knowledge", "search", *mine, "a que horas abre?")
        assert "Abrimos às 8h" in str(passage["text"])
        assert recado.one("knowledge", "remove", *mine, "horarios.md") == {"removed": "horarios.md"}
        assert recado.says("knowledge", "search", *mine, "abre?") == "No passage matches.\n"

    def test_a_file_that_is_not_there_gets_a_sentence(self, recado: Recado, owner: str, tmp_path: Path) -> None:
        sentence = recado.refuses("knowledge", "add", "--owner", owner, tmp_path / "none.md")
        assert sentence.endswith("none.md does not exist\n")

    def test_of_many_files_all_are_added_or_none(
        self, recado: Recado, owner: str, opening_hours: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "empty.md").write_bytes(b"")
        refused = recado.refuses("knowledge", "add", "--owner", owner, opening_hours, tmp_path / "empty.md")
        assert "'empty.md' holds no text" in refused
        assert recado.many("knowledge", "list", "--owner", owner) == []

    def test_two_files_of_one_name_get_a_sentence(
        self, recado: Recado, owner: str, opening_hours: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "other").mkdir()
        other = tmp_path / "other" / opening_hours.name
        other.write_text("Fechado.", "utf-8")
        refused = recado.refuses("knowledge", "add", "--owner", owner, opening_hours, other)
        assert "two of the files are called horarios.md" in refused

    def test_a_file_that_is_no_text_gets_a_sentence(self, recado: Recado, owner: str, tmp_path: Path) -> None:
        (tmp_path / "photo.png").write_bytes(b"\x89PNG\x00\x01")
        sentence = recado.refuses("knowledge", "add", "--owner", owner, tmp_path / "photo.png")
        assert sentence.startswith("Error: ")
        assert "photo.png" in sentence

    def test_removing_what_is_not_there_gets_a_sentence(self, recado: Recado, owner: str) -> None:
        assert "there is no document 'x.md'" in recado.refuses("knowledge", "remove", "--owner", owner, "x.md")

    def test_an_unknown_owner_gets_a_sentence(self, recado: Recado, opening_hours: Path) -> None:
        sentence = recado.refuses("knowledge", "add", "--owner", NOBODY, opening_hours)
        assert sentence == f"Error: there is no owner {NOBODY}\n"

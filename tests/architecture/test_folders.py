"""A folder holds at most a dozen files; one that grows past that has found its next room."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
MOST: Final = 12
LISTS: Final = ("migrations/versions", "migrations/revisions")
"""Folders that are a list by number: revisions are kept, and a reader finds one by its name."""


def crowded(root: Path) -> Iterator[str]:
    """Yield each folder below `root` with more than a dozen Python files, `__init__.py` not counted."""
    for folder in sorted({file.parent for file in root.rglob("*.py")}):
        files = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
        if len(files) > MOST and not str(folder).endswith(LISTS):
            yield f"{folder.relative_to(root)}: {len(files)} files"


def test_no_folder_has_more_than_a_dozen_files() -> None:
    assert [each for name in ("src", "tests", "bench") for each in crowded(ROOT / name)] == []


def test_a_crowded_folder_is_found(tmp_path: Path) -> None:
    for number in range(MOST + 1):
        (tmp_path / f"file_{number}.py").touch()
    (tmp_path / "__init__.py").touch()
    assert list(crowded(tmp_path)) == [".: 13 files"]

"""The layers of a module and the names of classes: a planted import or statement is found."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture import sql_builders

ROOT = Path(__file__).parents[2]
PLANTED = [
    ("identity/repository.py", "from recado.identity.owners import OwnerService"),
    ("identity/repository.py", "from recado.entrypoints.api.health import add_health"),
    ("channels/repository.py", "from recado.channels.orphans import OrphanService"),
    ("channels/twilio/webhook/service.py", "from recado.channels.twilio.webhook.routes import TwilioWebhooks"),
    ("conversation/repository.py", "from recado.conversation.people.handoff import HandOffService"),
    ("core/queue/storage/tables.py", "from recado.core.queue.service import QueueService"),
]


def lint_imports(source: Path) -> "subprocess.CompletedProcess[str]":
    """Run import-linter with the contracts of this repository on another copy of the package."""
    command = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [command, "--config", ROOT / "pyproject.toml", "--no-cache"],
        env={"PYTHONPATH": str(source), "PATH": "/usr/bin:/bin"},
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("file", "line"), PLANTED, ids=[f"{file}<-{line.split()[1]}" for file, line in PLANTED])
def test_an_import_of_a_higher_layer_is_found(tmp_path: Path, file: str, line: str) -> None:
    shutil.copytree(ROOT / "src" / "recado", tmp_path / "recado")
    planted = tmp_path / "recado" / file
    planted.write_text(planted.read_text("utf-8") + f"\n{line}\n", "utf-8")
    ended = lint_imports(tmp_path)
    assert (ended.returncode, "is not allowed to import" in ended.stdout) == (1, True), ended.stdout


def test_sql_is_built_in_its_rooms_only() -> None:
    assert sql_builders.problems() == []


@pytest.mark.parametrize(
    ("file", "line", "found"),
    [
        ("identity/owners.py", "from sqlalchemy import select", 1),
        ("entrypoints/cli/org/org.py", "from sqlalchemy import func, text", 2),
        ("agents/service.py", "from recado.core.database.prepared import Prepared", 1),
        ("agents/service.py", "import sqlalchemy", 1),
        ("identity/owners.py", "from sqlalchemy.exc import IntegrityError", 0),
        ("identity/repository.py", "from sqlalchemy import select", 0),
        ("core/queue/storage/leases.py", "from sqlalchemy import select", 0),
        ("core/database/sqlite/writer.py", "from sqlalchemy import text", 0),
    ],
)
def test_a_statement_elsewhere_is_found(tmp_path: Path, file: str, line: str, found: int) -> None:
    planted = tmp_path / file
    planted.parent.mkdir(parents=True)
    planted.write_text(f"{line}\n", "utf-8")
    assert len(sql_builders.problems(tmp_path)) == found


def test_no_two_classes_share_a_name() -> None:
    classes: dict[str, list[str]] = {}
    for file in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, []).append(file.relative_to(ROOT).as_posix())
    assert {name: files for name, files in classes.items() if len(files) > 1} == {}

from pathlib import Path
from textwrap import dedent

import pytest

FIRST = """
def upgrade() -> None:
    op.create_table("shops", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String))
    op.create_table(
        "loaves",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("shop_id", sa.Integer, sa.ForeignKey("shops.id", ondelete="CASCADE"), nullable=False),
    )
"""
SECOND = """
def upgrade() -> None:
    with op.batch_alter_table("shops", recreate="always") as shops:
        shops.add_column(sa.Column("city", sa.String))
"""


class Versions:
    """A small directory with the test's own revisions."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, revision: str, upgrade: str) -> None:
        before = f"{int(revision) - 1:04}"
        after = repr(before) if int(before) else "None"
        head = f"import sqlalchemy as sa\nfrom alembic import op\nrevision = {revision!r}\ndown_revision = {after}\n"
        (self.path / f"{revision}_step.py").write_text(head + dedent(upgrade))


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    path = tmp_path / "versions 100%"
    path.mkdir()
    made = Versions(path)
    made.add("0001", FIRST)
    made.add("0002", SECOND)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recado.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"

"""Refuse SQL builders outside repositories, tables, readings and storage (`python -m tests.architecture.sql_builders`).

Services and entry points read like the steps of what they do; the statements are where one looks for statements.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).parents[2] / "src" / "recado"
ROOMS: Final = frozenset({"repository.py", "tables.py", "reading.py", "inspection.py"})
FOLDERS: Final = frozenset({"storage", "migrations", "reading"})
DATABASE: Final = ("core", "database")
BUILDERS: Final = frozenset(
    {"and_", "bindparam", "case", "cast", "column", "delete", "exists", "func", "insert", "literal", "not_", "or_"}
    | {"select", "table", "text", "tuple_", "union", "union_all", "update", "values"}
    | {"Prepared", "inserting", "param"}
)


def problems(source: Path = SOURCE) -> list[str]:
    """Return a sentence for each import of an SQL builder in a file that may not build SQL."""
    return [problem for file in sorted(source.rglob("*.py")) for problem in _problems_of(file, source)]


def may_build_sql(file: Path) -> bool:
    """Return whether a file (its path inside the package) is a room for SQL."""
    return file.name in ROOMS or bool(FOLDERS & set(file.parts)) or file.parts[:2] == DATABASE


def _problems_of(file: Path, source: Path) -> Iterator[str]:
    inside = file.relative_to(source)
    if may_build_sql(inside):
        return
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and _is_of_database(node.module or ""):
            for name in sorted(BUILDERS & {each.name for each in node.names}):
                yield f"{inside}:{node.lineno}: {name} builds SQL; put the statement into a repository or reading.py"
        if isinstance(node, ast.Import) and any(each.name.startswith("sqlalchemy") for each in node.names):
            yield f"{inside}:{node.lineno}: import names from sqlalchemy one by one"


def _is_of_database(module: str) -> bool:
    return module.partition(".")[0] == "sqlalchemy" or module.startswith("recado.core.database")


if __name__ == "__main__":
    found = problems()
    print("\n".join(found) or "SQL is built in its rooms only.")  # noqa: T201 - a check of `make check`
    sys.exit(bool(found))

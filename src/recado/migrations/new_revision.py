"""Write the next revision: `python -m recado.migrations.new_revision "what changes"`.

It migrates an empty file to the newest revision, compares it with the tables in code, writes the difference as the next
number and changes HEAD. Read what it wrote: a renamed column looks like one dropped and one added, and views are not
seen at all. A revision of `message_queue` or `lanes` drops `message_queue_view` first and creates it again at its end.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from alembic import command
from alembic.operations import MigrationScript
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, make_url

from recado.core.database.sqlite.connections import sqlite_engine
from recado.migrations.runner import SCRIPTS, VERSIONS, alembic_config, migrate_sqlite

HEAD_FILE: Final = SCRIPTS / "__init__.py"
_HEAD: Final = re.compile(r"^(HEAD: [^=]+ = ).*$", re.MULTILINE)


def new_revision(
    message: str, metadata: MetaData, *, versions: Path = VERSIONS, head_file: Path = HEAD_FILE
) -> Path | None:
    """Write the next revision. Return its file, or None when the tables are as the newest revision leaves them."""
    newest = newest_revision(versions)
    number = f"{int(newest or 0) + 1:04}"
    with TemporaryDirectory() as directory:
        written = _write(message, metadata, versions, f"sqlite:///{directory}/empty.db", newest, number)
    if written is not None:
        head_file.write_text(_HEAD.sub(rf'\g<1>"{number}"', head_file.read_text("utf-8")), "utf-8")
    return written


def newest_revision(versions: Path = VERSIONS) -> str | None:
    """Return the newest revision by the files themselves."""
    return ScriptDirectory.from_config(alembic_config(None, None, versions)).get_current_head()


def _write(
    message: str, metadata: MetaData, versions: Path, empty_url: str, newest: str | None, number: str
) -> Path | None:
    migrate_sqlite(empty_url, lambda: metadata, versions=versions, head=newest)
    engine = sqlite_engine(make_url(empty_url), create=True)
    try:
        with engine.connect() as connection:
            config = alembic_config(connection, metadata, versions)
            config.attributes["directives"] = _nothing_if_empty
            script = command.revision(config, message, autogenerate=True, rev_id=number)
    finally:
        engine.dispose()
    return Path(script.path) if script and not isinstance(script, list) else None


def _nothing_if_empty(_context: MigrationContext, _revision: object, directives: list[MigrationScript]) -> None:
    operations = directives[0].upgrade_ops
    if operations is not None and operations.is_empty():
        directives.clear()


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or not arguments[0].strip():
        sys.stderr.write('Say in a few words what changes: python -m recado.migrations.new_revision "add opt-outs"\n')
        return 2
    from recado.bootstrap import metadata

    written = new_revision(arguments[0], metadata())
    if written is None:
        sys.stdout.write("The tables are as the newest revision leaves them; nothing was written.\n")
    else:
        sys.stdout.write(f"Wrote {written}; read it, then run make format.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`recado migrate`: bring the database to this release's schema."""

from dataclasses import asdict

from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import print_result
from recado.entrypoints.cli.running import settings_for


def migrate(as_json: AsJson = False) -> None:
    """Bring the database to this release's schema; an SQLite file that is not there is made, and no other command but
    `serve` makes one. On SQLite every later start migrates by itself."""
    settings = settings_for("cli")
    from recado.bootstrap import metadata
    from recado.migrations.startup import migrate as bring

    result = bring(settings.database_url, metadata)
    words = f"The database was at schema {result.before or 'none'} and is at {result.after} now."
    if not result.migrated:
        words = f"The database is at schema {result.after}, as this release wants it."
    print_result(asdict(result), words, as_json=as_json)

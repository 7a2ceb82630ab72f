"""`recado migrate`: bring the database to this release's schema."""

from dataclasses import asdict

from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import print_result
from recado.entrypoints.cli.running import settings_for
from recado.entrypoints.cli.waiting import waiting


def migrate(as_json: AsJson = False) -> None:
    """Create the database or bring it to this release's schema.

    Only this command and `serve` create a missing SQLite file. On SQLite every later start migrates by itself.
    """
    settings = settings_for("cli")
    from recado.bootstrap import metadata
    from recado.migrations.startup import migrate as bring

    with waiting():
        result = bring(settings.database_url, metadata)
    words = f"The database was at schema {result.before or 'none'} and is at {result.after} now."
    if not result.migrated:
        words = f"The database is at schema {result.after}, the schema of this release."
    print_result(asdict(result), words, as_json=as_json)

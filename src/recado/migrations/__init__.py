"""How the schema came to be, one numbered revision after the other, and how a database gets there.

Revisions only go forward: release N runs on the schema of N + 1, so a release is taken back by starting the older
program, never by undoing its schema. The numbers are what lets an old program tell one step ahead from many.
"""

from typing import Final

HEAD: Final[str | None] = "0100"
"""The newest revision, kept here so that a start can compare it without loading Alembic; a test holds the two equal."""
OLDEST: Final = "0100"
"""The first revision that a release can migrate from. Revisions before it were made by unreleased versions only."""

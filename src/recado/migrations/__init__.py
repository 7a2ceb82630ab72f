"""The schema's numbered revisions, and how a database gets to the newest one.

Revisions only go forward: release N runs on the schema of N + 1, so a release is taken back by starting the older
program, never by undoing its schema. By the numbers an old program tells one step ahead from several.
"""

from typing import Final

HEAD: Final[str | None] = "0115"
"""The newest revision, kept here so that a start can compare it without loading Alembic; a test keeps the two equal."""
OLDEST: Final = "0100"
"""The first revision that a release can migrate from. Older ones were made by unreleased versions only."""

"""Tenants search by themselves on PostgreSQL.

No table changes. With a new revision `recado migrate` makes the function that they search with (`functions.py` in the
folder above), and processes wait until it has.
"""

revision = "0109"
down_revision = "0108"


def upgrade() -> None:
    pass

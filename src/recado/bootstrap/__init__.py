"""The container of the product (`container.py`) and how its parts are made."""

from recado.bootstrap.container import Container
from recado.bootstrap.databases import database_wakeups_of, metadata, open_database
from recado.bootstrap.parts import SCHEDULES

__all__ = ["SCHEDULES", "Container", "database_wakeups_of", "metadata", "open_database"]

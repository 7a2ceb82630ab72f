"""The SQLite driver in use, and whether its library is safe."""

import functools
import importlib
import sqlite3 as stdlib_sqlite3
from types import ModuleType

SAFE_SQLITE = (3, 51, 3)
"""Older versions have the WAL-reset bug, which can corrupt a database that several processes write."""


@functools.cache
def sqlite_module() -> ModuleType:
    """Return the SQLite driver in use: the bundled recent one where there is a wheel, else the standard library's."""
    try:
        return importlib.import_module("pysqlite3.dbapi2")
    except ImportError:  # There is no wheel for this platform; `sqlite_is_safe` tells whether that matters.
        return stdlib_sqlite3


def sqlite_is_safe() -> bool:
    """Return whether the SQLite library in use is free of the WAL-reset bug."""
    version: tuple[int, int, int] = sqlite_module().sqlite_version_info
    return version >= SAFE_SQLITE

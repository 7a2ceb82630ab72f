"""Import dependency-injector without the web framework that it would import.

Its decorators know FastAPI's parameters, so it imports FastAPI where it finds it: a third of a second and 15 MB in
every worker and every command. We use none of its decorators (decision 0006), so FastAPI is made to look as if it were
not installed while dependency-injector loads.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_OPTIONAL = ("fastapi.params", "starlette.requests")


@contextmanager
def _without_frameworks() -> Iterator[None]:
    """Make the optional modules fail to import:

    None in `sys.modules` does that. Modules that are loaded already stay.
    """
    hidden = [name for name in _OPTIONAL if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is documented for this
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _without_frameworks():
    from dependency_injector import containers, providers

__all__ = ["containers", "providers"]

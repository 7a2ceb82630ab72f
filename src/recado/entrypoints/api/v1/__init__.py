"""The routes of `/api/v1`, one router a subject."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastapi import APIRouter

from recado.entrypoints.api.door.routes import Door
from recado.entrypoints.api.v1.owners import owners_router

if TYPE_CHECKING:
    from recado.bootstrap import Container

PATH = "/api/v1"


def routers(container: "Container", door: Door) -> Iterator[APIRouter]:
    """Yield every router. Add yours here, by its subject's name."""
    yield owners_router(door, container.owners())

"""Endpoints and deliveries as people and programs read them."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import Integer, bindparam, text

from recado.core.database.engine import Database
from recado.core.database.pages import Page, before_id, page_by_id
from recado.core.database.prepared import Prepared, param
from recado.core.database.repository import owned
from recado.core.database.unit_of_work import UnitOfWork
from recado.events.models import Endpoint, EventDelivery
from recado.events.repository import Deliveries, Endpoints
from recado.events.tables import event_deliveries

PAGE: Final = 50
_OF_ENDPOINT = (
    owned(event_deliveries, EventDelivery)
    .where(
        event_deliveries.c.endpoint_id == bindparam("endpoint_id"),
        event_deliveries.c.id < param(event_deliveries.c.id, "before"),
    )
    .order_by(event_deliveries.c.id.desc())
    .limit(bindparam("most", type_=Integer))
)
_NEWEST = Prepared(_OF_ENDPOINT)
_NEWEST_UNDELIVERED = Prepared(_OF_ENDPOINT.where(text("event_deliveries.state <> 'delivered'")))
"""With the index's own condition: in a log in which all was delivered it reads nothing."""


class _Log(Deliveries):
    def page(self, endpoint_id: UUID, before: UUID, most: int, *, undelivered: bool) -> Sequence[EventDelivery]:
        statement = _NEWEST_UNDELIVERED if undelivered else _NEWEST
        return self._many(statement, endpoint_id=endpoint_id, before=before, most=most)


class EndpointReading:
    """Lists of endpoints, and what was delivered to each."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def endpoints(self, owner_id: UUID) -> Sequence[Endpoint]:
        """Return an owner's endpoints, the oldest first."""
        return await self._database.read(lambda uow: Endpoints(uow).in_order(), owner=owner_id)

    async def require(self, owner_id: UUID, endpoint_id: UUID) -> Endpoint:
        """Return an endpoint. Raises `NotFound`."""
        return await self._database.read(lambda uow: Endpoints(uow).require(endpoint_id), owner=owner_id)

    async def deliveries(
        self,
        owner_id: UUID,
        endpoint_id: UUID,
        *,
        undelivered: bool = False,
        limit: int = PAGE,
        cursor: str | None = None,
    ) -> Page[EventDelivery]:
        """Return deliveries to an endpoint, the newest first. Raises `NotFound` and `InvalidInput`."""
        before = before_id(cursor)

        def work(uow: UnitOfWork) -> Page[EventDelivery]:
            Endpoints(uow).require(endpoint_id)
            found = _Log(uow).page(endpoint_id, before, limit + 1, undelivered=undelivered)
            return page_by_id(found, limit)

        return await self._database.read(work, owner=owner_id)

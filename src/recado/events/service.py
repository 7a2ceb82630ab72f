"""What people and programs do with event endpoints: add, change, switch on and off, rotate the secret, send again."""

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.errors import InvalidInput, NotFound
from recado.core.event_log.models import EventType, valid_types
from recado.core.event_log.reading import Events
from recado.core.ids import Ids
from recado.core.outbound.addresses import checked_url, names_metadata, names_private_address
from recado.core.queue.transactions import Transaction, Transactions, UnlockedTransaction
from recado.events.delivering import SECRET
from recado.events.errors import EndpointDisabled, EndpointFull, TooManyEndpoints
from recado.events.fanout import Fanout
from recado.events.models import MOST_ENDPOINTS, MOST_WAITING, OLD_SECRET_FOR, Endpoint
from recado.events.repository import Deliveries, Endpoints
from recado.events.wire.signing import new_secret
from recado.identity import audit
from recado.identity.audit import AuditAction
from recado.identity.keys import KeyRing
from recado.identity.models import UNSET, Unset
from recado.identity.principal import Principal

KIND: Final = "event_endpoint"


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """An endpoint to be added. Without types it is sent every event. Only an operator may allow private addresses."""

    url: str
    types: Collection[str] | None = None
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class EndpointWithSecret:
    """An endpoint, and the secret that it is shown once."""

    endpoint: Endpoint
    secret: str = field(repr=False)


class EndpointService:
    """One method for each thing that can be done to an endpoint."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        keys: Callable[[], KeyRing],
        fanout: Fanout,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._keys = keys
        self._fanout = fanout
        self._random_bytes = random_bytes
        self._transactions = Transactions(database, clock, ids)

    async def add(self, principal: Principal, form: NewEndpoint) -> EndpointWithSecret:
        """Add an endpoint. It is sent what happens from now on. Raises `InvalidInput` and `TooManyEndpoints`."""
        url, types = _checked(form.url, private=form.allow_private), _types(form.types)
        secret = new_secret(self._random_bytes)

        def work(tx: Transaction) -> EndpointWithSecret:
            tx.uow.lock_by_name(f"endpoints of {principal.owner_id}")  # For the count.
            endpoints = Endpoints(tx.uow)
            if len(endpoints.in_order()) >= MOST_ENDPOINTS:
                raise TooManyEndpoints(f"an owner may have {MOST_ENDPOINTS} endpoints; remove one first")
            endpoint = Endpoint(
                id=tx.ids.new(),
                owner_id=principal.owner_id,
                url=url,
                types=types,
                allow_private=form.allow_private,
                secret_sealed=self._sealed(tx, principal.owner_id, secret),
                position=Events(tx.uow).newest_number(),
                created_at=tx.now,
                created_by=principal.name,
            )
            endpoints.add(endpoint)
            audit.record(tx, principal, "event_endpoint.added", KIND, endpoint.id)
            return EndpointWithSecret(endpoint, secret)

        return await self._transactions.write(work, owner=principal.owner_id)

    async def change(
        self,
        principal: Principal,
        endpoint_id: UUID,
        *,
        url: str | Unset = UNSET,
        types: Collection[str] | Unset | None = UNSET,
        check: Callable[[Endpoint], None] = lambda _: None,
    ) -> Endpoint:
        """Change where an endpoint is, or what it is sent. A new URL ends the breaker. `check` may refuse."""

        def columns(_tx: Transaction, endpoint: Endpoint) -> dict[str, object]:
            check(endpoint)
            changed: dict[str, object] = {}
            if url is not UNSET and url != endpoint.url:
                # What an operator allowed for one address is not allowed for another.
                changed |= {"url": _checked(url, private=False), "allow_private": False}
                changed |= {"failures": 0, "failing_since": None, "open_until": None}
            if types is not UNSET:
                changed["types"] = _types(types)
            return changed

        found = await self._change(principal, endpoint_id, "event_endpoint.changed", columns)
        if url is not UNSET:
            await self._fanout.resume(found.owner_id, found.id)
        return found

    async def disable(self, principal: Principal, endpoint_id: UUID) -> Endpoint:
        """Switch an endpoint off. What is on its way to it waits until it is switched on."""

        def columns(tx: Transaction, endpoint: Endpoint) -> dict[str, object]:
            return {} if endpoint.disabled_at else {"disabled_at": tx.now, "disabled_reason": "by_person"}

        return await self._change(principal, endpoint_id, "event_endpoint.disabled", columns)

    async def enable(self, principal: Principal, endpoint_id: UUID) -> Endpoint:
        """Switch an endpoint on. It is sent what waits for it, and what has happened since."""
        fresh = {"disabled_at": None, "disabled_reason": None, "failures": 0, "failing_since": None, "open_until": None}
        found = await self._change(principal, endpoint_id, "event_endpoint.enabled", lambda _tx, _endpoint: dict(fresh))
        await self._fanout.resume(found.owner_id, found.id)
        await self._fanout.advance(found.owner_id, found.id, steps=1)
        return found

    async def rotate(self, principal: Principal, endpoint_id: UUID) -> EndpointWithSecret:
        """Make a new secret. The one before signs too, for a day, so that the receiver can be changed in between."""
        secret = new_secret(self._random_bytes)

        def columns(tx: Transaction, endpoint: Endpoint) -> dict[str, object]:
            return {
                "secret_sealed": self._sealed(tx, endpoint.owner_id, secret),
                "previous_secret_sealed": endpoint.secret_sealed,
                "previous_until": tx.now + OLD_SECRET_FOR,
            }

        return EndpointWithSecret(await self._change(principal, endpoint_id, "event_endpoint.rotated", columns), secret)

    async def remove(self, principal: Principal, endpoint_id: UUID) -> None:
        """Remove an endpoint. Jobs under way find nothing to do."""

        def work(tx: Transaction) -> None:
            _held(tx, endpoint_id)
            Endpoints(tx.uow).remove(endpoint_id)
            audit.record(tx, principal, "event_endpoint.removed", KIND, endpoint_id)

        await self._transactions.write(work, owner=principal.owner_id)

    async def replay(self, principal: Principal, endpoint_id: UUID, *, since: datetime) -> Endpoint:
        """Send again what happened since a moment, in order and with the same ids. Raises `EndpointDisabled`."""

        # Read before: a search through a month of events must not hold the writer.
        before = await self._database.read(lambda uow: Events(uow).last_before(since), owner=principal.owner_id)

        def columns(_tx: Transaction, endpoint: Endpoint) -> dict[str, object]:
            _check_enabled(endpoint)
            return {"position": min(endpoint.position, before)}

        found = await self._change(principal, endpoint_id, "event_endpoint.replayed", columns)
        await self._fanout.advance(found.owner_id, found.id, steps=1)
        return found

    async def resend(self, principal: Principal, endpoint_id: UUID, event_id: UUID) -> None:
        """Send one event again, unless it is on its way. Raises `NotFound`, `EndpointDisabled` and `EndpointFull`."""

        def work(tx: UnlockedTransaction) -> None:
            endpoint = _held(tx, endpoint_id)
            _check_enabled(endpoint)
            event = Events(tx.uow).numbered(event_id)
            if event is None:
                raise NotFound(f"there is no event {event_id}")
            deliveries = Deliveries(tx.uow)
            if deliveries.is_waiting(endpoint_id, event):
                return
            if sum(each.count for each in deliveries.waiting_lanes(endpoint_id).values()) >= MOST_WAITING:
                raise EndpointFull(f"{MOST_WAITING} events wait for this endpoint; it must take some first")
            self._fanout.store(tx, endpoint, [event])
            audit.record(tx, principal, "event_endpoint.replayed", KIND, endpoint_id, {"event_id": str(event_id)})

        await self._transactions.write(work, owner=principal.owner_id)

    async def _change(
        self,
        principal: Principal,
        endpoint_id: UUID,
        action: AuditAction,
        columns: Callable[[Transaction, Endpoint], dict[str, object]],
    ) -> Endpoint:
        def work(tx: Transaction) -> Endpoint:
            changed = columns(tx, _held(tx, endpoint_id))
            if changed:
                Endpoints(tx.uow).change(endpoint_id, **changed)
                audit.record(tx, principal, action, KIND, endpoint_id)
            return Endpoints(tx.uow).require(endpoint_id)

        return await self._transactions.write(work, owner=principal.owner_id)

    def _sealed(self, tx: Transaction, owner_id: UUID, secret: str) -> bytes:
        return self._keys().of(tx.uow, owner_id).sealer.seal(secret, owner=owner_id, field=SECRET)


def _held(tx: Transaction, endpoint_id: UUID) -> Endpoint:
    found = Endpoints(tx.uow).held(endpoint_id)
    if found is None:
        raise NotFound(f"there is no event endpoint {endpoint_id}")
    return found


def _check_enabled(endpoint: Endpoint) -> None:
    if endpoint.disabled_at is not None:
        raise EndpointDisabled(f"endpoint {endpoint.id} is switched off; enable it first")


def _checked(url: str, *, private: bool) -> str:
    """Return a URL to which events may be sent."""
    found = checked_url("the URL", url, private=private)
    if names_metadata(found) or (not private and names_private_address(found)):
        raise InvalidInput("the URL names an address that is not public")
    return found


def _types(texts: Collection[str] | None) -> Sequence[EventType] | None:
    if texts is None:
        return None
    if not texts:
        raise InvalidInput("name a type of event, or none to be sent all of them")
    return valid_types(texts)

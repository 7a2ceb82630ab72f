"""Bulk operations: many dead letters, retried or discarded by a job that says how far it has come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias
from uuid import UUID

from recado.core.database.types import JsonValue
from recado.core.errors import Conflict, InvalidInput
from recado.identity.permissions import ALL
from recado.identity.principal import Principal, PrincipalKind

BulkKind: TypeAlias = Literal["retry", "discard"]
BulkState: TypeAlias = Literal["waiting", "running", "done", "failed"]

MAX_LETTERS: Final = 1_000
"""So many dead letters one bulk operation may name one by one."""

MAX_REFUSALS: Final = 100
"""So many refusals are kept with their reasons. All are counted."""


class RetryRefused(Conflict):
    """A retry could answer a customer twice or out of order, or the dead letter was handled before."""

    code = "operations.retry_refused"


@dataclass(frozen=True, slots=True)
class BulkOrder:
    """What is to be done: to the named dead letters, or to all present ones, of one job name if it is given."""

    kind: BulkKind
    letters: Sequence[UUID] | None = None
    job_name: str | None = None
    force: bool = False

    def checked(self) -> "BulkOrder":
        """Return the order with each dead letter named once. Raises `InvalidInput`."""
        if self.letters is None:
            return self
        letters = sorted(set(self.letters))
        if not 1 <= len(letters) <= MAX_LETTERS or self.job_name is not None:
            raise InvalidInput(f"name 1 to {MAX_LETTERS} dead letters by their ids, or all of a job name")
        return BulkOrder(self.kind, letters, None, self.force)


@dataclass(frozen=True, slots=True)
class RefusedLetter:
    """A dead letter with which nothing was done, and why."""

    id: UUID
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOperation:
    """An order that a job carries out, and how far it has come."""

    id: UUID
    owner_id: UUID
    kind: BulkKind
    force: bool
    letters: Sequence[str] | None
    job_name: str | None
    until: UUID
    position: UUID
    total: int
    succeeded: int
    refused: int
    refusals: Sequence[Mapping[str, JsonValue]]
    actor_kind: PrincipalKind
    actor_id: UUID | None
    actor_name: str
    source: str | None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str | None = None

    @property
    def state(self) -> BulkState:
        """How far it is, in a word."""
        if self.finished_at is not None:
            return "done" if self.error is None else "failed"
        return "waiting" if self.started_at is None else "running"

    @property
    def first_refusals(self) -> Sequence[RefusedLetter]:
        """The first dead letters with which nothing was done, and why."""
        return [RefusedLetter(UUID(str(each["id"])), str(each["why"])) for each in self.refusals]

    @property
    def principal(self) -> Principal:
        """Who has ordered it. Each deed stands in this name."""
        return Principal(self.actor_kind, self.owner_id, self.actor_id, self.actor_name, ALL, self.source)

    def named_after(self, position: UUID, most: int) -> Sequence[UUID] | None:
        """Return the next of the dead letters that the order names; None when it names none."""
        if self.letters is None:
            return None
        return [id_ for id_ in map(UUID, self.letters) if id_ > position][:most]

"""What was said in a conversation by both sides, with what became of each message.

Messages and answers are two tables; their ids rise with time, so two indexes are read from where the last page ended
and merged. Who reads it is written down: a line in the audit comes before the first word is read. Who searches for
a text learns that somebody said it, so what a search found is written down before it is shown. The text is not.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from itertools import groupby
from operator import itemgetter
from typing import Literal, TypeAlias
from uuid import UUID

from sqlalchemy import bindparam, select, text

from recado.conversation.models import Author, outcome_and_reason
from recado.conversation.repository import Conversations
from recado.conversation.tables import answer_parts, answers, attempts, messages, sent_messages
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.pages import PAGE_SIZE, Page, after_id, before_id, write_id
from recado.core.database.prepared import Prepared, Row, param
from recado.core.database.repository import of_owner
from recado.core.database.types import JsonValue
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import Ids
from recado.core.queue.transactions import Transaction, Transactions
from recado.identity import audit
from recado.identity.principal import Principal

Order: TypeAlias = Literal["oldest", "newest"]
"""Which message comes first."""


@dataclass(frozen=True, slots=True)
class DeliveryError:
    """Why a message was not sent or not delivered: the provider's code, and a sentence."""

    code: str | None
    text: str


@dataclass(frozen=True, slots=True)
class SentPart:
    """A piece of an answer. `state` is the provider's last word, or ours while there is none."""

    number: int
    text: str
    state: str
    error: DeliveryError | None
    provider_message_ids: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptItem:
    """One message, of the customer or of ours.

    `state` of the customer's is its outcome, or `open`. Of ours it is `waiting` until it is settled; then `refused`,
    `stopped` or `unconfirmed`, or what the provider reported last of the part that got least far.
    """

    id: UUID
    author: Literal["customer"] | Author
    author_name: str | None = None
    kind: str = "text"
    text: str
    at: datetime
    state: str
    reason: str | None = None
    error: DeliveryError | None = None
    answered_by: UUID | None = None
    """The answer that settled a message of the customer's."""
    parts: Sequence[SentPart] = ()
    attachments: Sequence[str] = ()
    """Always empty: this version describes attachments in the text."""


@dataclass(frozen=True, slots=True)
class ProviderWords:
    """What the providers' words mean."""

    advances: Callable[[str | None, str], bool]
    """Whether the second of two statuses of a message outranks the first."""
    failed: Collection[str]
    meaning_of: Callable[[str], str | None]
    """What an error code means, as a sentence."""


# --- Statements -------------------------------------------------------------------------------------------------------


@cache
def _received(order: Order) -> Prepared:
    c = messages.c
    rows = select(
        c.id, c.kind, c.text, c.received_at, c.outcome, c.outcome_reason, c.answered_by, c.profile_name
    ).where(of_owner(messages), c.conversation_id == param(c.conversation_id))
    if order == "oldest":
        return Prepared(rows.where(c.id > param(c.id, "after")).order_by(c.id).limit(bindparam("most")))
    return Prepared(rows.where(c.id < param(c.id, "after")).order_by(c.id.desc()).limit(bindparam("most")))


@cache
def _spoken(order: Order) -> Prepared:
    c = answers.c
    rows = select(c.id, c.author, c.author_name, c.created_at, c.state, c.reason, c.error_code).where(
        of_owner(answers), c.conversation_id == param(c.conversation_id)
    )
    if order == "oldest":
        return Prepared(rows.where(c.id > param(c.id, "after")).order_by(c.id).limit(bindparam("most")))
    return Prepared(rows.where(c.id < param(c.id, "after")).order_by(c.id.desc()).limit(bindparam("most")))


_THESE_ANSWERS = (
    of_owner(answers),
    answers.c.conversation_id == param(answers.c.conversation_id),
    answers.c.id >= param(answers.c.id, "first"),
    answers.c.id <= param(answers.c.id, "last"),
)
_PARTS = Prepared(
    select(
        answers.c.id,
        answer_parts.c.part_no,
        answer_parts.c.text,
        answer_parts.c.state,
        sent_messages.c.provider_message_id,
        sent_messages.c.status,
        sent_messages.c.error_code,
    )
    .join_from(answers, answer_parts, answer_parts.c.answer_id == answers.c.id)
    .outerjoin(sent_messages, sent_messages.c.part_id == answer_parts.c.id)
    .where(*_THESE_ANSWERS)
    .order_by(answers.c.id, answer_parts.c.part_no, sent_messages.c.created_at)
)
_REFUSALS = Prepared(
    select(answers.c.id, attempts.c.detail)
    .join_from(answers, attempts, attempts.c.answer_id == answers.c.id)
    .where(*_THESE_ANSWERS, attempts.c.state == text("'refused'"))
    .order_by(attempts.c.id)
)


# --- Reading ----------------------------------------------------------------------------------------------------------


class Transcripts:
    """Reads conversations word for word."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, words: ProviderWords) -> None:
        self._database = database
        self._transactions = Transactions(database, clock, ids)
        self._words = words

    async def page(
        self,
        principal: Principal,
        conversation_id: UUID,
        cursor: str | None = None,
        *,
        limit: int,
        order: Order = "oldest",
    ) -> Page[TranscriptItem]:
        """Return a page of a conversation's messages. Raises `NotFound`."""
        after = after_id(cursor) if order == "oldest" else before_id(cursor)
        await self.record_reading(principal, conversation_id)
        return await self._database.read(
            lambda uow: _Page(uow, conversation_id, self._words).read(after, limit, order), owner=principal.owner_id
        )

    async def record_reading(self, principal: Principal, conversation_id: UUID) -> None:
        """Write down that somebody reads a conversation. Raises `NotFound`."""

        def record(tx: Transaction) -> None:
            Conversations(tx.uow).require(conversation_id)
            audit.record(tx, principal, "conversation.read", "conversation", conversation_id)

        await self._transactions.write(record, owner=principal.owner_id)

    async def record_search(self, principal: Principal, found: Sequence[UUID]) -> None:
        """Write down that somebody was told in which conversations a text was said, if it was said in any."""
        for start in range(0, len(found), PAGE_SIZE):
            detail = {"conversation_ids": [str(id_) for id_ in found[start : start + PAGE_SIZE]]}
            record = partial(_record_search, principal=principal, detail=detail)
            await self._transactions.write(record, owner=principal.owner_id)


def _record_search(tx: Transaction, *, principal: Principal, detail: Mapping[str, JsonValue]) -> None:
    audit.record(tx, principal, "conversation.searched", "owner", principal.owner_id, detail)


@dataclass(frozen=True, slots=True)
class _Said:
    """The parts of one answer, and what the provider said when it refused one."""

    parts: Sequence[SentPart] = ()
    refusal: str | None = None


@dataclass(slots=True)
class _Page:
    uow: UnitOfWork
    conversation_id: UUID
    words: ProviderWords
    _scope: dict[str, object] = field(init=False)

    def __post_init__(self) -> None:
        self._scope = {"owner": self.uow.owner, "conversation_id": self.conversation_id}

    def read(self, after: UUID, limit: int, order: Order) -> Page[TranscriptItem]:
        received = self.uow.rows(_received(order), **self._scope, after=after, most=limit + 1)
        spoken = self.uow.rows(_spoken(order), **self._scope, after=after, most=limit + 1)
        ids = sorted((row[0] for row in (*received, *spoken)), reverse=order == "newest")
        shown = ids[:limit]
        items = {row[0]: _of_customer(row) for row in received}
        shown_ids = set(shown)
        ours = [row for row in spoken if row[0] in shown_ids]
        said = self._said(ours)
        items |= {row[0]: self._of_ours(row, said.get(row[0], _Said())) for row in ours}
        return Page([items[id_] for id_ in shown], write_id(shown[-1]) if len(ids) > limit else None)

    def _said(self, ours: Sequence[Row]) -> Mapping[UUID, _Said]:
        if not ours:
            return {}
        scope = {**self._scope, "first": min(row[0] for row in ours), "last": max(row[0] for row in ours)}
        parts = {id_: self._parts(rows) for id_, rows in groupby(self.uow.rows(_PARTS, **scope), key=itemgetter(0))}
        refusals: dict[UUID, str | None] = {}
        if any(row[6] is not None for row in ours):
            refusals = dict(self.uow.rows(_REFUSALS, **scope))
        return {id_: _Said(each, refusals.get(id_)) for id_, each in parts.items()}

    def _parts(self, rows: Iterable[Row]) -> list[SentPart]:
        """Return the parts of one answer; a part may have been sent more than once."""
        return [
            self._part(number, body, state, [row[4:] for row in sent if row[4] is not None])
            for (number, body, state), sent in groupby(rows, key=lambda row: tuple(row[1:4]))
        ]

    def _part(self, number: int, body: str, state: str, sent: Sequence[Row]) -> SentPart:
        status, error = state, None
        for position, (_, reported, code) in enumerate(sent):
            if position == 0 or self._got_further(status, reported):
                status, error = reported, self._error(code) if reported in self.words.failed else None
        return SentPart(number, body, status, error, tuple(sid for sid, *_ in sent))

    def _got_further(self, status: str, other: str) -> bool:
        """Return whether another sending of the same part got further. One that failed got less far than any other."""
        if other in self.words.failed:
            return False
        return status in self.words.failed or self.words.advances(status, other)

    def _error(self, code: str | None, otherwise: str | None = None) -> DeliveryError:
        meaning = self.words.meaning_of(code) if code else None
        return DeliveryError(code, meaning or otherwise or "the provider gave no reason")

    def _of_ours(self, row: Row, said: _Said) -> TranscriptItem:
        id_, author, name, at, state, reason, code = row
        error = self._error(code, said.refusal) if code is not None else None
        if state == "accepted":
            least = self._least(said.parts)
            state, error = (state, error) if least is None else (least.state, least.error)
        return TranscriptItem(
            id=id_,
            author=author,
            author_name=name,
            text="\n".join(part.text for part in said.parts),
            at=at,
            state=state,
            reason=reason,
            error=error,
            parts=said.parts,
        )

    def _least(self, parts: Sequence[SentPart]) -> SentPart | None:
        """Return the part that got least far; one that failed comes before all others."""
        least: SentPart | None = None
        for part in parts:
            if part.state in self.words.failed:
                return part
            if least is None or self.words.advances(part.state, least.state):
                least = part
        return least


def _of_customer(row: Row) -> TranscriptItem:
    id_, kind, body, at, outcome, reason, answered_by, name = row
    return TranscriptItem(
        id=id_,
        author="customer",
        author_name=name,
        kind=kind,
        text=body,
        at=at,
        state=outcome_and_reason(outcome, reason) if outcome else "open",
        reason=reason,
        answered_by=answered_by,
    )

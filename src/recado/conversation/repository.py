"""The questions the conversation asks of its tables.

Everything here is reached through a unit of work that has an owner. Handlers of jobs learn the owner from the job's
row, which our own code wrote.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy import and_, exists, func, or_, select, text, union, update

from recado.conversation import models
from recado.conversation.tables import (
    answer_parts,
    answers,
    attempts,
    contact_addresses,
    contacts,
    conversations,
    drafts,
    inbox_items,
    messages,
    turns,
)
from recado.core.database.repository import OwnedRepository

R = TypeVar("R")


class Contacts(OwnedRepository[models.Contact]):
    """Customers, found by any spelling of any of their addresses."""

    table, entity, noun = contacts, models.Contact, "contact"

    def by_match_key(self, match_key: str) -> models.Contact | None:
        # A scalar, so that the contact is found by its key: with IN, SQLite reads all contacts of the owner instead.
        known = select(func.min(contact_addresses.c.contact_id)).where(
            contact_addresses.c.owner_id == self.owner, contact_addresses.c.match_key == match_key
        )
        return self._one(self._select().where(contacts.c.id == known.scalar_subquery()))

    def remember_address(self, id_: UUID, contact_id: UUID, address: str, match_key: str, now: datetime) -> None:
        """Keep a spelling the contact has written from."""
        row = {
            "id": id_,
            "owner_id": self.owner,
            "contact_id": contact_id,
            "address": address,
            "match_key": match_key,
            "created_at": now,
        }
        self._uow.execute(self._uow.insert(contact_addresses).on_conflict_do_nothing(), row)

    def addresses(self, contact_id: UUID) -> list[str]:
        rows = self._uow.all(select(contact_addresses.c.address).where(contact_addresses.c.contact_id == contact_id))
        return [row["address"] for row in rows]


class Conversations(OwnedRepository[models.Conversation]):
    """Stretches of lanes."""

    table, entity, noun = conversations, models.Conversation, "conversation"

    def current(self, lane: str) -> models.Conversation | None:
        """The lane's conversation that is not closed; there is at most one."""
        return self._one(self._select().where(conversations.c.lane == lane, conversations.c.status != text("'closed'")))

    def latest(self, lane: str) -> models.Conversation | None:
        return self._one(
            self._select().where(conversations.c.lane == lane).order_by(conversations.c.opened_at.desc()).limit(1)
        )

    def touch(self, id_: UUID, at: datetime) -> None:
        """Count `at` as activity, unless something newer was counted already."""
        newer = and_(conversations.c.id == id_, conversations.c.last_activity_at < at)
        self._uow.execute(update(conversations).where(newer).values(last_activity_at=at))

    def recent(self, *, limit: int = 200) -> list[models.Conversation]:
        """The owner's conversations that are not closed, and those with something in the inbox, newest first."""
        waiting = exists().where(
            inbox_items.c.conversation_id == conversations.c.id, inbox_items.c.resolved_at.is_(None)
        )
        return self._many(
            self._select()
            .where(or_(conversations.c.status != text("'closed'"), waiting))
            .order_by(conversations.c.last_activity_at.desc())
            .limit(limit)
        )


class Messages(OwnedRepository[models.Message]):
    """Accepted inbound messages, in the order we received them (their ids are ordered)."""

    table, entity, noun = messages, models.Message, "message"

    def unturned(self, lane: str) -> list[models.Message]:
        return self._many(
            self._select()
            .where(messages.c.lane == lane, messages.c.turn_id.is_(None), messages.c.outcome.is_(None))
            .order_by(messages.c.id)
        )

    def of_turn(self, turn_id: UUID) -> list[models.Message]:
        return self._many(self._select().where(messages.c.turn_id == turn_id).order_by(messages.c.id))

    def by_ids(self, ids: Sequence[UUID]) -> list[models.Message]:
        return self._many(self._select().where(messages.c.id.in_(ids)).order_by(messages.c.id))

    def handed_off_in(self, lane: str) -> list[models.Message]:
        """What a person has to answer."""
        return self._many(
            self._select()
            .where(messages.c.lane == lane, messages.c.outcome == text("'handed_off'"))
            .order_by(messages.c.id)
        )

    def join(self, ids: Sequence[UUID], **columns: object) -> None:
        """Give messages their turn, conversation and contact."""
        self._uow.execute(
            update(messages).where(messages.c.id.in_(ids), messages.c.owner_id == self.owner).values(**columns)
        )

    def before(self, conversation_id: UUID, turn_id: UUID, *, limit: int) -> list[models.Message]:
        """The conversation's messages that do not belong to `turn_id`, the newest first."""
        return self._many(
            self._select()
            .where(messages.c.conversation_id == conversation_id, messages.c.turn_id != turn_id)
            .order_by(messages.c.id.desc())
            .limit(limit)
        )

    def newest(self, lane_conversation: UUID) -> models.Message | None:
        """The conversation's newest message: whom to answer, and when the 24-hour window opened."""
        return self._one(
            self._select()
            .where(messages.c.conversation_id == lane_conversation)
            .order_by(messages.c.id.desc())
            .limit(1)
        )

    def later_outcomes(self, lane: str, after: UUID) -> set[models.Outcome | None]:
        """The outcomes of the lane's messages after message `after`; None stands for an open one."""
        of_lane = select(conversations.c.id).where(conversations.c.lane == lane)
        turned = select(messages.c.outcome).where(messages.c.conversation_id.in_(of_lane), messages.c.id > after)
        unturned = select(messages.c.outcome).where(
            messages.c.lane == lane, messages.c.turn_id.is_(None), messages.c.outcome.is_(None), messages.c.id > after
        )
        return {row["outcome"] for row in self._uow.all(union(turned, unturned))}


class Turns(OwnedRepository[models.Turn]):
    """Turns."""

    table, entity, noun = turns, models.Turn, "turn"

    def unsettled(self, ids: Collection[UUID | None]) -> set[UUID]:
        """Those of the turns whose answer is still being made or on its way."""
        statement = select(turns.c.id).where(turns.c.id.in_([id_ for id_ in ids if id_]), turns.c.settled_at.is_(None))
        return {row["id"] for row in self._uow.all(statement)}

    def begun_by(self, ids: Collection[UUID | None], at: datetime) -> set[UUID]:
        """Those of the turns that existed at a moment."""
        statement = select(turns.c.id).where(turns.c.id.in_([id_ for id_ in ids if id_]), turns.c.created_at <= at)
        return {row["id"] for row in self._uow.all(statement)}


class Answers(OwnedRepository[models.Answer]):
    """Outbound things."""

    table, entity, noun = answers, models.Answer, "answer"

    def of_turn(self, turn_id: UUID) -> models.Answer | None:
        return self._one(self._select().where(answers.c.turn_id == turn_id))

    def spoken_in(self, conversation_id: UUID, *, limit: int) -> list[tuple[models.Answer, str]]:
        """The conversation's accepted answers with their whole text, the newest first."""
        found = self._many(
            self._select()
            .where(answers.c.conversation_id == conversation_id, answers.c.state == "accepted")
            .order_by(answers.c.id.desc())
            .limit(limit)
        )
        texts: dict[UUID, list[str]] = {}
        parts = select(answer_parts.c.answer_id, answer_parts.c.text).where(
            answer_parts.c.answer_id.in_([answer.id for answer in found])
        )
        for row in self._uow.all(parts.order_by(answer_parts.c.answer_id, answer_parts.c.part_no)):
            texts.setdefault(row["answer_id"], []).append(row["text"])
        return [(answer, "\n".join(texts.get(answer.id, []))) for answer in found]

    def of_person_since(self, lane: str, at: datetime) -> models.Answer | None:
        """The newest answer that a person has written in the lane since a moment, unless it could not be sent."""
        return self._one(
            self._select()
            .where(
                answers.c.lane == lane,
                answers.c.author == text("'person'"),
                answers.c.created_at >= at,
                answers.c.state.in_(("waiting", "accepted")),
            )
            .order_by(answers.c.created_at.desc())
            .limit(1)
        )

    def latest_apology(self, lane: str, since: datetime) -> models.Answer | None:
        """An apology of the lane that was accepted since a moment."""
        return self._one(
            self._select()
            .where(
                answers.c.lane == lane,
                answers.c.author == text("'apology'"),
                answers.c.state == "accepted",
                answers.c.settled_at >= since,
            )
            .limit(1)
        )


class Parts(OwnedRepository[models.Part]):
    """Pieces of answers."""

    table, entity, noun = answer_parts, models.Part, "part"

    def of(self, answer_id: UUID) -> list[models.Part]:
        return self._many(self._select().where(answer_parts.c.answer_id == answer_id).order_by(answer_parts.c.part_no))


class Attempts(OwnedRepository[models.Attempt]):
    """Create calls."""

    table, entity, noun = attempts, models.Attempt, "attempt"

    def of_part(self, part_id: UUID) -> list[models.Attempt]:
        return self._many(self._select().where(attempts.c.part_id == part_id).order_by(attempts.c.number))

    def in_flight(self, lane: str) -> models.Attempt | None:
        """The one attempt to this pair that may still turn out to have been sent."""
        return self._one(self._select().where(attempts.c.lane == lane, text("state IN ('sending','unknown')")))

    def of_answer(self, answer_id: UUID) -> list[models.Attempt]:
        return self._many(self._select().where(attempts.c.answer_id == answer_id).order_by(attempts.c.id))


class InboxItems(OwnedRepository[models.InboxItem]):
    """What waits for a person."""

    table, entity, noun = inbox_items, models.InboxItem, "inbox item"

    def resolve(self, turn_ids: Iterable[UUID], at: datetime) -> None:
        """A person or the agent deals with what these turns left for a person."""
        self._uow.execute(
            update(inbox_items)
            .where(
                inbox_items.c.owner_id == self.owner,
                inbox_items.c.turn_id.in_(sorted(turn_ids)),
                inbox_items.c.resolved_at.is_(None),
            )
            .values(resolved_at=at, read_at=func.coalesce(inbox_items.c.read_at, at))
        )


class Drafts(OwnedRepository[models.Draft]):
    """Results that came too late."""

    table, entity, noun = drafts, models.Draft, "draft"

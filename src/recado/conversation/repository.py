"""Repositories of the conversation.

All of them need a unit of work that has an owner. Handlers of jobs learn the owner from the row of the job, which our
own code wrote.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Integer, bindparam, exists, func, literal_column, or_, select, text, union, update

from recado.conversation import models
from recado.conversation.search_tables import search_documents
from recado.conversation.tables import (
    answers,
    attempts,
    contact_addresses,
    contacts,
    conversation_events,
    conversations,
    drafts,
    inbox_items,
    messages,
    outcome_changes,
    turns,
)
from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.repository import OwnedRepository, entities, of_owner, owned
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.lane import Lane, send_lane
from recado.core.queue.storage.tables import message_queue
from recado.core.unicode import words as words_of

# A scalar, so that the contact is found by its key: with IN, SQLite reads all contacts of the owner instead.
_CONTACT_OF_KEY = (
    select(contact_addresses.c.contact_id)
    .where(of_owner(contact_addresses), contact_addresses.c.match_key == bindparam("match_key"))
    .order_by(contact_addresses.c.contact_id)
    .limit(1)
    .scalar_subquery()
)
_CONTACT = Prepared(owned(contacts, models.Contact).where(contacts.c.id == _CONTACT_OF_KEY))
_HELD_CONTACT = Prepared(
    owned(contacts, models.Contact).where(contacts.c.id == bindparam("contact_id")).with_for_update()
)
_NEW_ADDRESS = Prepared(inserting(contact_addresses).on_conflict_do_nothing())
_ADDRESSES = Prepared(
    select(contact_addresses.c.address).where(contact_addresses.c.contact_id == bindparam("contact_id"))
)


class Contacts(OwnedRepository[models.Contact]):
    """Customers, found by any spelling of any of their addresses."""

    table, entity, noun = contacts, models.Contact, "contact"

    def by_match_key(self, match_key: str) -> models.Contact | None:
        return self._one(_CONTACT, match_key=match_key)

    def held(self, contact_id: UUID) -> models.Contact:
        """Return the contact, locked until this transaction ends."""
        [contact] = self._many(_HELD_CONTACT, contact_id=contact_id)
        return contact

    def remember_address(self, id_: UUID, contact_id: UUID, address: str, match_key: str, now: datetime) -> None:
        """Store a spelling of an address that the contact has written from."""
        self._run(
            _NEW_ADDRESS,
            id=id_,
            owner_id=self.owner,
            contact_id=contact_id,
            address=address,
            match_key=match_key,
            created_at=now,
        )

    def addresses(self, contact_id: UUID) -> list[str]:
        return [address for (address,) in self._uow.rows(_ADDRESSES, contact_id=contact_id)]


_OF_LANE = owned(conversations, models.Conversation).where(conversations.c.lane == bindparam("lane"))
_CURRENT = Prepared(_OF_LANE.where(conversations.c.status != text("'closed'")))
_LATEST = Prepared(_OF_LANE.order_by(conversations.c.opened_at.desc()).limit(1))
_TOUCH = Prepared(
    update(conversations)
    .where(
        conversations.c.id == param(conversations.c.id, "of_id"),
        of_owner(conversations),
        conversations.c.last_activity_at < bindparam("at"),
    )
    .values(last_activity_at=param(conversations.c.last_activity_at, "at"))
)


# Whatever may still bring words into a conversation, or waits for a person's.
_UNDER_WAY = (
    exists().where(messages.c.lane == bindparam("lane"), messages.c.turn_id.is_(None), messages.c.outcome.is_(None)),
    exists().where(
        or_(message_queue.c.lane == bindparam("lane"), message_queue.c.lane == bindparam("send_lane")),
        text("message_queue.status IN ('collecting','waiting','running')"),
    ),
    exists().where(turns.c.conversation_id == bindparam("of_id"), turns.c.settled_at.is_(None)),
    exists().where(answers.c.conversation_id == bindparam("of_id"), answers.c.settled_at.is_(None)),
    exists().where(inbox_items.c.conversation_id == bindparam("of_id"), inbox_items.c.resolved_at.is_(None)),
)
_LIVE = Prepared(select(literal_column("1", Integer)).where(or_(*_UNDER_WAY)))
_NEWEST_PART = Prepared(
    select(func.max(attempts.c.finished_at))
    .join_from(answers, attempts, attempts.c.answer_id == answers.c.id)
    .where(
        answers.c.conversation_id == bindparam("of_id"),
        answers.c.id != param(answers.c.id, "nudge"),
        attempts.c.state == text("'accepted'"),
        attempts.c.finished_at <= bindparam("until"),
    )
)


class Conversations(OwnedRepository[models.Conversation]):
    """Conversations, one after the other in each lane."""

    table, entity, noun = conversations, models.Conversation, "conversation"

    def current(self, lane: Lane) -> models.Conversation | None:
        """Return the conversation of the lane that is not closed, if there is one."""
        return self._one(_CURRENT, lane=lane)

    def latest(self, lane: Lane) -> models.Conversation | None:
        return self._one(_LATEST, lane=lane)

    def touch(self, id_: UUID, at: datetime) -> None:
        """Store `at` as the last activity, unless a later one is stored."""
        self._run(_TOUCH, of_id=id_, at=at)

    def activity_of(self, conversation: models.Conversation, until: datetime) -> datetime:
        """Return when the newest message or part was accepted, up to a moment. A nudge does not count."""
        nudge = conversation.nudge_id or UUID(int=0)
        [(newest,)] = self._uow.rows(_NEWEST_PART, of_id=conversation.id, nudge=nudge, until=until)
        return conversation.last_activity_at if newest is None else max(newest, conversation.last_activity_at)

    def is_live(self, conversation: models.Conversation) -> bool:
        """Return whether something is under way in a conversation or waits in its inbox."""
        lane = conversation.lane
        return bool(self._uow.rows(_LIVE, of_id=conversation.id, lane=lane, send_lane=send_lane(lane)))


_MESSAGES = owned(messages, models.Message)
_UNTURNED = Prepared(
    _MESSAGES.where(
        messages.c.lane == bindparam("lane"), messages.c.turn_id.is_(None), messages.c.outcome.is_(None)
    ).order_by(messages.c.id)
)
_OF_TURN = Prepared(_MESSAGES.where(messages.c.turn_id == bindparam("turn_id")).order_by(messages.c.id))
_HANDED_OFF = Prepared(
    _MESSAGES.where(messages.c.lane == bindparam("lane"), messages.c.outcome == text("'handed_off'")).order_by(
        messages.c.id
    )
)
_OF_CONVERSATION = _MESSAGES.where(messages.c.conversation_id == bindparam("conversation_id")).order_by(
    messages.c.id.desc()
)
_NEWEST = Prepared(_OF_CONVERSATION.limit(1))
_BEFORE = Prepared(_OF_CONVERSATION.where(messages.c.turn_id != bindparam("turn_id")).limit(bindparam("most")))
_LATER = Prepared(
    union(
        select(messages.c.outcome).where(
            messages.c.conversation_id.in_(select(conversations.c.id).where(conversations.c.lane == bindparam("lane"))),
            messages.c.id > bindparam("after"),
        ),
        select(messages.c.outcome).where(
            messages.c.lane == bindparam("lane"),
            messages.c.turn_id.is_(None),
            messages.c.outcome.is_(None),
            messages.c.id > bindparam("after"),
        ),
    )
)

# The newest message of each conversation is looked up, the latest conversation first.
_of_each = messages.alias("of_each")
_NEWEST_TURNED = (
    select(_of_each.c.id)
    .where(_of_each.c.conversation_id == conversations.c.id)
    .order_by(_of_each.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
_NEWEST_IN_LANE = Prepared(
    entities(messages, models.Message)
    .join_from(conversations, messages, messages.c.id == _NEWEST_TURNED)
    .where(of_owner(conversations), conversations.c.lane == bindparam("lane"))
    .order_by(conversations.c.opened_at.desc())
    .limit(1)
)


class Messages(OwnedRepository[models.Message]):
    """Accepted inbound messages, in the order we received them (their ids are ordered)."""

    table, entity, noun = messages, models.Message, "message"

    def unturned(self, lane: Lane) -> list[models.Message]:
        return self._many(_UNTURNED, lane=lane)

    def of_turn(self, turn_id: UUID) -> list[models.Message]:
        return self._many(_OF_TURN, turn_id=turn_id)

    def handed_off_in(self, lane: Lane) -> list[models.Message]:
        """Return the messages of the lane that a person has to answer."""
        return self._many(_HANDED_OFF, lane=lane)

    def join(self, ids: Sequence[UUID], **columns: object) -> None:
        """Set columns of messages: their turn, conversation, contact."""
        for id_ in ids:
            self.change(id_, **columns)

    def before(self, conversation_id: UUID, turn_id: UUID, *, limit: int) -> list[models.Message]:
        """Return the conversation's messages that do not belong to `turn_id`, the newest first."""
        return self._many(_BEFORE, conversation_id=conversation_id, turn_id=turn_id, most=limit)

    def newest(self, conversation_id: UUID) -> models.Message | None:
        """Return the newest message: it tells whom to answer and when the reply window opened."""
        return self._one(_NEWEST, conversation_id=conversation_id)

    def newest_in_lane(self, lane: Lane) -> models.Message | None:
        """Return the customer's newest message in any conversation of a lane, also one that no turn has yet."""
        unturned = self.unturned(lane)
        return unturned[-1] if unturned else self._one(_NEWEST_IN_LANE, lane=lane)

    def later_outcomes(self, lane: Lane, after: UUID) -> set[models.Outcome | None]:
        """Return the outcomes of the lane's messages after message `after`. None stands for an open one."""
        return {outcome for (outcome,) in self._uow.rows(_LATER, lane=lane, after=after)}


_UNSETTLED = Prepared(select(turns.c.id).where(turns.c.id == bindparam("id"), turns.c.settled_at.is_(None)))
_BEGUN = Prepared(select(turns.c.id).where(turns.c.id == bindparam("id"), turns.c.created_at <= bindparam("at")))


class Turns(OwnedRepository[models.Turn]):
    """Turns."""

    table, entity, noun = turns, models.Turn, "turn"

    def unsettled(self, ids: Collection[UUID | None]) -> set[UUID]:
        """Return those of the turns whose answer is not settled."""
        return {id_ for id_ in ids if id_ is not None and self._uow.rows(_UNSETTLED, id=id_)}

    def begun_by(self, ids: Collection[UUID | None], at: datetime) -> set[UUID]:
        """Return those of the turns that existed at a moment."""
        return {id_ for id_ in ids if id_ is not None and self._uow.rows(_BEGUN, id=id_, at=at)}


_RESOLVE = Prepared(
    update(inbox_items)
    .where(
        of_owner(inbox_items),
        inbox_items.c.turn_id == param(inbox_items.c.turn_id, "of_turn"),
        inbox_items.c.resolved_at.is_(None),
    )
    .values(
        resolved_at=param(inbox_items.c.resolved_at, "at"),
        read_at=func.coalesce(inbox_items.c.read_at, param(inbox_items.c.read_at, "at")),
    )
)


class InboxItems(OwnedRepository[models.InboxItem]):
    """Inbox items."""

    table, entity, noun = inbox_items, models.InboxItem, "inbox item"

    def resolve(self, turn_ids: Iterable[UUID], at: datetime) -> None:
        """Resolve the open inbox items of some turns."""
        for turn_id in sorted(turn_ids):
            self._run(_RESOLVE, of_turn=turn_id, at=at)


class Drafts(OwnedRepository[models.Draft]):
    """Drafts."""

    table, entity, noun = drafts, models.Draft, "draft"


_CONVERSATION_EVENT = Prepared(inserting(conversation_events))
_OUTCOME_CHANGE = Prepared(inserting(outcome_changes))


def add_conversation_event(uow: UnitOfWork, **columns: object) -> None:
    """Keep a line of a conversation's history."""
    uow.run(_CONVERSATION_EVENT, **columns)


def add_outcome_change(uow: UnitOfWork, **columns: object) -> None:
    """Keep a line of the history of a message's outcome."""
    uow.run(_OUTCOME_CHANGE, **columns)


LONGEST_SEARCHED = 32
"""Longer words are not searched: nobody types them, and those of owners and conversations are longer."""

_DOCUMENT = Prepared(inserting(search_documents, "owner_id", "conversation_id", "message_id", "words"))
_MOVE_DOCUMENT = Prepared(
    update(search_documents)
    .where(
        # Not by the owner, whose index SQLite would read from end to end. The conversation is the owner's.
        search_documents.c.conversation_id == param(search_documents.c.conversation_id, "before"),
        search_documents.c.message_id == param(search_documents.c.message_id, "of_message"),
    )
    .values(
        conversation_id=param(search_documents.c.conversation_id, "after"),
        words=func.replace(search_documents.c.words, bindparam("word_before"), bindparam("word_after")),
    )
)


def searched_words(text: str) -> list[str]:
    """Return the words that a text is found by, each once, without case and accents."""
    return [word for word in dict.fromkeys(words_of(text)) if len(word) <= LONGEST_SEARCHED]


def owner_word(owner_id: UUID) -> str:
    """Return the word that stands in each document of an owner."""
    return f"o{owner_id.hex}"


def conversation_word(conversation_id: UUID) -> str:
    """Return the word that stands in each document of a conversation."""
    return f"c{conversation_id.hex}"


class SearchDocuments:
    """The words of messages and answers, which conversations are found by."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def add(self, conversation: models.Conversation, texts: Mapping[UUID, str]) -> None:
        """Store the words of messages or answers of a conversation, by their ids."""
        scope = [owner_word(conversation.owner_id), conversation_word(conversation.id)]
        self._uow.run_many(
            _DOCUMENT,
            [
                {
                    "owner_id": conversation.owner_id,
                    "conversation_id": conversation.id,
                    "message_id": id_,
                    "words": " ".join([*scope, *searched_words(text)]),
                }
                for id_, text in texts.items()
            ],
        )

    def move(self, message: models.Message, to: models.Conversation) -> None:
        """Follow a message into another conversation."""
        before = message.conversation_id
        if before is None or before == to.id:
            return
        self._uow.run(
            _MOVE_DOCUMENT,
            before=before,
            of_message=message.id,
            after=to.id,
            word_before=conversation_word(before),
            word_after=conversation_word(to.id),
        )

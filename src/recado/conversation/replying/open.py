"""Step 6: a claimed job gets its turn, and who may answer it is decided before any agent runs.

    turn       the one that the job carries, or a new one over the lane's unturned messages
    deadline   when it is over: a dead letter and an apology
    gate       a closed account, an opt-out, a person who holds the conversation: the turn is settled here
    agent      what it needs to know is read, and its run gets a row

A message that arrives during the first run of a turn joins it here as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from recado.conversation.models import Author, Contact, Conversation, Message, Turn
from recado.conversation.ports import Agent, HistoryEntry, OwnersAgents
from recado.conversation.replying.apology import apologise
from recado.conversation.replying.gate import A_PERSON_SPOKE, ToAgent, ToPerson, settle_without_agent, who_answers
from recado.conversation.replying.reception import CarriedTurn, receive, turn_of
from recado.conversation.replying.repository import begin_run
from recado.conversation.repository import Messages, Turns
from recado.conversation.sending.outbox import Split
from recado.conversation.sending.repository import Answers
from recado.conversation.settlement import Settlement
from recado.core.queue.job import Claim, StoredJob
from recado.core.queue.storage import endings, enqueue, leases
from recado.core.queue.transactions import LaneTransaction, Transaction
from recado.identity.repository import owner_in

NO_ANSWER_IN_TIME = "no answer before the deadline"

_SPEAKERS: dict[Author, Literal["agent", "person", "notice"]] = {
    "agent": "agent",
    "apology": "agent",
    "person": "person",
    "notice": "notice",
}


@dataclass(frozen=True, slots=True)
class ReplyLimits:
    """How long an agent may take, a turn from its first claim to the commit of its answer, and a burst of messages."""

    agent: timedelta = timedelta(seconds=60)
    answer: timedelta = timedelta(seconds=300)
    burst: timedelta = timedelta(seconds=8)


@dataclass(frozen=True, slots=True)
class KnownAgents:
    """The agents of an owner, found before the transaction, and how many earlier messages each of them reads."""

    of_owner: OwnersAgents
    history_limit: Callable[[Agent], int]


@dataclass(frozen=True, slots=True)
class OpenedTurn:
    """A turn as it was read. The commit compares it with what it is then."""

    agent: Agent
    turn: Turn
    conversation: Conversation
    contact: Contact
    locale: str
    messages: list[Message]
    history: list[HistoryEntry]
    run_id: UUID


def open_turn(
    tx: LaneTransaction,
    claim: Claim,
    turn_id: UUID | None,
    agents: KnownAgents,
    limits: ReplyLimits,
    split: Split,
) -> OpenedTurn | None:
    """Return the turn that the agent is to answer, or None when the job is ended or lost.

    `turn_id` is the turn that the job carries, if it has one by now.
    """
    if not leases.holds(tx.held, claim):
        return None
    carried = turn_of(tx, claim.job, turn_id, limits.answer)
    if carried is None or carried.answered:
        endings.complete(tx.held, claim, tx.now)
        return None
    if tx.now >= carried.turn.deadline_at:
        endings.dead_letter(tx.held, claim, tx.now, NO_ANSWER_IN_TIME)
        apologise(tx, claim.job, carried, split)
        return None
    return _open_for(agents, tx, claim, carried)


def _open_for(agents: KnownAgents, tx: LaneTransaction, claim: Claim, carried: CarriedTurn) -> OpenedTurn | None:
    """Return the turn with what the agent will be told, or None when the turn is settled without an agent."""
    turn, conversation, contact = carried.turn, carried.conversation, carried.contact
    owner = owner_in(tx.uow, turn.owner_id)
    decision = who_answers(tx.uow, owner, contact, conversation, carried.messages)
    if isinstance(decision, ToAgent) and Settlement(tx).person_answer_since(turn):
        decision = ToPerson(A_PERSON_SPOKE)
    if not isinstance(decision, ToAgent):
        endings.complete(tx.held, claim, tx.now)
        settle_without_agent(tx, turn, decision)
        return None
    agent = agents.of_owner.for_number(conversation.address_id)
    history = _history(tx, turn, conversation, agents.history_limit(agent))
    run_id = tx.ids.new()
    begin_run(tx.uow, run_id, turn, tx.now)
    return OpenedTurn(agent, turn, conversation, contact, owner.locale, decision.messages, history, run_id)


def _history(tx: Transaction, turn: Turn, conversation: Conversation, limit: int) -> list[HistoryEntry]:
    """Return what was said before in this conversation, oldest first. Earlier conversations are left out."""
    if limit == 0:
        return []
    received = [
        HistoryEntry("customer", message.text, message.received_at)
        for message in Messages(tx.uow).before(conversation.id, turn.id, limit=limit)
    ]
    sent = [
        HistoryEntry(_SPEAKERS[spoken.author], spoken.text, spoken.at)
        for spoken in Answers(tx.uow).spoken_in(conversation.id, limit=limit)
    ]
    return sorted(received + sent, key=lambda entry: entry.at)[-limit:]


# --- A message that arrives during the first run ----------------------------------------------------------------------


def may_join(job: StoredJob, turn: Turn) -> bool:
    """Return whether a newer message belongs to this turn. In any later run than the first it is the next turn."""
    return job.attempts == 0 and job.crashes == 0 and turn.version == 1 and turn.replay_of is None and not turn.resumes


def join_new_messages(tx: LaneTransaction, claim: Claim, turn: Turn) -> bool | datetime:
    """Let the newer messages of the lane join the turn and take away the job they made.

    Return True when they joined, the end of their burst window while it is open, False when the lease is lost.
    """
    if not leases.holds(tx.held, claim):
        return False
    job = claim.job
    window = enqueue.collecting_in(tx.uow, job.lane)
    if window is None:
        return True
    collecting, due_at = window
    if due_at > tx.now:
        return due_at
    group = Messages(tx.uow).unturned(job.lane)
    if group:
        receive(tx, group, turn.id)
        Turns(tx.uow).change(turn.id, version=turn.version + 1)
    enqueue.remove(tx.held, collecting, job.lane)
    return True

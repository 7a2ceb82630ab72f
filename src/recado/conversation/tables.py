"""The tables of the conversation.

No index here is for convenience: each one answers a question of the ten steps, of `verify` or of a person, and a fresh
message touches three of them. A message is `open` while it has no outcome: it is unturned, or its turn is unsettled.
"""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)

from recado.core.database.types import Id, Json, Moment, ProviderId, metadata, partial

ErrorCode = String(64)
"""A provider's code, or the `code` of a `DomainError`."""
Name = String(254)
"""The name of the person or key that did something, as it was then."""

contacts = Table(
    "contacts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("name", String),
    Column("opted_out_at", Moment),
    Column("created_at", Moment, nullable=False),
    # Who did it, if a person did: the name that a person gave wins over the customer's profile.
    Column("named_by", Name),
    Column("opted_out_by", Name),
    Column("blocked_at", Moment),
    Column("blocked_by", Name),
    Index("ix_contacts_owner", "owner_id", "id"),
    partial("ix_contacts_blocked", "owner_id", "id", where="blocked_at IS NOT NULL"),
    partial("ix_contacts_opted_out", "owner_id", "id", where="opted_out_at IS NOT NULL"),
)

contact_addresses = Table(
    "contact_addresses",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("contact_id", Id, ForeignKey("contacts.id"), nullable=False),
    Column("address", String, nullable=False),
    Column("match_key", String, nullable=False),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("owner_id", "address"),
    Index("ix_contact_addresses_match", "owner_id", "match_key"),
    Index("ix_contact_addresses_contact", "contact_id"),
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("lane", Id, nullable=False),
    Column("contact_id", Id, ForeignKey("contacts.id"), nullable=False),
    Column("address_id", Id, nullable=False),
    Column("status", String(16), nullable=False),
    Column("held_by", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    Column("previous_id", Id),
    Column("opened_at", Moment, nullable=False),
    Column("held_since", Moment, nullable=False),
    Column("last_activity_at", Moment, nullable=False),
    Column("nudge_id", Id),
    Column("closed_at", Moment),
    Column("closed_by", String(16)),
    Column("closed_reason", String),
    Column("holder_id", Id),
    Column("holder_name", Name),
    Column("assignee_id", Id),
    partial("uq_conversations_open", "lane", unique=True, where="status<>'closed'"),
    Index("ix_conversations_owner", "owner_id", "last_activity_at", "id"),
    partial("ix_conversations_active", "owner_id", "last_activity_at", "id", where="status<>'closed'"),
    partial(
        "ix_conversations_held",
        *("owner_id", "held_by", "last_activity_at", "id"),
        where="status<>'closed' AND held_by<>'agent'",
    ),
    partial(
        "ix_conversations_assigned",
        *("owner_id", "assignee_id", "last_activity_at", "id"),
        where="status<>'closed' AND assignee_id IS NOT NULL",
    ),
    partial(
        "ix_conversations_number",
        *("owner_id", "address_id", "last_activity_at", "id"),
        where="status<>'closed'",
    ),
    Index("ix_conversations_contact", "owner_id", "contact_id", "last_activity_at", "id"),
    Index("ix_conversations_lane", "lane", "opened_at"),
    partial("ix_conversations_quiet", "status", "last_activity_at", "id", where="status<>'closed' AND held_by='agent'"),
)

conversation_events = Table(
    "conversation_events",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("conversation_id", Id, ForeignKey("conversations.id"), nullable=False),
    Column("what", String(32), nullable=False),
    Column("before", String(32)),
    Column("after", String(32)),
    Column("by", String(16), nullable=False),
    Column("reason", String),
    Column("at", Moment, nullable=False),
    Column("by_name", Name),
    Index("ix_conversation_events_conversation", "conversation_id"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("lane", Id, nullable=False),
    Column("address_id", Id, nullable=False),
    Column("provider", String(16), nullable=False),
    Column("account_ref", ProviderId, nullable=False),
    Column("provider_message_id", ProviderId, nullable=False),
    Column("from_address", String, nullable=False),
    Column("to_address", String, nullable=False),
    Column("text", String, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("opt_out_type", String(16)),
    Column("profile_name", String),
    Column("raw", LargeBinary),
    Column("source", String(16), nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("contact_id", Id),
    Column("conversation_id", Id),
    Column("turn_id", Id),
    Column("outcome", String(16)),
    Column("outcome_reason", String(32)),
    Column("outcome_at", Moment),
    Column("answered_by", Id),
    UniqueConstraint("address_id", "provider_message_id"),
    partial("ix_messages_unturned", "lane", "id", where="turn_id IS NULL AND outcome IS NULL"),
    partial("ix_messages_turn", "turn_id", where="turn_id IS NOT NULL"),
    partial("ix_messages_conversation", "conversation_id", "id", where="conversation_id IS NOT NULL"),
    partial("ix_messages_handed_off", "lane", "id", where="outcome='handed_off'"),
)

outcome_changes = Table(
    "outcome_changes",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("message_id", Id, ForeignKey("messages.id"), nullable=False),
    Column("before", String(48), nullable=False),
    Column("after", String(48), nullable=False),
    Column("because", String(32), nullable=False),
    Column("at", Moment, nullable=False),
    Index("ix_outcome_changes_message", "message_id"),
)

turns = Table(
    "turns",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("lane", Id, nullable=False),
    Column("conversation_id", Id, ForeignKey("conversations.id"), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("replay_of", Id),
    Column("resumes", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("deadline_at", Moment, nullable=False),
    Column("settled_at", Moment),
    partial("ix_turns_unsettled", "deadline_at", where="settled_at IS NULL"),
    Index("ix_turns_conversation", "conversation_id"),
)

answers = Table(
    "answers",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("lane", Id, nullable=False),
    # The lane of its send job, stored so that SQL can compare it.
    Column("send_lane", Id, nullable=False),
    Column("conversation_id", Id, ForeignKey("conversations.id"), nullable=False),
    Column("turn_id", Id, ForeignKey("turns.id"), unique=True),
    Column("author", String(16), nullable=False),
    Column("address_id", Id, nullable=False),
    Column("from_address", String, nullable=False),
    Column("to_address", String, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(32)),
    Column("error_code", ErrorCode),
    Column("closes", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("settled_at", Moment),
    Column("author_name", Name),
    partial("ix_answers_unsettled", "id", where="settled_at IS NULL"),
    partial("ix_answers_apologies", "lane", "settled_at", where="author='apology'"),
    partial("ix_answers_persons", "lane", "created_at", where="author='person'"),
    Index("ix_answers_conversation", "conversation_id", "id"),
)

answer_parts = Table(
    "answer_parts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("answer_id", Id, ForeignKey("answers.id"), nullable=False),
    Column("part_no", Integer, nullable=False),
    Column("text", String, nullable=False),
    Column("state", String(16), nullable=False),
    UniqueConstraint("answer_id", "part_no"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("answer_id", Id, ForeignKey("answers.id"), nullable=False),
    Column("part_id", Id, ForeignKey("answer_parts.id"), nullable=False),
    Column("account_id", Id, nullable=False),
    Column("lane", Id, nullable=False),
    Column("number", Integer, nullable=False),
    Column("resend_of", Id),
    Column("state", String(16), nullable=False),
    Column("worker", Id, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("deadline_at", Moment, nullable=False),
    Column("pulls", Integer, nullable=False),
    Column("last_pull_at", Moment),
    Column("code", ErrorCode),
    Column("detail", String),
    Column("finished_at", Moment),
    UniqueConstraint("part_id", "number"),
    Index("ix_attempts_answer", "answer_id"),
    partial("uq_attempts_in_flight", "lane", unique=True, where="state IN ('sending','unknown')"),
)

sent_messages = Table(
    "sent_messages",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("provider_message_id", ProviderId, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("attempt_id", Id, ForeignKey("attempts.id"), nullable=False),
    Column("part_id", Id, ForeignKey("answer_parts.id"), nullable=False),
    Column("found_by", String(16), nullable=False),
    Column("status", String(24), nullable=False),
    Column("error_code", String(16)),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Index("ix_sent_messages_part", "part_id"),
    Index("ix_sent_messages_attempt", "attempt_id"),
)

delivery_events = Table(
    "delivery_events",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("attempt_id", Id, ForeignKey("attempts.id"), nullable=False),
    Column("provider_message_id", ProviderId, nullable=False),
    Column("status", String(24), nullable=False),
    Column("error_code", String(16)),
    Column("at", Moment, nullable=False),
    Index("ix_delivery_events_attempt", "attempt_id"),
)

inbox_items = Table(
    "inbox_items",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("conversation_id", Id, ForeignKey("conversations.id"), nullable=False),
    Column("turn_id", Id, ForeignKey("turns.id")),
    Column("reason", String, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("read_at", Moment),
    Column("resolved_at", Moment),
    partial("ix_inbox_items_open", "owner_id", "created_at", "id", where="resolved_at IS NULL"),
    # The owner is in it so that SQLite prefers it to the index above, which holds all that waits.
    Index("ix_inbox_items_turn", "turn_id", "owner_id"),
    Index("ix_inbox_items_conversation", "conversation_id"),
)

drafts = Table(
    "drafts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("turn_id", Id, ForeignKey("turns.id"), nullable=False),
    Column("text", String, nullable=False),
    Column("why", String, nullable=False),
    Column("created_at", Moment, nullable=False),
    Index("ix_drafts_turn", "turn_id"),
    Index("ix_drafts_owner", "owner_id", "id"),
)

agent_runs = Table(
    "agent_runs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("turn_id", Id, ForeignKey("turns.id"), nullable=False),
    Column("result", String(16)),
    Column("why", String),
    Column("model", String),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("started_at", Moment, nullable=False),
    # Null while it runs, and for ever when its worker died.
    Column("finished_at", Moment),
    Index("ix_agent_runs_turn", "turn_id"),
)

tool_effects = Table(
    "tool_effects",
    metadata,
    Column("key", String, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("turn_id", Id, ForeignKey("turns.id"), nullable=False),
    Column("result", Json),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Index("ix_tool_effects_turn", "turn_id"),
)

"""Each ordinary outcome is clean, and each way to break the promise is found: all are made here on purpose."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

import pytest

from recado.conversation.errors import AgentFailed
from recado.conversation.ports import HandOff, NoReply, Refused, Reply, Unknown
from recado.core.queue.job import Replayed
from recado.operations.storage.verification import CHECKS
from recado.operations.verify import MAX_LISTED, NO_REASON, Violation
from tests.world import BRUNO, OURS, Lost, World

ON_BOTH_DATABASES = True

Story: TypeAlias = Callable[[World], Awaitable[str]]

FAILS = AgentFailed("no model")
LONG = " ".join(["Uma frase de tamanho médio."] * 80)
"""Two parts."""


# --- Stories: each comes to an ordinary end and names the message that is looked at -----------------------------------


async def answered(world: World) -> str:
    return await world.says("oi")


async def answered_in_parts(world: World) -> str:
    world.agents.will(Reply(LONG))
    return await world.says("conte tudo")


async def superseded(world: World) -> str:
    first = await world.receives("oi")
    world.advance(1)
    await world.says("tudo bem?")
    return first


async def handed_off(world: World) -> str:
    world.agents.will(HandOff("wants a person"))
    return await world.says("quero uma pessoa")


async def suppressed(world: World) -> str:
    world.agents.will(NoReply())
    return await world.says("ok")


async def opted_out(world: World) -> str:
    return await world.says("PARAR")


async def refused(world: World) -> str:
    world.channel.will(Refused("63024", "invalid recipient", "unreachable"))
    return await world.says("oi")


async def apologised(world: World) -> str:
    world.agents.will(FAILS, FAILS, FAILS)
    sid = await world.receives("oi")
    await world.passes(30)
    return sid


async def answered_by_a_person(world: World) -> str:
    sid = await handed_off(world)
    await world.person_says("bom dia, sou a Rita")
    await world.work()
    return sid


async def superseded_for_a_person(world: World) -> str:
    sid = await handed_off(world)
    await world.says("alguém?")
    await world.person_says("bom dia, sou a Rita")
    await world.work()
    return sid


async def released(world: World) -> str:
    sid = await handed_off(world)
    await world.release()
    await world.work()
    return sid


async def replayed(world: World) -> str:
    sid = await apologised(world)
    assert isinstance(await world.queue.retry((await world.dead())[0].id), Replayed)
    await world.work()
    return sid


async def stays_unanswered(world: World) -> str:
    """An open message whose burst window is open."""
    return await world.receives("oi")


async def turned(world: World) -> str:
    """An open message whose first run failed and whose next run waits."""
    world.agents.will(FAILS)
    sid = await world.receives("oi")
    world.advance(2)
    await world.work()
    return sid


async def unsettled(world: World) -> str:
    """An open message whose send has an unknown result."""
    world.channel.will(Unknown("timeout", "no answer"))
    return await world.says("oi")


ENDINGS = [
    (answered, "answered"),
    (answered_in_parts, "answered"),
    (superseded, "superseded"),
    (handed_off, "handed_off"),
    (suppressed, "suppressed:no_reply"),
    (opted_out, "suppressed:opt_out"),
    (refused, "suppressed:unreachable"),
    (apologised, "apologised"),
    (answered_by_a_person, "answered"),
    (superseded_for_a_person, "superseded"),
    (released, "answered"),
    (replayed, "answered"),
    (stays_unanswered, None),
    (turned, None),
    (unsettled, None),
]


@pytest.mark.parametrize(("story", "outcome"), ENDINGS, ids=[story.__name__ for story, _ in ENDINGS])
async def test_every_ordinary_ending_is_clean(world: World, story: Story, outcome: str | None) -> None:
    sid = await story(world)
    report = await world.verify()
    assert await world.outcome_of(sid) == outcome
    assert (report.violations, report.kept) == ([], True)


# --- Breaking it ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Break:
    """A story, the change of its rows, the delay before the check, and the check that must find it."""

    story: Story
    sql: str
    found: str
    later: float = 0


BREAKS = [
    Break(stays_unanswered, "DELETE FROM message_queue", "unturned"),
    Break(stays_unanswered, "UPDATE message_queue SET status = 'done'", "unturned"),
    Break(stays_unanswered, "UPDATE message_queue SET turn_id = id", "unturned"),
    Break(turned, "UPDATE message_queue SET status = 'dead'", "turned"),
    Break(answered, "UPDATE messages SET outcome = NULL", "turned"),
    Break(unsettled, "UPDATE message_queue SET status = 'done'", "turned"),
    Break(turned, "UPDATE turns SET created_at = created_at", "late", later=362),
    Break(turned, "UPDATE message_queue SET status = 'running'", "late", later=362),
    Break(turned, "UPDATE message_queue SET crashes = 1, due_at = :in_400_seconds", "late", later=500),
    Break(unsettled, "UPDATE message_queue SET status = 'dead'", "unsent"),
    Break(unsettled, "UPDATE message_queue SET payload = '{}'", "unsent"),
    Break(unsettled, "UPDATE attempts SET state = 'sending'", "sending", later=80),
    Break(unsettled, "UPDATE attempts SET pulls = 0", "unknown", later=901),
    Break(
        answered,
        "UPDATE answers SET state = 'waiting', settled_at = NULL",
        "unsent",
    ),
    Break(
        replayed,
        "UPDATE answers SET author = 'agent' WHERE author = 'apology'",
        "replayed_twice",
    ),
    Break(
        answered_by_a_person,
        """UPDATE answers SET author = 'agent', turn_id = (SELECT turn_id FROM messages) WHERE author = 'notice'""",
        "person_and_agent",
    ),
    Break(
        answered,
        """INSERT INTO sent_messages
           SELECT account_id, (SELECT account_ref FROM channel_accounts), owner_id, attempt_id, part_id, found_by,
           status, error_code, created_at, updated_at FROM sent_messages""",
        "sent_twice",
    ),
    Break(answered, "UPDATE messages SET answered_by = NULL", "answered_by_nothing"),
    Break(answered, "UPDATE answers SET state = 'refused'", "answered_by_nothing"),
    Break(answered_by_a_person, "UPDATE answers SET state = 'refused'", "answered_by_nothing"),
    Break(
        answered_in_parts,
        "UPDATE answer_parts SET state = 'waiting' WHERE part_no = 2",
        "answered_in_part",
    ),
    Break(
        answered_in_parts,
        "DELETE FROM sent_messages WHERE provider_message_id = (SELECT max(provider_message_id) FROM sent_messages)",
        "answered_in_part",
    ),
    Break(answered_by_a_person, "UPDATE answer_parts SET state = 'unconfirmed'", "answered_in_part"),
    Break(apologised, "UPDATE answers SET state = 'refused'", "apologised_without_apology"),
    Break(apologised, "UPDATE answers SET author = 'agent'", "apologised_without_apology"),
    Break(apologised, "DELETE FROM message_queue WHERE status = 'dead'", "apologised_without_dead_letter"),
    Break(superseded, "UPDATE messages SET outcome = 'superseded'", "superseded_by_nothing"),
    Break(superseded_for_a_person, "UPDATE messages SET outcome = 'superseded'", "superseded_by_nothing"),
    Break(handed_off, "DELETE FROM inbox_items", "handed_off_to_nobody"),
    Break(handed_off, "UPDATE inbox_items SET resolved_at = created_at", "handed_off_to_nobody"),
    Break(answered, "UPDATE messages SET outcome = 'forgotten'", "unheard_of"),
    Break(suppressed, "UPDATE messages SET outcome_reason = NULL", "unheard_of"),
    Break(suppressed, "UPDATE messages SET outcome_reason = 'mood'", "unheard_of"),
    Break(answered, "UPDATE messages SET outcome_reason = 'loop'", "unheard_of"),
]
_WHY = {check.name: check.why for check in CHECKS}


@pytest.mark.parametrize("broken", BREAKS, ids=[f"{n}-{broken.found}" for n, broken in enumerate(BREAKS, start=1)])
async def test_each_violation_is_found(world: World, broken: Break) -> None:
    sid = await broken.story(world)
    then = world.clock.now() + timedelta(seconds=400)
    await world.breaks(broken.sql, **({"in_400_seconds": then} if ":in_400_seconds" in broken.sql else {}))
    world.advance(broken.later)
    report = await world.verify()
    assert Violation(sid, _WHY[broken.found]) in report.violations


def test_every_check_is_seen_to_find_something() -> None:
    assert {check.name for check in CHECKS} == {broken.found for broken in BREAKS}


# --- What only looks broken -------------------------------------------------------------------------------------------


async def test_an_isolated_job_that_waits_is_not_late(world: World) -> None:
    world.dies_at = "after_agent"
    await world.says("oi")
    await world.lease_runs_out()
    world.advance(3600)
    assert (await world.verify()).violations == []


async def test_a_replay_that_is_not_claimed_yet_is_not_late(world: World) -> None:
    await apologised(world)
    await world.queue.retry((await world.dead())[0].id)
    world.advance(3600)
    assert (await world.verify()).violations == []


async def test_a_released_turn_that_waits_for_its_agent_needs_no_inbox(world: World) -> None:
    await handed_off(world)
    await world.release()
    assert (await world.verify()).violations == []


async def test_a_released_turn_without_a_job_is_a_violation(world: World) -> None:
    sid = await handed_off(world)
    await world.release()
    await world.breaks("DELETE FROM message_queue WHERE status = 'waiting' AND name = 'conversation.reply'")
    assert (await world.verify()).violations == [Violation(sid, _WHY["handed_off_to_nobody"])]


# --- The report -------------------------------------------------------------------------------------------------------


async def test_it_counts_accepted_messages_and_outcomes(world: World) -> None:
    await superseded(world)
    await world.receives("ainda aberto", BRUNO)
    report = await world.verify()
    assert (report.accepted, report.open, report.outcomes) == (3, 1, {"answered": 1, "superseded": 1})


async def test_it_tells_why_messages_were_suppressed(world: World) -> None:
    await suppressed(world)
    await suppressed(world)
    world.channel.will(Refused("63024", "invalid recipient", "unreachable"))
    await world.says("oi", BRUNO)
    report = await world.verify()
    assert report.outcomes == {"suppressed": 3}
    assert report.suppressed == {"no_reply": 2, "unreachable": 1}
    assert report.document()["suppressed"] == {"no_reply": 2, "unreachable": 1}


async def test_a_suppression_without_a_reason_is_counted_all_the_same(world: World) -> None:
    await suppressed(world)
    await world.breaks("UPDATE messages SET outcome_reason = NULL")
    report = await world.verify()
    assert (report.outcomes, report.suppressed) == ({"suppressed": 1}, {NO_REASON: 1})


async def test_it_counts_what_is_no_violation_but_worth_attention(world: World) -> None:
    await answered(world)
    await world.calls_back(world.channel.taken[0], "undelivered", error="63024")
    world.channel.will(Lost(listed=False))
    await world.says("e agora?", BRUNO)
    await world.receives("ninguém me ouve")
    world.advance(301)
    await world.breaks("UPDATE channel_accounts SET paused_until = :then", then=world.clock.now() + timedelta(days=9))
    await world.breaks(
        "INSERT INTO orphans (id, provider, account_ref, provider_message_id, from_address, to_address, raw,"
        " received_at, signed_by) VALUES (:id, 'twilio', :sid, :sid, :whom, :whom, :sid, :now, :id)",
        id=world.ids.new(),
        sid=b"1",
        now=world.clock.now(),
        whom=OURS.value,
    )
    report = await world.verify()
    counts = (report.undelivered, report.unknown_sends, report.unclaimed, report.paused_accounts, report.orphans)
    assert (counts, report.kept) == ((1, 1, 1, 1, 1), True)


async def test_one_owner_sees_no_messages_of_another(world: World) -> None:
    await answered(world)
    await world.breaks("UPDATE messages SET answered_by = NULL")
    mine, theirs = await world.verifier.verify(world.owner_id), await world.verifier.verify(world.ids.new())
    assert (mine.accepted, len(mine.violations)) == (1, 1)
    assert (theirs.accepted, theirs.violations) == (0, [])


async def test_every_check_can_be_asked_for_one_owner(world: World) -> None:
    for story in (refused, handed_off):
        await story(world)
    assert (await world.verifier.verify(world.owner_id)).violations == []


@pytest.mark.sqlite_only(reason="its sabotage is written for SQLite")
async def test_a_thousand_are_listed_and_the_rest_counted(world: World) -> None:
    await answered(world)
    await world.breaks(
        """INSERT INTO messages (id, owner_id, lane, address_id, provider, account_ref, provider_message_id,
               from_address, to_address, text, kind, raw, source, received_at)
           WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
           SELECT CAST('m' || i AS BLOB), owner_id, lane, address_id, provider, account_ref, CAST('s' || i AS BLOB),
               from_address, to_address, text, kind, raw, source, received_at FROM messages, n"""
    )
    report = await world.verify()
    assert (len(report.violations), report.more, report.open) == (MAX_LISTED, 500, 1500)


async def test_the_document_is_what_the_command_prints(world: World) -> None:
    sid = await answered(world)
    await world.breaks("UPDATE messages SET outcome_reason = 'loop'")
    document = (await world.verify()).document()
    assert document["violations"] == [{"message_sid": sid, "why": _WHY["unheard_of"]}]
    assert (document["accepted"], document["open"], document["outcomes"]) == (1, 0, {"answered": 1})

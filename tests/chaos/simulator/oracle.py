"""What must be true when everything has settled, told from what customers received and from what is stored.

The truth about the outside (`World.truth`) decides; the database is asked only who belongs to whom.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import make_url

from recado.conversation.values import Address
from recado.core.database.types import ProviderId
from recado.operations.verify import VerificationReport
from tests.chaos.simulator.storage import Storage
from tests.chaos.simulator.world import Received, World

QUIET_SECONDS = 600
SQLITE = make_url("sqlite://").get_dialect()()


class Oracle:
    """Compares the truth with what the product believes."""

    def __init__(self, world: World, storage: Storage) -> None:
        self._world = world
        self._truth = world.truth
        self._storage = storage
        self._by_sid = {said.sid: said for said in world.truth.said.values()}
        self._parts = {
            UUID(bytes=row[0]): row[1:]
            for row in storage.rows(
                "SELECT x.id, x.part_id, x.state, x.started_at, a.id, a.turn_id, a.author, a.lane"
                " FROM attempts x JOIN answers a ON a.id = x.answer_id"
            )
        }

        self._given_up = {
            UUID(bytes=row[0])
            for row in storage.rows("SELECT DISTINCT attempt FROM played_history WHERE state = 'unconfirmed'")
        }
        self._resent = {
            UUID(hex=row[0]).bytes
            for row in storage.rows(
                "SELECT replace(json_extract(payload, '$.answer_id'), '-', '') FROM message_queue"
                " WHERE name = 'answer.send' AND replayed_by IS NOT NULL"
            )
        }

    def violations(self, report: VerificationReport) -> Iterator[str]:
        for found in report.violations:
            yield f"verify: {found.message_sid[-4:]}: {found.why}"
        if report.more:
            yield f"verify: {report.more} more"
        if report.open:
            yield f"verify: {report.open} messages are open"
        yield from self._truth.surprises
        yield from self._lost()
        yield from self._part_twice()
        yield from self._answered_twice()
        yield from self._not_covered()
        yield from self._mixed()
        yield from self._out_of_order()
        yield from self._apologies()
        yield from self._spoke_beside_a_person()
        yield from self._cut()
        yield from self._nudged()
        yield from self._told()
        for key, times in self._truth.effects.items():
            if times > 1:
                yield f"effect {key} happened {times} times"

    def _lost(self) -> Iterator[str]:
        """Whatever got a 200 is stored, and everything Twilio lists is found sooner or later."""
        stored = {_sid(row[0]) for row in self._storage.rows("SELECT provider_message_id FROM messages")}
        for said in self._truth.said.values():
            if said.sid not in stored and (said.acknowledged or not said.pigeon):
                why = "got a 200" if said.acknowledged else "is in Twilio's list"
                yield f"#{said.number} {why} and is not stored"

    def _part_twice(self) -> Iterator[str]:
        arrived: dict[bytes, list[Received]] = defaultdict(list)
        for received in self._truth.received:
            part = self._parts.get(received.ref)
            if part is None:
                yield f"{received.sid[-4:]} was sent for an attempt that is not stored"
            else:
                arrived[part[0]].append(received)
        for group in arrived.values():
            for earlier in group[:-1]:
                # Given up as unconfirmed, it may be sent again by an operator or an owner who prefers delivery.
                if earlier.ref not in self._given_up:
                    yield f"{earlier.text!r} arrived {len(group)} times: {[each.sid[-4:] for each in group]}"
                    break

    def _answered_twice(self) -> Iterator[str]:
        """No message is answered in full by two answers of the agent."""
        whole = self._whole_answers()
        answered: dict[int, set[bytes]] = defaultdict(set)
        for received in self._truth.received:
            answer = self._parts[received.ref][3]
            if self._parts[received.ref][5] == "agent" and answer in whole:
                for tag in received.tags:
                    answered[tag].add(answer)
        for tag, by in answered.items():
            if len(by) > 1:
                yield f"#{tag} was answered by {len(by)} answers"

    def _whole_answers(self) -> set[bytes]:
        arrived = {self._parts[received.ref][0] for received in self._truth.received}
        rows = self._storage.rows("SELECT answer_id, id FROM answer_parts")
        missing = {answer for answer, part in rows if part not in arrived}
        return {answer for answer, _ in rows} - missing

    def _not_covered(self) -> Iterator[str]:
        """An answered message was read by the agent whose answer settled it."""
        tags: dict[bytes, set[int]] = defaultdict(set)
        for received in self._truth.received:
            tags[self._parts[received.ref][3]] |= received.tags
        rows = self._storage.rows(
            "SELECT m.provider_message_id, m.answered_by, m.kind FROM messages m JOIN answers a ON a.id = m.answered_by"
            " WHERE m.outcome IN ('answered', 'superseded') AND a.author = 'agent'"
        )
        for sid, answer, kind in rows:
            said = self._by_sid[_sid(sid)]
            if said.text.startswith("#") and kind != "reaction" and said.number not in tags[answer]:
                yield f"#{said.number} is answered by a text that was not made from it"

    def _mixed(self) -> Iterator[str]:
        for received in self._truth.received:
            theirs = (received.ours, Address(received.to).match_key)
            for tag in received.tags:
                said = self._truth.said[tag]
                if (said.ours, Address(said.sender).match_key) != theirs:
                    yield f"{received.text!r} was sent to somebody who had not said #{tag}"

    def _out_of_order(self) -> Iterator[str]:
        """The agent's answers of one lane arrive in the order of what they answer; replays and releases come late.

        What counts is the order in which messages were stored, which is SQLite's rowid. Ids are made before the commit:
        one that is slow may be overtaken by the gap sweep, and nobody can answer what is not stored yet.
        """
        late = {row[0] for row in self._storage.rows("SELECT id FROM turns WHERE replay_of IS NOT NULL OR resumes")}
        newest: dict[str, tuple[int, Received]] = {}
        settled = {row[0]: row[1] for row in self._storage.rows("SELECT turn_id, max(rowid) FROM messages GROUP BY 1")}
        for received in sorted(self._truth.received, key=lambda each: each.at):
            _, _, _, answer, turn, author, lane = self._parts[received.ref]
            if author != "agent" or turn in late or turn not in settled or answer in self._resent:
                continue
            before = newest.get(lane)
            if before is not None and before[0] > settled[turn]:
                yield f"{received.text!r} arrived after {before[1].text!r}"
            newest[lane] = (settled[turn], received)

    def _apologies(self) -> Iterator[str]:
        """Between two apologies that we know to have been accepted there is a quiet time."""
        last: dict[str, tuple[int, bytes]] = {}
        rows = self._storage.rows(
            "SELECT a.lane, a.id, min(x.started_at), a.settled_at FROM answers a JOIN attempts x ON x.answer_id = a.id"
            " WHERE a.author = 'apology' AND a.state = 'accepted' AND x.state = 'accepted' GROUP BY a.id ORDER BY 3"
        )
        for lane, answer, started, settled in rows:
            before = last.get(lane)
            if before is not None and started - before[0] < QUIET_SECONDS * 1_000_000:
                yield f"two apologies within {(started - before[0]) / 1e6:.0f}s"
            last[lane] = (settled, answer)

    def _spoke_beside_a_person(self) -> Iterator[str]:
        """No attempt of the agent's begins while a person has the conversation."""
        for author, holder in self._storage.rows(
            "SELECT author, held_by FROM played_attempts WHERE author IN ('agent', 'apology') AND held_by <> 'agent'"
        ):
            yield f"{author} began to send while the conversation was held by {holder}"

    def left_behind(self, statuses: Sequence[str]) -> Iterator[str]:
        """What is still in one of these states although nobody has spoken, held or awaited anything for so long."""
        for lane, status in self._storage.rows(
            "SELECT lane, status FROM conversations c WHERE held_by = 'agent' AND NOT EXISTS ("
            " SELECT 1 FROM inbox_items i WHERE i.conversation_id = c.id AND i.resolved_at IS NULL)"
        ):
            if status in statuses:
                yield f"the conversation of {lane.hex()[-8:]} was left behind {status}"

    def _cut(self) -> Iterator[str]:
        """What fell idle or ended was silent for long enough, and nothing was under way in it at that moment."""
        plan = self._world.plan
        limits = {"idle": plan.idle, "closed": plan.expire}
        steps = 2_000_000 if self._world.counts["clock step"] else 0
        for at, became, by, holder, under_way, spoken_at in self._storage.rows(
            "SELECT at, became, by, held_by, under_way, spoken_at FROM played_endings"
        ):
            if by != "person" and (under_way or holder != "agent"):  # A person may end what is under way.
                yield f"a live conversation, held by {holder}, became {became} by the {by}"
            if by == "system" and at - spoken_at < limits[became] // timedelta(microseconds=1) - steps:
                yield f"a conversation became {became} {(at - spoken_at) / 1e6:.6f}s after somebody had spoken"

    def _nudged(self) -> Iterator[str]:
        """One nudge for each stretch of silence, and none for who has spoken or has a person."""
        stretches = Counter(
            row[0] for row in self._storage.rows("SELECT conversation FROM played_endings WHERE became = 'idle'")
        )
        nudges = self._storage.rows(
            "SELECT a.conversation_id, count(*) FROM answers a JOIN answer_parts p ON p.answer_id = a.id"
            " WHERE a.author = 'notice' AND p.text = 'Are you still there?' GROUP BY 1"
        )
        for conversation, count in nudges:
            if count > stretches[conversation]:
                yield f"{count} nudges in {stretches[conversation]} stretches of silence"
        for status, holder, unturned in self._storage.rows("SELECT status, held_by, unturned FROM played_nudges"):
            if status != "idle" or holder != "agent" or unturned:
                yield f"a nudge went out to somebody who had spoken ({status}, {holder}, {unturned} messages)"

    def _told(self) -> Iterator[str]:
        """Whatever happened to a message was told once, in order: it came, and each outcome that it had."""
        told: dict[str, list[str]] = defaultdict(list)
        for message, type_, outcome in self._storage.rows(
            "SELECT json_extract(data, '$.message_id'), type, json_extract(data, '$.outcome')"
            " || coalesce(':' || json_extract(data, '$.reason'), '') FROM events"
            " WHERE type IN ('message.received', 'outcome.decided') ORDER BY number"
        ):
            told[message].append(outcome or type_)
        changes: dict[bytes, list[str]] = defaultdict(list)
        for message, before in self._storage.rows("SELECT message_id, before FROM outcome_changes ORDER BY at, id"):
            changes[message].append(before)
        for message, outcome in self._storage.rows(
            "SELECT id, outcome || coalesce(':' || outcome_reason, '') FROM messages"
        ):
            happened = ["message.received", *changes[message], outcome]
            if told[str(UUID(bytes=message))] != [each for each in happened if each]:
                yield f"{UUID(bytes=message)} had {happened} and its events are {told[str(UUID(bytes=message))]}"
        for answer, times in self._storage.rows(
            "SELECT a.id, (SELECT count(*) FROM events e WHERE e.type = 'message.sent'"
            " AND json_extract(e.data, '$.answer_id') = lower(substr(hex(a.id), 1, 8) || '-' || substr(hex(a.id), 9, 4)"
            " || '-' || substr(hex(a.id), 13, 4) || '-' || substr(hex(a.id), 17, 4) || '-' || substr(hex(a.id), 21)))"
            " AS times FROM answers a WHERE a.state = 'accepted' AND times = 0"
        ):
            yield f"answer {UUID(bytes=answer)} was accepted and told {times} times"


def _sid(stored: bytes) -> str:
    sid = ProviderId().process_result_value(stored, SQLITE)
    assert sid is not None
    return sid

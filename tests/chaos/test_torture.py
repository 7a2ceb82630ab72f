"""The torture's own judgement first: a judge who sees nothing would call every run a good one. Then a short torture."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest

from tests.chaos.torture.faults import Fault, FaultInjector
from tests.chaos.torture.judging.journal import Record, Tail
from tests.chaos.torture.judging.leases import Kill, Recoveries
from tests.chaos.torture.judging.ledger import Held, JobState, Row
from tests.chaos.torture.judging.oracle import APOLOGY, Twilio, Verdict, judge
from tests.chaos.torture.judging.report import Percentiles
from tests.chaos.torture.pace import MachinePace

ANA, BIA = "whatsapp:+5511980000001", "whatsapp:+5511980000002"
SHOP = "whatsapp:+5511900000001"
ONE, TWO = "SM1", "SM2"
FIRST, SECOND = "q0000001w", "q0000002w"


def wrote(sid: str, body: str, sender: str = ANA) -> Record:
    return {"event": "inbound", "sid": sid, "from": sender, "to": SHOP, "body": body}


def hooked(sid: str, status: int | None = 200) -> Record:
    return {"event": "webhook", "sid": sid, "status": status}


def told(sid: str, body: str, to: str = ANA) -> Record:
    return {"event": "create", "sid": sid, "from": SHOP, "to": to, "body": body}


def row(sid: str, outcome: str | None, reason: str | None = None, turn: str = "t1") -> Row:
    return Row(sid, outcome, reason, turn)


def verdict(records: list[Record], *rows: Row, prefers_delivery: tuple[str, ...] = ()) -> Verdict:
    return judge(Twilio.of(records), rows, prefers_delivery)


class TestTheOracle:
    def test_is_content_with_a_burst_that_one_reply_answers(self) -> None:
        journal = [wrote(ONE, FIRST), wrote(TWO, SECOND), hooked(ONE), hooked(TWO), told("SMr", f"{FIRST}\n{SECOND}")]

        found = verdict(journal, row(ONE, "superseded"), row(TWO, "answered"))

        assert found.kept
        assert (found.accepted, dict(found.outcomes)) == (2, {"superseded": 1, "answered": 1})

    def test_sees_a_message_that_was_answered_200_and_never_stored(self) -> None:
        assert verdict([wrote(ONE, FIRST), hooked(ONE)]).lost == [ONE]

    def test_forgives_one_that_got_no_200_and_was_never_stored(self) -> None:
        assert verdict([wrote(ONE, FIRST), hooked(ONE, 503), hooked(ONE, None)]).accepted == 0

    def test_counts_one_whose_200_was_lost_on_its_way(self) -> None:
        found = verdict([wrote(ONE, FIRST), hooked(ONE, None), told("SMr", FIRST)], row(ONE, "answered"))
        assert (found.accepted, found.kept) == (1, True)

    @pytest.mark.parametrize("outcome", ["answered", "superseded"])
    def test_sees_an_answer_that_nobody_received(self, outcome: str) -> None:
        assert verdict([wrote(ONE, FIRST), hooked(ONE)], row(ONE, outcome)).lost == [ONE]

    def test_sees_two_replies_to_one_message(self) -> None:
        journal = [wrote(ONE, FIRST), hooked(ONE), told("SMr", FIRST), told("SMs", FIRST)]
        assert verdict(journal, row(ONE, "answered")).twice == [ONE]

    def test_counts_them_apart_where_the_owner_prefers_that_to_silence(self) -> None:
        journal = [wrote(ONE, FIRST), hooked(ONE), told("SMr", FIRST), told("SMs", FIRST)]
        found = verdict(journal, row(ONE, "answered"), prefers_delivery=(SHOP,))
        assert (found.twice, found.resent) == ([], [ONE])

    def test_sees_a_reply_beside_an_apology(self) -> None:
        journal = [wrote(ONE, FIRST), hooked(ONE), told("SMr", FIRST), told("SMs", APOLOGY)]
        assert verdict(journal, row(ONE, "apologised")).twice == [ONE]

    def test_sees_a_second_apology_for_one_turn(self) -> None:
        journal = [wrote(ONE, FIRST), hooked(ONE), told("SMr", APOLOGY), told("SMs", APOLOGY)]
        assert verdict(journal, row(ONE, "apologised")).twice == [ONE]

    def test_sees_an_apology_that_nobody_received(self) -> None:
        assert verdict([wrote(ONE, FIRST), hooked(ONE)], row(ONE, "apologised")).lost == [ONE]

    def test_sees_a_reply_to_somebody_else(self) -> None:
        journal = [wrote(ONE, FIRST), hooked(ONE), told("SMr", FIRST, to=BIA)]
        found = verdict(journal, row(ONE, "answered"))
        assert (found.astray, found.lost) == ([ONE], [ONE])

    def test_sees_a_message_without_an_outcome(self) -> None:
        assert verdict([wrote(ONE, FIRST), hooked(ONE)], row(ONE, None)).stuck == [ONE]

    @pytest.mark.parametrize(("reason", "untrue"), [("unreachable", [ONE]), ("unconfirmed", [])])
    def test_knows_which_suppressed_messages_may_have_been_answered(self, reason: str, untrue: list[str]) -> None:
        journal = [wrote(ONE, FIRST), hooked(ONE), told("SMr", FIRST)]
        assert verdict(journal, row(ONE, "suppressed", reason)).untrue == untrue

    def test_reads_only_whole_lines_of_a_journal(self, tmp_path: Path) -> None:
        path = tmp_path / "journal"
        path.write_text('{"event": "create"}\n{"event": "cre')
        tail = Tail(path)
        assert [each["event"] for each in tail.news()] == ["create"]
        with path.open("a") as file:
            file.write('ate"}\n')
        assert [each["event"] for each in tail.news()] == ["create"]


def token(seconds: float, number: int = 0) -> UUID:
    return UUID(int=int(seconds * 1000) << 80 | number)


def held(claimed: float, lease: float, crashes: int = 0) -> Held:
    return Held("job", "answer.send", token(claimed), claimed + lease, crashes)


class TestRecovery:
    """Two workers with leases of 30 and 30.5 seconds; the second is killed at 12, the first at 14."""

    @pytest.fixture
    def recoveries(self) -> Recoveries:
        return Recoveries(30.0, 0.5, ("one", "two"), kills=[Kill("two", 12.0), Kill("one", 14.0)])

    @pytest.mark.parametrize(("lease", "span"), [(30.5, 33.0), (30.0, 31.0)])
    def test_is_counted_from_the_kill_of_whoever_held_the_job(
        self, recoveries: Recoveries, lease: float, span: float
    ) -> None:
        recoveries.see([held(10.0, lease)], {})
        recoveries.see([held(45.0, 30.0, crashes=1)], {})
        assert recoveries.spans == [pytest.approx(span)]

    def test_ends_with_the_job_when_its_next_claim_was_too_short_to_be_seen(self, recoveries: Recoveries) -> None:
        recoveries.see([held(10.0, 30.0)], {})
        recoveries.see([], {"job": JobState("waiting", 1, None)})
        assert (recoveries.waiting, recoveries.spans) == (1, [])
        recoveries.see([], {"job": JobState("done", 1, 46.0)})
        assert recoveries.waiting == 0
        assert recoveries.spans == [pytest.approx(32.0)]

    def test_does_not_count_what_ended_well(self, recoveries: Recoveries) -> None:
        recoveries.see([held(10.0, 30.0)], {})
        recoveries.see([], {"job": JobState("done", 0, 11.0)})
        assert (recoveries.spans, recoveries.unexplained) == ([], [])

    def test_tells_of_a_lease_that_nobody_was_killed_for(self, recoveries: Recoveries) -> None:
        recoveries.see([held(20.0, 30.0)], {})
        recoveries.see([], {"job": JobState("waiting", 1, None)})
        assert len(recoveries.unexplained) == 1


class TestThePace:
    def test_follows_what_starts_take_now(self) -> None:
        pace = MachinePace(1.0)
        pace.sample(1, lambda: False, 100.0)
        pace.sample(1, lambda: True, 111.0)
        assert pace.unit == pytest.approx(4.0)

    def test_learns_from_a_start_that_was_cut_short_only_how_long_it_was_at_least(self) -> None:
        pace = MachinePace(2.0)
        pace.sample(1, lambda: False, 100.0)
        pace.sample(2, lambda: False, 101.0)
        assert pace.unit == 2.0
        pace.sample(3, lambda: False, 113.0)
        assert pace.unit == pytest.approx(5.0)

    def test_is_a_second_at_least(self) -> None:
        assert MachinePace(0.1).unit == 1.0


class Suspendable:
    """A process that can stand still, and only counts what is done to it."""

    name = "emulator"
    armed: str | None = None
    incarnation = 1
    killed_itself = False
    lives = True

    def __init__(self) -> None:
        self.surprises: list[str] = []
        self.still = False

    def inject(self, number: signal.Signals) -> bool:
        return number is not signal.SIGKILL

    def disturb(self, what: str) -> None:
        self.still = what == "stands still"

    def clear(self) -> None:
        self.still = False

    def start_again(self, crash_at: str | None = None) -> None:
        raise AssertionError(f"started again at {crash_at}")


def test_who_stands_still_at_the_end_of_the_faults_is_resumed_at_once() -> None:
    """The end begins with calls to the emulator; suspended, it would never answer them."""
    emulator = Suspendable()
    injector = FaultInjector({"emulator": emulator, "api": Suspendable()}, [], seed=1)
    injector.inject(Fault(1.0, "api SIGTERM", "emulator stands still", lasts=4.0), now=0.0, monotonic=0.0)
    assert emulator.still
    injector.stop_faults()
    assert not emulator.still


def test_percentiles_are_seconds_that_were_measured() -> None:
    assert Percentiles.of([float(n) for n in range(1, 101)]) == Percentiles(100, 50.0, 99.0, 100.0)
    assert Percentiles.of([]) == Percentiles(0, 0.0, 0.0, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--events",)])
def test_twenty_kills_lose_nothing_and_double_nothing(more: Sequence[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.chaos.torture", "--cycles", "20", "--lease", "5", "--json", *more],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout, ran.stderr[-3000:]
    found = json.loads(ran.stdout)
    assert found["kept"], f"{ran.stdout}\n{ran.stderr[-3000:]}"

"""Many dead letters are handled by a job, each once, whatever happens to its worker."""

from datetime import timedelta
from uuid import UUID

import pytest

from recado.conversation.errors import AgentFailed
from recado.conversation.values import Address
from recado.core.database.engine import Database
from recado.core.errors import InvalidInput, NotFound
from recado.core.queue.job import Claim, RetryIn
from recado.identity.owners import Registration
from recado.identity.principal import Principal
from recado.operations.dead_letters.bulk import PAGE
from recado.operations.dead_letters.models import MAX_LETTERS, MAX_REFUSALS, BulkOperation, BulkOrder, RefusedLetter
from recado.operations.dead_letters.reading import DeadLetterReading
from recado.operations.pruning import KEEP_BULK_OPERATIONS, Pruning
from tests.support.callers import admin_of
from tests.world import LEASE, World

ON_BOTH_DATABASES = True

NOBODYS = UUID("01a203d3-d0be-7000-95bc-8269c3611314")


@pytest.fixture
def bia(world: World) -> Principal:
    return admin_of(world.owner_id)


@pytest.fixture
def reading(database: Database) -> DeadLetterReading:
    return DeadLetterReading(database)


def customer(number: int) -> Address:
    return Address(f"whatsapp:+55119{50_000_000 + number:08}")


async def dead_letters(world: World, count: int) -> list[UUID]:
    """So many customers' messages whose agent failed for good; return the dead letters."""
    world.agents.will(*(AgentFailed("the model is on fire", retryable=False) for _ in range(count)))
    for number in range(count):
        await world.receives("oi", customer(number))
    await world.passes(2)
    return [job.id for job in await world.dead()]


async def claimed(world: World) -> Claim:
    """The bulk job, leased to a worker."""
    [claim] = await world.queue.claim(1, max_isolated=4)
    return claim


def figures(operation: BulkOperation) -> tuple[str, int, int, int]:
    return operation.state, operation.total, operation.succeeded, operation.refused


async def audited(world: World, action: str) -> list[str]:
    rows = await world.rows(
        "SELECT actor_name, object_id FROM audit_entries WHERE action = :action ORDER BY object_id", action=action
    )
    assert {row["actor_name"] for row in rows} <= {"Bia"}
    return [str(row["object_id"]) for row in rows]


async def test_all_are_retried_in_the_name_of_who_asked(
    world: World, bia: Principal, reading: DeadLetterReading
) -> None:
    letters = await dead_letters(world, 3)
    begun = await world.dead_letters.begin(bia, BulkOrder("retry"))
    assert figures(begun) == ("waiting", 3, 0, 0)
    await world.passes(2)
    ended = await reading.operation(world.owner_id, begun.id)
    assert figures(ended) == ("done", 3, 3, 0)
    assert await audited(world, "dead_letter.retried") == [str(each) for each in letters]
    assert await audited(world, "dead_letters.retry_ordered") == [str(begun.id)]
    assert {(await reading.one(world.owner_id, each)).handled_by for each in letters} == {"Bia"}
    assert [world.sent_texts(customer(number))[1:] for number in range(3)] == [["echo: oi"]] * 3
    assert (await world.dead(), (await world.verify()).violations) == ([], [])


async def test_all_are_discarded(world: World, bia: Principal, reading: DeadLetterReading) -> None:
    letters = await dead_letters(world, 2)
    begun = await world.dead_letters.begin(bia, BulkOrder("discard"))
    await world.passes(2)
    assert figures(await reading.operation(world.owner_id, begun.id)) == ("done", 2, 2, 0)
    assert (await world.dead(), await audited(world, "dead_letter.discarded")) == ([], [str(each) for each in letters])


async def test_pages_of_them_are_handled(world: World, bia: Principal, reading: DeadLetterReading) -> None:
    [letter] = await dead_letters(world, 1)
    copies = [UUID(int=letter.int + number) for number in range(1, PAGE + 20)]
    await copied(world, letter, copies)
    begun = await world.dead_letters.begin(bia, BulkOrder("discard"))
    await world.passes(2)
    assert figures(await reading.operation(world.owner_id, begun.id)) == ("done", PAGE + 20, PAGE + 20, 0)


async def copied(world: World, letter: UUID, copies: list[UUID]) -> None:
    """Store the same dead letter again and again."""
    columns = "name, payload, status, attempts, created_at, owner_id, lane, priority, due_at, timed_at, crashes,"
    rest = f"{columns} crashes_alone, faults, dispatches"
    for copy in copies:
        await world.breaks(
            f"INSERT INTO message_queue (id, {rest}) SELECT :copy, {rest} FROM message_queue WHERE id = :id",
            copy=copy,
            id=letter,
        )


async def test_only_those_that_are_named_are_handled(world: World, bia: Principal, reading: DeadLetterReading) -> None:
    first, second, third = await dead_letters(world, 3)
    begun = await world.dead_letters.begin(bia, BulkOrder("discard", [third, first, third]))
    await world.passes(2)
    assert figures(await reading.operation(world.owner_id, begun.id)) == ("done", 2, 2, 0)
    assert [job.id for job in await world.dead()] == [second]


async def test_only_those_of_a_job_name_are_handled(world: World, bia: Principal, reading: DeadLetterReading) -> None:
    letters = await dead_letters(world, 2)
    for name in ("answer.send", "conversation.reply"):
        begun = await world.dead_letters.begin(bia, BulkOrder("discard", job_name=name))
        await world.passes(2)
        ended = await reading.operation(world.owner_id, begun.id)
        expected = len(letters) if name == "conversation.reply" else 0
        assert figures(ended) == ("done", expected, expected, 0)


async def test_one_that_is_refused_stops_none_behind_it(
    world: World, bia: Principal, reading: DeadLetterReading
) -> None:
    first, second, third = await dead_letters(world, 3)
    await world.take(customer(0))
    await world.breaks("UPDATE message_queue SET name = 'of an older release' WHERE id = :id", id=second)
    begun = await world.dead_letters.begin(bia, BulkOrder("retry", [first, second, third, NOBODYS]))
    await world.passes(2)
    ended = await reading.operation(world.owner_id, begun.id)
    assert figures(ended) == ("done", 4, 1, 3)
    assert {each.id for each in ended.first_refusals} == {first, second, NOBODYS}
    assert RefusedLetter(first, "a person holds the conversation") in ended.first_refusals
    assert await audited(world, "dead_letter.retried") == [str(third)]


async def test_dead_letters_of_another_owner_are_like_those_that_do_not_exist(
    world: World, reading: DeadLetterReading
) -> None:
    [letter] = await dead_letters(world, 1)
    form = Registration("Floricultura", "dono@floricultura.example", "rosas às sete")
    stranger = admin_of((await world.owners.register_organization(form)).owner_id)
    begun = await world.dead_letters.begin(stranger, BulkOrder("discard", [letter, NOBODYS]))
    every = await world.dead_letters.begin(stranger, BulkOrder("discard"))
    await world.passes(2)
    refusals = (await reading.operation(stranger.owner_id, begun.id)).first_refusals
    assert {each.why.replace(str(each.id), "ID") for each in refusals} == {
        "there is no job ID; `recado queue dead` lists the dead letters"
    }
    assert figures(await reading.operation(stranger.owner_id, every.id)) == ("done", 0, 0, 0)
    assert [job.id for job in await world.dead()] == [letter]
    with pytest.raises(NotFound):
        await reading.operation(world.owner_id, begun.id)


async def test_a_waiting_job_is_not_among_them(world: World, bia: Principal, reading: DeadLetterReading) -> None:
    sid = await world.receives("oi")
    [row] = await world.rows("SELECT id FROM message_queue")
    begun = await world.dead_letters.begin(bia, BulkOrder("discard", [world.uuid(row["id"])]))
    await world.passes(10)
    assert figures(await reading.operation(world.owner_id, begun.id)) == ("done", 1, 0, 1)
    assert await world.outcome_of(sid) == "answered"


async def test_those_that_die_later_are_left(world: World, bia: Principal) -> None:
    """A replay that fails at once would be replayed for ever."""
    [letter] = await dead_letters(world, 1)
    world.agents.will(AgentFailed("still on fire", retryable=False))
    await world.dead_letters.begin(bia, BulkOrder("retry"))
    await world.passes(5)
    [newer] = await world.dead()
    assert (newer.id != letter, world.sent_texts(customer(0))) == (True, ["Desculpe, estou indisponível no momento"])


class TestAWorkerThatDies:
    async def test_in_the_middle_leaves_the_rest_to_the_next(
        self, world: World, bia: Principal, reading: DeadLetterReading
    ) -> None:
        letters = await dead_letters(world, 3)
        begun = await world.dead_letters.begin(bia, BulkOrder("discard"))
        claim = await claimed(world)
        await handle_some(world, claim, letters[:2])
        assert figures(await reading.operation(world.owner_id, begun.id)) == ("waiting", 3, 2, 0)
        await world.lease_runs_out()
        await world.passes(2)
        assert figures(await reading.operation(world.owner_id, begun.id)) == ("done", 3, 3, 0)
        assert await audited(world, "dead_letter.discarded") == [str(each) for each in letters]

    async def test_after_the_last_one_has_counted_none_twice(
        self, world: World, bia: Principal, reading: DeadLetterReading
    ) -> None:
        await dead_letters(world, 2)
        begun = await world.dead_letters.begin(bia, BulkOrder("retry"))
        claim = await claimed(world)
        await world.queue.handler(claim.job.name).run(claim)
        await world.lease_runs_out()
        await world.passes(2)
        assert figures(await reading.operation(world.owner_id, begun.id)) == ("done", 2, 2, 0)

    async def test_but_goes_on_handles_no_dead_letter_twice(
        self, world: World, bia: Principal, reading: DeadLetterReading
    ) -> None:
        """It stood still, and another worker has the job: what that one has handled is passed over."""
        letters = await dead_letters(world, 2)
        begun = await world.dead_letters.begin(bia, BulkOrder("retry"))
        old = await claimed(world)
        await world.lease_runs_out()
        await world.passes(2)
        await handle_some(world, old, letters)
        assert figures(await reading.operation(world.owner_id, begun.id)) == ("done", 2, 2, 0)


async def handle_some(world: World, claim: Claim, letters: list[UUID]) -> None:
    """Handle some dead letters as the bulk job does, which then goes no further."""
    operation = await DeadLetterReading(world.database).operation(
        claim.job.owner_id, UUID(str(claim.job.payload["operation_id"]))
    )
    for letter in letters:
        await world.bulk.handle(operation, letter)


class TestAnOperationThatFails:
    async def test_is_a_dead_letter_whose_retry_goes_on(
        self, world: World, bia: Principal, reading: DeadLetterReading
    ) -> None:
        letters = await dead_letters(world, 2)
        begun = await world.dead_letters.begin(bia, BulkOrder("discard"))
        claim = await claimed(world)
        await handle_some(world, claim, letters[:1])
        await world.queue.give_up(claim, "the disk is full")
        failed = await reading.operation(world.owner_id, begun.id)
        assert (figures(failed), failed.error) == (("failed", 2, 1, 0), "the disk is full")
        await world.dead_letters.retry(bia, claim.job.id)
        await world.passes(2)
        assert figures(await reading.operation(world.owner_id, begun.id)) == ("done", 2, 2, 0)
        assert await world.rows("SELECT lane FROM lanes WHERE kind = 'job'") == []

    async def test_ends_when_its_job_is_discarded(
        self, world: World, bia: Principal, reading: DeadLetterReading
    ) -> None:
        await dead_letters(world, 1)
        begun = await world.dead_letters.begin(bia, BulkOrder("discard"))
        [row] = await world.rows("SELECT id FROM message_queue WHERE name = 'dead_letters.bulk'")
        await world.dead_letters.discard(bia, world.uuid(row["id"]))
        await world.passes(2)
        assert figures(await reading.operation(world.owner_id, begun.id)) == ("failed", 1, 0, 0)
        assert len(await world.dead()) == 1


async def test_a_long_one_gives_its_slot_back_after_a_while(world: World, bia: Principal) -> None:
    await dead_letters(world, 2)
    await world.dead_letters.begin(bia, BulkOrder("discard"))
    claim = await claimed(world)
    claim.lose()
    assert await world.queue.handler(claim.job.name).run(claim) == RetryIn(timedelta(), counts=False)
    assert len(await world.dead()) == 2


async def test_the_reasons_of_a_hundred_refusals_are_kept(
    world: World, bia: Principal, reading: DeadLetterReading
) -> None:
    unknown = [UUID(int=number) for number in range(1, MAX_REFUSALS + 11)]
    begun = await world.dead_letters.begin(bia, BulkOrder("discard", unknown))
    await world.passes(2)
    ended = await reading.operation(world.owner_id, begun.id)
    assert (ended.refused, len(ended.first_refusals)) == (MAX_REFUSALS + 10, MAX_REFUSALS)


@pytest.mark.parametrize(
    "order",
    [
        BulkOrder("discard", []),
        BulkOrder("discard", [UUID(int=number) for number in range(MAX_LETTERS + 1)]),
        BulkOrder("discard", [NOBODYS], "conversation.reply"),
    ],
)
async def test_an_order_that_means_nothing_is_refused(world: World, bia: Principal, order: BulkOrder) -> None:
    with pytest.raises(InvalidInput, match="1 to 1000"):
        await world.dead_letters.begin(bia, order)


async def test_what_is_done_is_deleted_after_a_month(world: World, bia: Principal, reading: DeadLetterReading) -> None:
    begun = await world.dead_letters.begin(bia, BulkOrder("discard"))
    await world.passes(2)
    pruning = Pruning(world.database, world.clock)
    world.advance((KEEP_BULK_OPERATIONS - LEASE).total_seconds())
    await pruning.prune()
    assert (await reading.operation(world.owner_id, begun.id)).state == "done"
    world.advance(2 * LEASE.total_seconds())
    await pruning.prune()
    with pytest.raises(NotFound):
        await reading.operation(world.owner_id, begun.id)

"""`recado queue`: the state of the queue, and what to do with dead letters."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias
from uuid import UUID

import typer

from recado.core.errors import InvalidInput
from recado.entrypoints.cli.endings import warn_of
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, read_id
from recado.entrypoints.cli.output import (
    MAX_SHOWN,
    Item,
    Progress,
    format_age,
    print_document,
    print_document_stream,
    print_items,
    print_line,
    print_result,
    print_table,
)
from recado.entrypoints.cli.running import operator, run
from recado.entrypoints.cli.texts.language import said

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.core.queue.job import Replayed, ReplayRefused, StoredJob
    from recado.identity.principal import Principal
    from recado.operations.dead_letters.service import DeadLetterService

app = family("Show jobs and dead letters; retry or discard them.")

MAX_REFUSALS_SHOWN: Final = 20
"""At most this many refusals are listed one by one."""

JobId = Annotated[UUID, typer.Argument(metavar="ID", parser=read_id, help="The id in `recado queue dead`.")]


@app.command()
def stats(as_json: AsJson = False) -> None:
    """Count the waiting, running and dead jobs."""
    found = run(lambda container: container.queue().stats())
    if as_json:
        print_document(asdict(found))
    else:
        row = [str(found.waiting), str(found.running), str(found.dead), format_age(found.oldest_due_seconds)]
        print_table(["Waiting", "Running", "Dead", "Oldest due"], [row])


@app.command()
def dead(as_json: AsJson = False) -> None:
    """List the dead letters, the oldest first.

    These jobs failed for good and were neither retried nor discarded.
    """
    if as_json:
        run(_print_all)
        return
    shown, count = run(_first_of_all)
    print_items(
        shown, {"Id": lambda item: str(item["id"]), "What": _what}, empty="There are no dead letters.", as_json=False
    )
    if count > len(shown):
        print_line(f"These are the oldest {len(shown):,} of {count:,}; --json lists them all.")


async def _first_of_all(container: "Container") -> tuple[list[Item], int]:
    queue = container.queue()
    shown: list[Item] = []
    async for page in queue.dead_pages():
        shown += [_view(job) for job in page]
        if len(shown) >= MAX_SHOWN:
            break
    return shown[:MAX_SHOWN], (await queue.dead_summary()).count


async def _print_all(container: "Container") -> None:
    """Print page by page: there may be more dead letters than fit into memory."""
    with print_document_stream() as add:
        async for page in container.queue().dead_pages():
            for job in page:
                add(_view(job))


def _view(job: "StoredJob") -> Item:
    return {
        "id": str(job.id),
        "name": job.name,
        "message_sid": job.message_sid,
        "attempts": job.attempts,
        "error": job.last_error,
    }


def _what(item: Item) -> str:
    lines = (f"{item['name']}, attempts: {item['attempts']}", item["message_sid"], item["error"])
    return "\n".join(str(line) for line in lines if line)


@dataclass(slots=True)
class RetryReport:
    """The dead letters that were retried and refused. `stopped` says why the command ended before the last one."""

    retried: list[Item] = field(default_factory=list)
    refused: list[Item] = field(default_factory=list)
    stopped: str | None = None
    status: int = 0

    def add(self, result: "Replayed | ReplayRefused") -> None:
        from recado.core.queue.job import Replayed

        if isinstance(result, Replayed):
            self.retried.append({"id": str(result.job_id), "job_id": str(result.by)})
        else:
            self.refused.append({"id": str(result.job_id), "why": result.why})


RetryJobId: TypeAlias = Annotated[
    UUID | None, typer.Argument(metavar="ID", parser=read_id, help="The id in `recado queue dead`.")
]
Every: TypeAlias = Annotated[bool, typer.Option("--all", help="All present dead letters.")]
Force: TypeAlias = Annotated[bool, typer.Option("--force", help="Also if a later message was answered meanwhile.")]


@app.command()
def retry(
    job_id: RetryJobId = None,
    every: Every = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Retry dead letters. A retry is refused while it could answer a customer twice or out of order.

    Each retry is stored on its own: you can interrupt the command and run it again for the rest.
    """
    if (job_id is None) is not every:
        raise InvalidInput("name one dead letter by its id, or all of them with --all")
    ended = run(lambda container: _retry(container, job_id, force=force))
    if as_json:
        print_document({"retried": ended.retried, "refused": ended.refused})
    else:
        _tell(ended)
    if ended.stopped is not None:
        warn_of(f"{ended.stopped}; `recado queue retry --all` continues with the rest")
        raise typer.Exit(ended.status)
    if job_id is not None and ended.refused:
        warn_of(f"{job_id} was not retried: {ended.refused[0]['why']}")
        raise typer.Exit(1)


async def _retry(container: "Container", job_id: UUID | None, *, force: bool) -> RetryReport:
    service = container.dead_letters()
    if job_id is None:
        return await _retry_all(service, (await container.queue().dead_summary()).count, force=force)
    ended = RetryReport()
    ended.add(await service.retry(await _acting_for_owner_of(container, job_id), job_id, force=force))
    return ended


async def _acting_for_owner_of(container: "Container", job_id: UUID) -> "Principal":
    """Return the person at the command line, acting for the owner of a job. Raises `NotFound`."""
    return operator(await container.dead_letter_reading().owner_of(job_id))


async def _retry_all(service: "DeadLetterService", total: int, *, force: bool) -> RetryReport:
    """Retry all dead letters until an interruption or a database error, and report what was done."""
    from recado.core.errors import Busy, StorageUnavailable

    ended, progress = RetryReport(), Progress()
    every = service.retry_all(operator, force=force)
    try:
        while (step := await _run_to_completion(anext(every, None))) is not None:
            ended.add(step.result)
            if step.interrupted:
                ended.stopped, ended.status = "interrupted", 130
                break
            done, refused = len(ended.retried), len(ended.refused)
            progress(f"{done + refused:,} of {total:,} dead letters handled: {refused:,} refused")
    except asyncio.CancelledError:
        ended.stopped, ended.status = "interrupted", 130
    except (Busy, StorageUnavailable) as error:
        ended.stopped, ended.status = str(error), 1
    return ended


@dataclass(frozen=True, slots=True)
class _Step:
    """The result for one dead letter. After an interruption it is the last one."""

    result: "Replayed | ReplayRefused"
    interrupted: bool


async def _run_to_completion(work: "Awaitable[Replayed | ReplayRefused | None]") -> _Step | None:
    """Wait for a retry that has begun even after an interruption, so that the report says what is stored."""
    task = asyncio.ensure_future(work)
    interrupted = False
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        interrupted = True
        await asyncio.wait({task})
    result = task.result()
    return None if result is None else _Step(result, interrupted)


def _tell(ended: RetryReport) -> None:
    if ended.retried:
        count = len(ended.retried)
        print_line(f"{count:,} dead letter{'s' * (count != 1)} will be retried by a worker.")
    elif not ended.refused:
        print_line("There are no dead letters.")
    if ended.refused:
        shown = ended.refused[:MAX_REFUSALS_SHOWN]
        print_table(["Refused", "Why"], [[str(each["id"]), said(str(each["why"]))] for each in shown])
    for why, count in _reasons(ended.refused[MAX_REFUSALS_SHOWN:]):
        print_line(f"… and {count:,} more: {why}")


def _reasons(refused: Sequence[Item]) -> list[tuple[str, int]]:
    return Counter(str(each["why"]) for each in refused).most_common(MAX_REFUSALS_SHOWN)


@dataclass(frozen=True, slots=True)
class BackendMove:
    """The backends before and after, and the number of jobs whose wake-ups are published again."""

    before: str
    after: str
    republished: int


@app.command()
def move(
    to: Annotated[str, typer.Option("--to", metavar="BACKEND", help="sqlite, postgres, bullmq or sqs.")],
    as_json: AsJson = False,
) -> None:
    """Change the backend that carries wake-ups, while jobs run.

    The jobs are rows of the database and stay there. The command tries the new backend and publishes a wake-up for
    every waiting job again. Each process publishes to the backend in its RECADO_QUEUE_BACKEND; both may be in use for a
    while.
    """
    moved = run(lambda container: _move(container, to))
    print_result(
        asdict(moved),
        f"Set RECADO_QUEUE_BACKEND={to} and restart the processes, one after the other: they use {to} from then on. "
        f"Waiting jobs with a new wake-up: {moved.republished}.",
        as_json=as_json,
    )


async def _move(container: "Container", to: str) -> BackendMove:
    from recado.bootstrap import Container
    from recado.core.database.engine import on_postgresql
    from recado.core.errors import ConfigurationError
    from recado.entrypoints.cli.running import settings_with

    backends = ("postgres" if on_postgresql(container.settings().database_url) else "sqlite", "bullmq", "sqs")
    if to not in backends:
        raise InvalidInput(f"--to must be one of {', '.join(backends)} for this database, not {to!r}")
    settings = settings_with("cli", QUEUE_BACKEND=to)
    broker = Container(settings=settings).broker()
    if broker is not None:
        state = await broker.state()
        await broker.close()
        if not state.reachable:
            raise ConfigurationError(state.warnings[0])
    before = container.settings().queue_backend
    return BackendMove(before, to, await container.queue().clear_dispatched())


@app.command()
def discard(job_id: JobId, as_json: AsJson = False) -> None:
    """Discard a job for good.

    A dead letter leaves the list. A waiting job leaves the queue, and its messages are not answered.
    """
    run(lambda container: _discard(container, job_id))
    print_result({"id": str(job_id), "discarded": True}, f"{job_id} was discarded.", as_json=as_json)


async def _discard(container: "Container", job_id: UUID) -> None:
    await container.dead_letters().discard(await _acting_for_owner_of(container, job_id), job_id)

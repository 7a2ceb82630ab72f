"""`recado queue`: how the line looks, and what to do with what was given up."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import typer

from recado.core.errors import InvalidInput
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
from recado.entrypoints.cli.running import run

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.core.queue.job import Job, Replayed, ReplayRefused
    from recado.core.queue.service import QueueService

app = family("What waits, and what was given up.")

MAX_REFUSALS_SHOWN: Final = 20
"""How many refusals are named one by one."""

JobId = Annotated[UUID, typer.Argument(metavar="ID", parser=read_id, help="As `recado queue dead` shows it.")]


@app.command()
def stats(as_json: AsJson = False) -> None:
    """Count what waits, runs and was given up."""
    found = run(lambda container: container.queue().stats())
    if as_json:
        print_document(asdict(found))
    else:
        row = [str(found.waiting), str(found.running), str(found.dead), format_age(found.oldest_due_seconds)]
        print_table(["Waiting", "Running", "Dead", "Oldest due"], [row])


@app.command()
def dead(as_json: AsJson = False) -> None:
    """List the dead letters, the oldest first.

    They are jobs that failed for good, and were neither retried nor discarded since.
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
    """Page by page: there may be more of them than fit into memory."""
    with print_document_stream() as add:
        async for page in container.queue().dead_pages():
            for job in page:
                add(_view(job))


def _view(job: "Job") -> Item:
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
    """What became of dead letters that were to start again; `stopped` says why it did not get to all of them."""

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


@app.command()
def retry(
    job_id: Annotated[
        UUID | None, typer.Argument(metavar="ID", parser=read_id, help="As `recado queue dead` shows it.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every dead letter that there is now.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if a later message was answered meanwhile.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start dead letters again. Refused while that could answer a customer twice or out of turn.

    Each is stored by itself: stop it at any time, and start it again for the rest.
    """
    if (job_id is None) is not every:
        raise InvalidInput("name one dead letter by its id, or all of them with --all")
    ended = run(lambda container: _retry(container, job_id, force=force))
    if as_json:
        print_document({"retried": ended.retried, "refused": ended.refused})
    else:
        _tell(ended)
    if ended.stopped is not None:
        typer.echo(f"Error: {ended.stopped}; `recado queue retry --all` goes on with the rest", err=True)
        raise typer.Exit(ended.status)
    if job_id is not None and ended.refused:
        typer.echo(f"Error: {job_id} was not retried: {ended.refused[0]['why']}", err=True)
        raise typer.Exit(1)


async def _retry(container: "Container", job_id: UUID | None, *, force: bool) -> RetryReport:
    if job_id is None:
        return await _retry_all(container.queue(), force=force)
    ended = RetryReport()
    ended.add(await container.queue().retry(job_id, force=force))
    return ended


async def _retry_all(queue: "QueueService", *, force: bool) -> RetryReport:
    """Until there are no more, it is interrupted or the database fails; what was done till then is told."""
    from recado.core.errors import Busy, StorageUnavailable

    ended, progress = RetryReport(), Progress()
    total = (await queue.dead_summary()).count
    every = queue.retry_all(force=force)
    try:
        while (step := await _run_to_completion(anext(every, None))) is not None:
            ended.add(step.result)
            if step.interrupted:
                ended.stopped, ended.status = "interrupted", 130
                break
            done, refused = len(ended.retried), len(ended.refused)
            progress(f"{done + refused:,} of {total:,} dead letters looked at: {refused:,} refused")
    except asyncio.CancelledError:
        ended.stopped, ended.status = "interrupted", 130
    except (Busy, StorageUnavailable) as error:
        ended.stopped, ended.status = str(error), 1
    return ended


@dataclass(frozen=True, slots=True)
class _Step:
    """One dead letter, done with; `interrupted`: it is to be the last."""

    result: "Replayed | ReplayRefused"
    interrupted: bool


async def _run_to_completion(work: "Awaitable[Replayed | ReplayRefused | None]") -> _Step | None:
    """What has begun is waited for even when it is interrupted, so that what is told is what is stored."""
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
        print_line(f"{count:,} dead letter{'s' * (count != 1)} started again; a worker takes it from here.")
    elif not ended.refused:
        print_line("There are no dead letters.")
    if ended.refused:
        shown = ended.refused[:MAX_REFUSALS_SHOWN]
        print_table(["Refused", "Why"], [[str(each["id"]), str(each["why"])] for each in shown])
    for why, count in _reasons(ended.refused[MAX_REFUSALS_SHOWN:]):
        print_line(f"… and {count:,} more: {why}")


def _reasons(refused: Sequence[Item]) -> list[tuple[str, int]]:
    return Counter(str(each["why"]) for each in refused).most_common(MAX_REFUSALS_SHOWN)


@dataclass(frozen=True, slots=True)
class BackendMove:
    """From which bell to which, and how many jobs are rung for anew."""

    before: str
    after: str
    rung_anew: int


@app.command()
def move(
    to: Annotated[str, typer.Option("--to", metavar="BACKEND", help="sqlite, postgres, bullmq or sqs.")],
    as_json: AsJson = False,
) -> None:
    """Let another backend ring for the jobs that wait, with work in flight.

    The rows are the jobs, so nothing is carried over: the new backend is tried, and every waiting job is rung for anew.
    Processes ring where RECADO_QUEUE_BACKEND says; while some are still at the old one, both ring.
    """
    moved = run(lambda container: _move(container, to))
    print_result(
        asdict(moved),
        f"{to} rings from now on for processes that are started with RECADO_QUEUE_BACKEND={to}: set it and restart "
        f"them, one after the other. Waiting jobs that are rung for anew: {moved.rung_anew}.",
        as_json=as_json,
    )


async def _move(container: "Container", to: str) -> BackendMove:
    from recado.bootstrap import Container
    from recado.core.database.engine import on_postgresql
    from recado.core.errors import ConfigurationError
    from recado.entrypoints.cli.running import settings_with

    bells = ("postgres" if on_postgresql(container.settings().database_url) else "sqlite", "bullmq", "sqs")
    if to not in bells:
        raise InvalidInput(f"--to must be one of {', '.join(bells)} for this database, not {to!r}")
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
    """Give up a job for good.

    A dead letter leaves the list. A waiting job leaves the line, and its messages are not answered.
    """
    run(lambda container: container.queue().discard(job_id))
    print_result({"id": str(job_id), "discarded": True}, f"{job_id} was discarded.", as_json=as_json)

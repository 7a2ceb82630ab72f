"""`recado queue`: how the line looks, and what to do with what was given up."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from recado.core.errors import InvalidInput
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, read_id
from recado.entrypoints.cli.output import Item, age, answer, document, items, sentence, table
from recado.entrypoints.cli.running import run

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.core.queue.job import Job

app = family("What waits, and what was given up.")

JobId = Annotated[UUID, typer.Argument(metavar="ID", parser=read_id, help="As `recado queue dead` shows it.")]


@app.command()
def stats(as_json: AsJson = False) -> None:
    """Count what waits, runs and was given up."""
    found = run(lambda container: container.queue().stats())
    if as_json:
        document(asdict(found))
    else:
        row = [str(found.waiting), str(found.running), str(found.dead), age(found.oldest_due_seconds)]
        table(["Waiting", "Running", "Dead", "Oldest due"], [row])


@app.command()
def dead(as_json: AsJson = False) -> None:
    """List the dead letters, the oldest first.

    They are jobs that failed for good, and were neither retried nor discarded since.
    """
    found = [_view(job) for job in run(lambda container: container.queue().dead())]
    items(
        found, {"Id": lambda item: str(item["id"]), "What": _what}, empty="There are no dead letters.", as_json=as_json
    )


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


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of dead letters that were to start again."""

    retried: list[Item]
    refused: list[Item]


@app.command()
def retry(
    job_id: Annotated[
        UUID | None, typer.Argument(metavar="ID", parser=read_id, help="As `recado queue dead` shows it.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every dead letter.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if a later message was answered meanwhile.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start dead letters again. Refused while that could answer a customer twice or out of turn."""
    if (job_id is None) is not every:
        raise InvalidInput("name one dead letter by its id, or all of them with --all")
    ended = run(lambda container: _retry(container, job_id, force=force))
    if as_json:
        document({"retried": ended.retried, "refused": ended.refused})
    else:
        _tell(ended)
    if job_id is not None and ended.refused:
        typer.echo(f"Error: {job_id} was not retried: {ended.refused[0]['why']}", err=True)
        raise typer.Exit(1)


async def _retry(container: "Container", job_id: UUID | None, *, force: bool) -> Retried:
    from recado.core.errors import DomainError
    from recado.core.queue.job import Replayed

    queue, ended = container.queue(), Retried([], [])
    for each in [job.id for job in await queue.dead()] if job_id is None else [job_id]:
        try:
            result = await queue.retry(each, force=force)
        except DomainError as error:
            # Somebody else may have dealt with it meanwhile; of many that concerns only this one.
            if job_id is not None:
                raise
            ended.refused.append({"id": str(each), "why": str(error)})
            continue
        if isinstance(result, Replayed):
            ended.retried.append({"id": str(each), "job_id": str(result.by)})
        else:
            ended.refused.append({"id": str(each), "why": result.why})
    return ended


def _tell(ended: Retried) -> None:
    if ended.retried:
        count = len(ended.retried)
        sentence(f"{count} dead letter{'s' * (count != 1)} started again; a worker takes it from here.")
    elif not ended.refused:
        sentence("There are no dead letters.")
    if ended.refused:
        table(["Refused", "Why"], [[str(each["id"]), str(each["why"])] for each in ended.refused])


@dataclass(frozen=True, slots=True)
class Moved:
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
    answer(
        asdict(moved),
        f"{to} rings from now on for processes that are started with RECADO_QUEUE_BACKEND={to}: set it and restart "
        f"them, one after the other. Waiting jobs that are rung for anew: {moved.rung_anew}.",
        as_json=as_json,
    )


async def _move(container: "Container", to: str) -> Moved:
    from recado.bootstrap import Container
    from recado.core.database.engine import on_postgresql
    from recado.core.errors import ConfigurationError
    from recado.entrypoints.cli.running import settings_of

    bells = ("postgres" if on_postgresql(container.settings().database_url) else "sqlite", "bullmq", "sqs")
    if to not in bells:
        raise InvalidInput(f"--to must be one of {', '.join(bells)} for this database, not {to!r}")
    settings = settings_of("cli", QUEUE_BACKEND=to)
    broker = Container(settings=settings).broker()
    if broker is not None:
        state = await broker.state()
        await broker.close()
        if not state.reachable:
            raise ConfigurationError(state.warnings[0])
    before = container.settings().queue_backend
    return Moved(before, to, await container.queue().ring_anew())


@app.command()
def discard(job_id: JobId, as_json: AsJson = False) -> None:
    """Give up a job for good.

    A dead letter leaves the list. A waiting job leaves the line, and its messages are not answered.
    """
    run(lambda container: container.queue().discard(job_id))
    answer({"id": str(job_id), "discarded": True}, f"{job_id} was discarded.", as_json=as_json)

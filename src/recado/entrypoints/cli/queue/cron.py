"""`recado cron`: scheduled jobs."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeAlias
from zoneinfo import ZoneInfo

import typer

from recado.core.errors import InvalidInput
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import Item, column, print_document, print_fields, print_items, print_result
from recado.entrypoints.cli.running import run
from recado.entrypoints.cli.texts.language import said, say

if TYPE_CHECKING:
    from recado.core.queue.cron import ScheduleListing
    from recado.core.queue.schedules import When

app = family("List and change scheduled jobs.")

Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="The name in `recado cron list`.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List all schedules with their last and next slot.

    Slots are shown in the schedule's time zone; with --json in UTC.
    """
    found = run(lambda container: container.cron().list())
    if as_json:
        print_document([_view(each) for each in found])
    else:
        shown: list[Item] = [_view(each) | _on_its_wall(each) for each in found]
        columns = {
            "Name": column("name"),
            "When": column("when"),
            "Last slot": column("last_slot"),
            "Next slot": column("next_slot"),
        }
        print_items(shown, columns, empty="There are no schedules.", as_json=False)


@app.command("run")
def run_(name: Name, as_json: AsJson = False) -> None:
    """Create the job of a schedule now. A worker or `recado tick` runs it. The slots do not change."""
    job_id = run(lambda container: container.cron().run(name))
    print_result(
        {"name": name, "job_id": str(job_id)}, f"{name} is job {job_id}; a worker will run it.", as_json=as_json
    )


SetAt: TypeAlias = Annotated[
    str | None, typer.Option(metavar="CRON", help="Five fields: minute, hour, day, month, weekday; '0 3 * * *'.")
]
TimeZone: TypeAlias = Annotated[
    str | None, typer.Option(metavar="ZONE", help="With --at: the time zone, such as America/Sao_Paulo.")
]
Every: TypeAlias = Annotated[int | None, typer.Option(metavar="SECONDS", help="Instead of --at: an interval.")]
On: TypeAlias = Annotated[bool, typer.Option("--on", help="Enable the schedule.")]
Off: TypeAlias = Annotated[bool, typer.Option("--off", help="Disable the schedule.")]


@app.command("set")
def set_(
    name: Name,
    at: SetAt = None,
    time_zone: TimeZone = None,
    every: Every = None,
    on: On = False,
    off: Off = False,
    as_json: AsJson = False,
) -> None:
    """Change a schedule. Options that are not given keep their value. Workers follow within a minute."""
    if on and off:
        raise InvalidInput("give --on or --off, not both")
    enabled = True if on else False if off else None
    when = _when(at, time_zone, every)
    if when is None and enabled is None:
        raise InvalidInput("there is nothing to change: give --at, --every, --on or --off")
    shown = _view(run(lambda container: container.cron().set(name, when=when, enabled=enabled)))
    if as_json:
        print_document(shown)
    else:
        print_fields(shown)


def _when(at: str | None, time_zone: str | None, every: int | None) -> "When | None":
    from recado.core.queue import schedules

    if at is not None and every is not None:
        raise InvalidInput("give --at or --every, not both")
    if at is None and time_zone is not None:
        raise InvalidInput("--time-zone is the time zone of --at; give --at too")
    if at is not None:
        return schedules.At(at, time_zone or "UTC")
    return None if every is None else schedules.every(every)


def _view(listed: "ScheduleListing") -> dict[str, str | bool | None]:
    schedule = listed.schedule
    return {
        "name": schedule.name,
        "when": schedule.in_words(),
        "time_zone": schedule.time_zone,
        "enabled": schedule.enabled,
        "last_slot": None if listed.last_slot is None else listed.last_slot.isoformat(),
        "next_slot": None if listed.next_slot is None else listed.next_slot.isoformat(),
    }


def _on_its_wall(listed: "ScheduleListing") -> dict[str, str | bool | None]:
    from recado.core.queue.schedules import At

    schedule = listed.schedule
    zone = ZoneInfo(schedule.time_zone)

    def shown(moment: datetime | None) -> str | None:
        return None if moment is None else f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"

    following = shown(listed.next_slot) if schedule.enabled else say("off")
    when = said(schedule.in_words()) + (f" {schedule.time_zone}" if isinstance(schedule.when, At) else "")
    return {"when": when, "last_slot": shown(listed.last_slot), "next_slot": following}

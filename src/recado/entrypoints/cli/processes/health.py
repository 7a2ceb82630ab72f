"""`recado health`: what a container or a supervisor asks to know whether a server or a worker is well."""

import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from recado.core.clock import SystemClock
from recado.core.errors import Conflict, InvalidInput
from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import Item, print_result
from recado.entrypoints.cli.texts.language import say

URL: Final = "http://127.0.0.1:8000/healthz"
SECONDS: Final = 4.0

Url: TypeAlias = Annotated[
    str | None, typer.Option(metavar="URL", help=f"The address of a server to ask. Without options: {URL}")
]
WorkerFile: TypeAlias = Annotated[
    Path | None, typer.Option("--worker", metavar="FILE", help="The --health-file of a worker.")
]
MaxAge: TypeAlias = Annotated[float, typer.Option(min=1, help="The age in seconds at which that file is too old.")]


def health(url: Url = None, worker_file: WorkerFile = None, max_age: MaxAge = 60.0, as_json: AsJson = False) -> None:
    """Tell whether a server answers and a worker lives. Exit 1 if not. It needs no settings."""
    found: dict[str, Item] = {}
    if url is not None or worker_file is None:
        found["server"] = {"url": url or URL, "status": _ask(url or URL)}
    if worker_file is not None:
        found["worker"] = {"file": str(worker_file), "seconds": round(_age(worker_file, max_age), 1)}
    print_result(found, say("well"), as_json=as_json)


def _ask(url: str) -> int:
    if not url.startswith(("http://", "https://")):
        raise InvalidInput(say("--url must begin with http:// or https://"))
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 - the scheme was checked
            status: int = answer.status
    except urllib.error.HTTPError as error:
        raise Conflict(say("{url} answers {status}", url=url, status=error.code)) from None
    except (OSError, HTTPException) as error:
        raise Conflict(say("nothing answers at {url}: {why}", url=url, why=error)) from None
    return status


def _age(file: Path, max_age: float) -> float:
    from recado.entrypoints.health_file import age_of

    age = age_of(file, SystemClock())
    if age is None:
        raise Conflict(say("{file} is not there: the worker has not come up, or has another --health-file", file=file))
    if age > max_age:
        raise Conflict(say("the worker last showed life {seconds} s ago", seconds=f"{age:.0f}"))
    return age

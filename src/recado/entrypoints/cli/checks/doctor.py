"""`recado doctor`: whatever would keep Recado from serving, found before a customer finds it.

It tries what a server does, and makes nothing: the settings, the database and its schema, a write, the key, the broker.
"""

import asyncio
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from recado.core.database.engine import on_postgresql
from recado.core.errors import DomainError
from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import print_document, print_line
from recado.operations.doctor.findings import Finding
from recado.operations.doctor.postgres import check_durability, check_encoding, server_settings
from recado.operations.doctor.sqlite import mode_findings, on_network_file_system, read_mounts, sqlite_version
from recado.operations.doctor.trials import try_database

if TYPE_CHECKING:
    from recado.core.queue.wakeups.contract import BrokerState
    from recado.settings import Settings


def doctor(as_json: AsJson = False) -> None:
    """Look at the settings, the database, the key and the broker. What keeps Recado from serving: exit 1."""
    findings = examine()
    wrong = [each for each in findings if not each.ok]
    if as_json:
        print_document({"ok": not wrong, "findings": [asdict(each) for each in findings]})
    else:
        for each in findings:
            if each.ok:
                print_line(f"{each.name}: {each.detail}")
    for each in wrong:
        typer.echo(f"Error: {each.detail}", err=True)
    if wrong:
        raise typer.Exit(1)


def examine() -> list[Finding]:
    settings, findings = _settings()
    if settings is None or not on_postgresql(settings.database_url):
        findings.append(sqlite_version())
    if settings is not None:
        findings += _database(settings)
        findings += _broker(settings)
    return findings


def _settings() -> "tuple[Settings | None, list[Finding]]":
    """As for serving, which asks for most."""
    from recado.settings import InvalidSettings, load_settings

    try:
        settings = load_settings(os.environ, purpose="serve")
    except InvalidSettings as error:
        return None, [Finding("settings", False, problem.sentence) for problem in error.problems]
    return settings, [Finding("settings", True, "complete, as far as can be told without trying them")]


# --- The database -----------------------------------------------------------------------------------------------------


def _database(settings: "Settings") -> list[Finding]:
    """What it is; and where it is as it should be, whether it does what a server needs."""
    examine = _postgres if on_postgresql(settings.database_url) else _file
    try:
        findings, usable = examine(settings.database_url)
    except DomainError as error:
        return [Finding("database", False, str(error))]
    return findings + _try_database(settings) if usable else findings


def _file(database_url: str) -> tuple[list[Finding], bool]:
    from recado.migrations.runner import file_of

    path = file_of(database_url)
    findings, usable = _file_findings(path)
    return [*on_network_file_system(path, read_mounts()), *findings], usable


def _file_findings(path: Path) -> tuple[list[Finding], bool]:
    from recado.migrations.refusals import file_problem
    from recado.migrations.runner import is_recado_database, revision_of
    from recado.migrations.startup import schema_problem

    why = file_problem(path)
    if why is not None:
        return [Finding("database", False, why)], False
    if not path.exists():
        return [Finding("database", True, f"{path} is not there yet; recado migrate or recado serve makes it")], False
    if not is_recado_database(path):
        return [Finding("database", True, f"{path} is empty yet; recado migrate or recado serve fills it")], False
    found = revision_of(path)
    if why := schema_problem(found):
        return [Finding("database", False, f"{path}: {why}")], False
    return [Finding("database", True, f"{path} is at schema {found}"), *mode_findings(path)], True


def _postgres(database_url: str) -> tuple[list[Finding], bool]:
    from recado.migrations.postgres import revision_of
    from recado.migrations.startup import schema_problem

    found = revision_of(database_url)
    settings = server_settings(database_url)
    wrong = check_encoding(settings)
    if why := schema_problem(found):
        return [Finding("database", False, f"PostgreSQL: {why}"), *wrong], False
    return [Finding("database", True, f"PostgreSQL is at schema {found}"), *wrong, *check_durability(settings)], True


# --- What a server does with it ---------------------------------------------------------------------------------------


def _try_database(settings: "Settings") -> list[Finding]:
    """A write, and the key on what it has sealed."""
    from recado.bootstrap import Container

    container = Container(settings=settings)
    return asyncio.run(try_database(container.database(), container.sealer()))


# --- The broker -------------------------------------------------------------------------------------------------------


def _broker(settings: "Settings") -> list[Finding]:
    """Whether the broker can be reached, and what about it is not as it should be."""
    from recado.bootstrap import Container

    broker = Container(settings=settings).broker()
    if broker is None:
        return []

    async def look() -> "BrokerState":
        try:
            return await broker.state()
        finally:
            await broker.close()

    state = asyncio.run(look())
    if state.warnings:
        return [Finding(state.name, state.reachable, warning) for warning in state.warnings]
    detail = ", ".join(f"{name} {value}" for name, value in state.detail)
    return [Finding(state.name, True, f"reachable, {detail}")]

"""`recado doctor`: find what keeps Recado from serving before a customer does.

It checks settings, database, schema and broker, and tries a write, the key and the mail server. It creates nothing and
sends nothing.
"""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import typer

from recado.core.database.engine import on_postgresql
from recado.core.errors import DomainError
from recado.entrypoints.cli.endings import warn_of
from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import print_document, print_line
from recado.entrypoints.cli.texts.language import said, say
from recado.entrypoints.cli.waiting import waiting
from recado.entrypoints.environment import ANYBODYS, OURS, environment, read_environment_file
from recado.operations.doctor.findings import Finding
from recado.operations.doctor.postgres import (
    check_durability,
    check_encoding,
    check_tenants,
    server_settings,
    tenants_login,
)
from recado.operations.doctor.sqlite import mode_findings, on_network_file_system, read_mounts, sqlite_version

if TYPE_CHECKING:
    from recado.core.queue.wakeups.contract import BrokerState
    from recado.settings import Settings


def doctor(as_json: AsJson = False) -> None:
    """Check settings, database, key, broker and mail server. Exit 1 if something keeps Recado from its work."""
    with waiting():
        findings = examine()
    wrong = [each for each in findings if not each.ok]
    if as_json:
        shown = [{"name": each.name, "ok": each.ok, "says": each.detail} for each in findings]
        print_document({"ok": not wrong, "findings": shown})
    else:
        for each in findings:
            if each.ok:
                print_line(f"{say(each.name)}: {said(each.detail)}")
    for each in wrong:
        warn_of(f"{each.detail}")
    if wrong:
        raise typer.Exit(1)


def examine() -> list[Finding]:
    """Do all checks."""
    files = _files()
    settings, findings = _settings()
    findings = files + findings
    if settings is None or not on_postgresql(settings.database_url):
        findings.append(sqlite_version())
    if settings is not None:
        findings += _database(settings)
        findings += _broker(settings)
        findings.append(_mail(settings))
    return findings


def _files() -> list[Finding]:
    """Tell which files of variables are read, and who else can read them. It is done before they are."""
    findings = []
    for name in (OURS, ANYBODYS):
        path = Path(name)
        try:
            found = read_environment_file(path)
        except DomainError:  # The check of the settings tells it.
            continue
        if path.is_file():
            overruled = sorted(each for each in found if os.environ.get(each, found[each]) != found[each])
            note = f"; other values win for {', '.join(overruled)}" if overruled else ""
            findings.append(Finding("files", True, f"{name} is read, variables: {len(found)}{note}"))
        if "RECADO_SECRET_KEY" in found:
            findings += mode_findings(path)
    return findings


def _settings() -> "tuple[Settings | None, list[Finding]]":
    """Check the settings for the purpose that needs most of them."""
    from recado.core.errors import ConfigurationError
    from recado.settings import InvalidSettings, load_settings

    try:
        settings = load_settings(environment(), purpose="serve")
    except InvalidSettings as error:
        return None, [Finding("settings", False, problem.sentence) for problem in error.problems]
    except ConfigurationError as error:
        return None, [Finding("settings", False, str(error))]
    return settings, [Finding("settings", True, "complete; the other checks try them")]


# --- The database -----------------------------------------------------------------------------------------------------


def _database(settings: "Settings") -> list[Finding]:
    """Check the database and its schema, and then try it."""
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
        return [
            Finding("database", True, f"{path} does not exist yet; recado migrate or recado serve creates it")
        ], False
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
    kept = [*check_durability(settings), *check_tenants(tenants_login(database_url))]
    return [Finding("database", True, f"PostgreSQL is at schema {found}"), *wrong, *kept], True


# --- What a server does with it ---------------------------------------------------------------------------------------


def _try_database(settings: "Settings") -> list[Finding]:
    """Try a write, the key and the credentials."""
    from recado.bootstrap import Container
    from recado.channels.twilio.models import NoCredentials
    from recado.operations.doctor.trials import try_database

    container = Container(settings=settings)

    async def credential_problem(account_id: UUID) -> str | None:
        found = await container.twilio_tokens().account_for(account_id)
        # An account whose numbers were removed has none, and needs none.
        return found.detail if isinstance(found, NoCredentials) and not found.gone else None

    return asyncio.run(try_database(container.database(), container.key_ring(), credential_problem))


# --- The broker -------------------------------------------------------------------------------------------------------


def _broker(settings: "Settings") -> list[Finding]:
    """Check whether the broker can be reached and is configured well."""
    from recado.bootstrap import Container

    broker = Container(settings=settings).broker()
    if broker is None:
        return []

    async def read_state() -> "BrokerState":
        try:
            return await broker.state()
        finally:
            await broker.close()

    state = asyncio.run(read_state())
    if state.warnings:
        return [Finding(state.name, state.reachable, warning) for warning in state.warnings]
    detail = ", ".join(f"{name} {value}" for name, value in state.detail)
    return [Finding(state.name, True, f"reachable, {detail}; it carries wake-ups, and `recado queue` shows the jobs")]


# --- The mail server --------------------------------------------------------------------------------------------------


def _mail(settings: "Settings") -> Finding:
    """Check whether mails can get out."""
    from recado.operations.doctor.mail import try_mail, without_mail

    if settings.smtp_url is None or settings.smtp_from is None:
        return without_mail(settings.smtp_from)
    from recado.identity.mail.smtp import SmtpMailer

    return try_mail(SmtpMailer(settings.smtp_url, settings.smtp_from))

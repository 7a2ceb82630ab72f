"""`recado doctor`: whatever would keep Recado from serving, found before a customer finds it.

It tries what a server does, and makes nothing: the settings, the database and its schema, a write, the key, the broker.
"""

import asyncio
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from recado.core.clock import SystemClock
from recado.core.database.engine import on_postgresql
from recado.core.errors import DomainError
from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import document, sentence

if TYPE_CHECKING:
    from recado.channels.twilio.models import TwilioAccount
    from recado.core.database.engine import Database
    from recado.core.queue.delivery import BrokerState
    from recado.core.sealing import Sealer
    from recado.settings import Settings

TRIAL_SECONDS: Final = 10.0
"""How long a trial of the database may take."""
_CREDENTIALS: Final = 10_000
_NAMED: Final = 3
"""How many accounts a sentence names."""
_NETWORK: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.davfs", "fuse.glusterfs", "fuse.rclone"}
    | {"fuse.s3fs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}
)
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_STRONG: Final = frozenset({"on", "remote_write", "remote_apply"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    says: str


def doctor(as_json: AsJson = False) -> None:
    """Look at the settings, the database, the key and the broker. What keeps Recado from serving: exit 1."""
    findings = _examine()
    wrong = [each for each in findings if not each.ok]
    if as_json:
        document({"ok": not wrong, "findings": [asdict(each) for each in findings]})
    else:
        for each in findings:
            if each.ok:
                sentence(f"{each.name}: {each.says}")
    for each in wrong:
        typer.echo(f"Error: {each.says}", err=True)
    if wrong:
        raise typer.Exit(1)


def _examine() -> list[Finding]:
    settings, findings = _settings()
    if settings is None or not on_postgresql(settings.database_url):
        findings.append(_sqlite())
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


def _sqlite() -> Finding:
    from recado.core.database.sqlite import SAFE_SQLITE, sqlite_is_safe, sqlite_module

    version = sqlite_module().sqlite_version
    if sqlite_is_safe():
        return Finding("sqlite", True, f"version {version}")
    least = ".".join(str(number) for number in SAFE_SQLITE)
    return Finding(
        "sqlite", False, f"SQLite {version} can corrupt a database that several processes write: use {least}"
    )


# --- The database -----------------------------------------------------------------------------------------------------


def _database(settings: "Settings") -> list[Finding]:
    """What it is; and where it is as it should be, whether it does what a server needs."""
    examine = _postgres if on_postgresql(settings.database_url) else _file
    try:
        findings, usable = examine(settings.database_url)
    except DomainError as error:
        return [Finding("database", False, str(error))]
    return findings + _tried(settings) if usable else findings


def _file(database_url: str) -> tuple[list[Finding], bool]:
    from recado.migrations.runner import file_of

    path = file_of(database_url)
    findings, usable = _inside(path)
    return [*shared(path, _mounts()), *findings], usable


def _inside(path: Path) -> tuple[list[Finding], bool]:
    from recado.migrations.runner import is_ours, revision_of
    from recado.migrations.starting import schema_problem
    from recado.migrations.unusable import what_stands_in_the_way

    why = what_stands_in_the_way(path)
    if why is not None:
        return [Finding("database", False, why)], False
    if not path.exists():
        return [Finding("database", True, f"{path} is not there yet; recado migrate or recado serve makes it")], False
    if not is_ours(path):
        return [Finding("database", True, f"{path} is empty yet; recado migrate or recado serve fills it")], False
    found = revision_of(path)
    if why := schema_problem(found):
        return [Finding("database", False, f"{path}: {why}")], False
    return [Finding("database", True, f"{path} is at schema {found}"), *_open_to_others(path)], True


def shared(path: Path, mounts: str) -> list[Finding]:
    """Whether the file lies where other machines may have it too; `mounts` is what `/proc/mounts` says."""
    kind, place, real = "", Path("/"), path.resolve()
    for line in mounts.splitlines():
        _, mounted_at, mounted, *_ = line.split(" ")
        at = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), mounted_at))
        if real.is_relative_to(at) and len(at.parts) >= len(place.parts):  # Of two at one place the later one is seen.
            kind, place = mounted, at
    if kind not in _NETWORK:
        return []
    why = "SQLite's log needs memory that all its processes share, which a network file system cannot give"
    return [
        Finding("database", False, f"{path} lies on a network file system ({kind} at {place}): {why}; use a local disk")
    ]


def _mounts() -> str:
    try:
        return Path("/proc/mounts").read_text(errors="surrogateescape")
    except OSError:  # Not on Linux.
        return ""


def _open_to_others(path: Path) -> list[Finding]:
    """Files of a release that made them with another mode, or of a careless copy; some share them on purpose."""
    named = [path, *(Path(f"{path}{log}") for log in ("-wal", "-shm"))]
    modes = {each: stat.S_IMODE(each.stat().st_mode) for each in named if each.exists()}
    return [
        Finding("mode", True, f"{each} is open to other users of this machine ({mode:04o}): chmod 600 {each}")
        for each, mode in modes.items()
        if mode & 0o077
    ]


def _postgres(database_url: str) -> tuple[list[Finding], bool]:
    from recado.migrations.postgres import revision_of
    from recado.migrations.starting import schema_problem

    found = revision_of(database_url)
    settings = _settings_of_server(database_url)
    wrong = encoding(settings)
    if why := schema_problem(found):
        return [Finding("database", False, f"PostgreSQL: {why}"), *wrong], False
    return [Finding("database", True, f"PostgreSQL is at schema {found}"), *wrong, *durability(settings)], True


def _settings_of_server(database_url: str) -> Mapping[str, str]:
    from recado.core.database.postgres import PostgresDatabase

    names = ("fsync", "full_page_writes", "server_encoding", "synchronous_commit")
    # Not the values in force: our own connections have raised one of them already.
    connection = PostgresDatabase(database_url).connect_apart()
    try:
        rows = connection.execute(
            "SELECT name, reset_val FROM pg_settings WHERE name = ANY(%s)", (list(names),)
        ).fetchall()
    finally:
        connection.close()
    return {str(name): str(setting) for name, setting in rows}


def encoding(settings: Mapping[str, str]) -> list[Finding]:
    """Whether the database can hold every letter that customers write."""
    name = settings.get("server_encoding", "UTF8")
    if name == "UTF8":
        return []
    return [
        Finding(
            "encoding",
            False,
            f"the PostgreSQL database has the encoding {name}, which cannot store what customers write: make another "
            "with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
        )
    ]


def durability(settings: Mapping[str, str]) -> list[Finding]:
    """What PostgreSQL's settings mean for messages that were answered 200: a crash must not take them back."""
    findings = [
        Finding("durability", False, f"PostgreSQL runs with {name}=off: {what}; set {name}=on")
        for name, what in (
            ("fsync", "a crash of its machine loses or corrupts what it confirmed"),
            ("full_page_writes", "a crash of its machine can tear pages"),
        )
        if settings.get(name) == "off"
    ]
    weak = settings.get("synchronous_commit", "on")
    if weak not in _STRONG:
        findings.append(
            Finding(
                "durability", True, f"PostgreSQL's synchronous_commit is {weak}; Recado raises it to on for its own"
            )
        )
    return findings or [Finding("durability", True, "PostgreSQL keeps what it confirms")]


# --- What a server does with it ---------------------------------------------------------------------------------------


def _tried(settings: "Settings") -> list[Finding]:
    """A write, and the key on what it has sealed."""
    from recado.bootstrap import Container

    container = Container(settings=settings)
    return asyncio.run(_try(container.database(), container.sealer()))


async def _try(database: "Database", sealer: "Sealer") -> list[Finding]:
    try:
        async with asyncio.timeout(TRIAL_SECONDS):
            return [await _write(database), await _key(database, sealer)]
    except TimeoutError:
        return [Finding("write", False, f"the database did not answer within {TRIAL_SECONDS:g} s")]
    except DomainError as error:
        return [Finding("write", False, str(error))]
    finally:
        await database.close()


async def _write(database: "Database") -> Finding:
    from recado.operations.readiness import read_only_problem, trial_write

    if on_postgresql(database.url):
        why = await database.read(read_only_problem, owner=None)
        if why is not None:
            return Finding("write", False, why)
    now = SystemClock().now()
    await database.write(lambda uow: trial_write(uow, now), owner=None, urgent=True)
    return Finding("write", True, "a trial was stored and taken away again")


async def _key(database: "Database", sealer: "Sealer") -> Finding:
    from recado.operations.readiness import newest_accounts

    accounts = await database.read(lambda uow: newest_accounts(uow, _CREDENTIALS), owner=None)
    return judged(accounts, sealer)


def judged(accounts: "Sequence[TwilioAccount]", sealer: "Sealer") -> Finding:
    """Whether the key opens what is stored: none is another key, some are rows that were changed or copied."""
    from recado.operations.readiness import OPENS_NONE, opens

    closed = [account for account in accounts if not opens(sealer, account)]
    if not accounts:
        return Finding("key", True, "no credential is stored yet")
    if not closed:
        return Finding("key", True, f"RECADO_SECRET_KEY opens what is stored ({len(accounts)} credentials)")
    if len(closed) == len(accounts):
        return Finding("key", False, OPENS_NONE)
    named = ", ".join(account.account_sid for account in closed[:_NAMED]) + (" …" if len(closed) > _NAMED else "")
    return Finding(
        "key",
        False,
        f"RECADO_SECRET_KEY opens {len(accounts) - len(closed)} of {len(accounts)} stored credentials, but not those "
        f"of {named}: store their tokens again with `recado numbers add`",
    )


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

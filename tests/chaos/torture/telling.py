"""The shops' own programs in a torture with events: an endpoint for all of them, and for each shop two readers.

The endpoint is a process that is killed too. The readers are threads of this process, because what they were given must
outlive everything else.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from recado.bootstrap import Container
from recado.events.service import NewEndpoint
from recado.identity.access.api_keys import NewKey
from recado.identity.principal import operator_of
from tests.chaos.torture.judging.events import LoggedEvent, ReadBy
from tests.chaos.torture.outside.readers import EventReader, PageReader, StreamReader

ENDPOINT: Final = "endpoint"
CATCH_UP_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Program:
    """What a shop's own programs need to know."""

    shop: str
    owner_id: str
    endpoint_id: str
    secret: str
    key: str


async def furnish(container: Container, owner_id: UUID, shop: str, url: str) -> Program:
    """Give a shop an endpoint, and a key for its readers."""
    me = operator_of(owner_id, "torture")
    added = await container.endpoints().add(me, NewEndpoint(url, allow_private=True))
    created = await container.api_keys().create(me, NewKey("torture", ["events.read"]))
    return Program(shop, str(owner_id), str(added.endpoint.id), added.secret, created.text)


class Telling:
    """The readers of one run."""

    def __init__(self, programs: Sequence[Program], port: int, seed: int) -> None:
        self._programs = {program.endpoint_id.replace("-", ""): program for program in programs}
        self._readers: list[EventReader] = [
            kind(program.shop, port, program.key, seed) for program in programs for kind in (StreamReader, PageReader)
        ]

    def start(self) -> None:
        for reader in self._readers:
            reader.start()

    def close(self, newest: Mapping[str, str]) -> None:
        """Let each read up to the newest event of its shop, for a while; then read no more."""
        pause = threading.Event()
        for _ in range(int(CATCH_UP_SECONDS / 0.2)):
            if all(reader.heard[-1:] == [newest.get(reader.shop)] for reader in self._readers if reader.shop in newest):
                break
            pause.wait(0.2)
        for reader in self._readers:
            reader.close()

    @property
    def failures(self) -> Sequence[Exception]:
        return [reader.failure for reader in self._readers if reader.failure is not None]

    def read(self) -> Sequence[ReadBy]:
        """Return what each was given."""
        return [
            ReadBy(f"{reader.kind} of {reader.shop}", reader.shop, reader.heard, reader.connections)
            for reader in self._readers
        ]

    def switch_on(self, endpoint_id: str) -> Sequence[str]:
        """Return the command that switches an endpoint on."""
        program = self._programs[endpoint_id]
        return ["events", "endpoints", "enable", "--owner", program.owner_id, program.endpoint_id]


def newest_of(log: Sequence[LoggedEvent]) -> Mapping[str, str]:
    """Return the newest event of each shop."""
    return {event.shop: event.id for event in log}


def write_secrets(path: Path, programs: Sequence[Program]) -> None:
    """Tell the endpoint what signs each shop's events."""
    path.write_text(json.dumps({program.shop: program.secret for program in programs}))

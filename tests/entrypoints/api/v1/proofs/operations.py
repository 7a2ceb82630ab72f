"""The routes of the API, as its own description names them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import httpx2

from recado.core.database.types import JsonValue
from tests.entrypoints.api.v1.proofs.samples import SAMPLES, Sample

_ID: Final = re.compile(r"{(\w+_id)}")
_NAMES: Final = {"agent": "echo"}
"""What stands for a path parameter that is no id."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    permission: str | None
    """The permission that it needs; None when being signed in is enough."""
    public: bool
    """Whether anybody may call it."""

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def thing(self) -> str | None:
        """Return the name of the id in the path."""
        found = _ID.findall(self.path)
        assert len(found) <= 1, f"{self.name} has two ids: the sweep tries one"
        return found[0] if found else None

    @property
    def sample(self) -> Sample | None:
        """Return a request that succeeds; None when nobody has written one."""
        return SAMPLES.get(self.name) or (Sample() if self.method == "GET" else None)

    @property
    def kind(self) -> str | None:
        """Return the kind of thing that a request is about."""
        return (self.sample.kind if self.sample else None) or self.thing

    async def send(
        self, client: httpx2.AsyncClient, headers: Mapping[str, str], id_: UUID | str | None = None
    ) -> httpx2.Response:
        """Send the request that succeeds when the thing is the caller's."""
        sample = self.sample or Sample()
        return await self._send(client, headers, id_, json=sample.body, params=sample.query)

    async def send_garbage(
        self, client: httpx2.AsyncClient, headers: Mapping[str, str], id_: UUID | str | None = None
    ) -> httpx2.Response:
        """Send a request whose body cannot be read."""
        return await self._send(client, headers, id_, content=b"{")

    async def send_refused(self, client: httpx2.AsyncClient, headers: Mapping[str, str], id_: UUID) -> httpx2.Response:
        """Send a request that is refused once its caller may send it, so that nothing is done and nothing streams."""
        return await self._send(client, headers, id_, content=b"{", params={"nul": "\0"})

    async def _send(
        self,
        client: httpx2.AsyncClient,
        headers: Mapping[str, str],
        id_: UUID | str | None,
        *,
        json: JsonValue = None,
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        path = self.path.format_map({**_NAMES, **({} if self.thing is None else {self.thing: id_})})
        sent = {"If-Match": "*", "Content-Type": "application/json", **headers}
        return await client.request(self.method, path, headers=sent, json=json, content=content, params=params)


async def described(client: httpx2.AsyncClient) -> Iterator[Operation]:
    """Return every operation below `/api/`."""
    paths = (await client.get("/openapi.json")).json()["paths"]
    return (
        Operation(method.upper(), path, told.get("x-permission"), "x-public" in told)
        for path, methods in paths.items()
        for method, told in methods.items()
        if path.startswith("/api/")
    )

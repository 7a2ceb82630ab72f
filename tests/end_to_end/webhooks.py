"""Twilio's side of a webhook, byte by byte: what a well-behaved emulator would not do, such as fifty at once."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlencode

from recado.emulator.wire.signature import sign
from tests.support.processes import Road, Shop

_sids: Iterator[int] = itertools.count(0xF00D)


@dataclass(frozen=True, slots=True)
class Hook:
    """One signed request, ready to be sent as often as one likes."""

    sid: str
    raw: bytes

    @classmethod
    def of(cls, road: Road, shop: Shop, sender: str, body: str) -> "Hook":
        sid = f"SM{next(_sids):032x}"
        form = [
            ("AccountSid", shop.account_sid),
            ("MessageSid", sid),
            ("From", sender),
            ("To", shop.number),
            ("Body", body),
            ("NumMedia", "0"),
        ]
        url = f"http://127.0.0.1:{road.port}/webhooks/twilio/messages"
        payload = urlencode(form)
        head = (
            "POST /webhooks/twilio/messages HTTP/1.1",
            f"Host: 127.0.0.1:{road.port}",
            "Content-Type: application/x-www-form-urlencoded; charset=UTF-8",
            f"Content-Length: {len(payload)}",
            f"X-Twilio-Signature: {sign(shop.token, url, form)}",
        )
        return cls(sid, "\r\n".join([*head, "", payload]).encode())


@dataclass(frozen=True, slots=True)
class Line:
    """A connection that stays open."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def post(self, hook: Hook) -> int | None:
        """The status of the answer; None when the server died before it gave one."""
        try:
            self.writer.write(hook.raw)
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return int(head[9:12])


@asynccontextmanager
async def lines(road: Road, count: int) -> AsyncIterator[list[Line]]:
    """Connections to the API."""
    opened = await asyncio.gather(*[asyncio.open_connection("127.0.0.1", road.port) for _ in range(count)])
    try:
        yield [Line(reader, writer) for reader, writer in opened]
    finally:
        for _, writer in opened:
            writer.close()


def post(road: Road, hook: Hook) -> int | None:
    """Send it once, over a connection of its own."""

    async def once() -> int | None:
        async with lines(road, 1) as [line]:
            return await line.post(hook)

    return asyncio.run(once())

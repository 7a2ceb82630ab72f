"""A caller of the API: one connection that is kept open, requests one after the other."""

import asyncio
import re
import time

import harness

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Client:
    """Calls with a key, and measures from the request to the last byte of the answer."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._headers = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n\r\n"

    async def __aenter__(self) -> "Client":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._writer.close()

    async def get(self, path: str) -> tuple[float, bytes]:
        """Return the milliseconds and the body. Ends the bench unless the answer is 200."""
        request = f"GET /api/v1{path} HTTP/1.1\r\n{self._headers}".encode()
        begun = time.perf_counter()
        self._writer.write(request)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(answer)
        body = await self._reader.readexactly(int(length[1]) if length else 0)
        took = (time.perf_counter() - begun) * 1_000
        status = answer.partition(b"\r\n")[0].decode()
        if " 200 " not in status:
            harness.give_up(f"GET {path} was answered with {status}: {body[:300].decode(errors='replace')}")
        return took, body

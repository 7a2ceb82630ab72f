"""`Idempotency-Key`: a request that is sent again is not done again.

    async def begin(principal: …, body: NewMessage, once: Once) -> MessageView:
        view = MessageView.of
        return view(await service.begin(principal, form, then=once.then(view)))

The service calls `then(tx, result)` at the end of its transaction, which stores the answer beside the work.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, TypeAlias, TypeVar

from fastapi import Depends, Header, Response
from fastapi.requests import Request
from pydantic import BaseModel

from recado.core.errors import InvalidInput
from recado.core.queue.transactions import Transaction
from recado.identity.idempotency.service import FirstRequest, IdempotencyService, StoredAnswer
from recado.identity.principal import Principal

R = TypeVar("R")
Then: TypeAlias = Callable[[Transaction, R], None]

HEADER: Final = "Idempotency-Key"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_SCOPE: Final = "recado.once"


class OnceRequest:
    """A request that may have come before."""

    def __init__(self, first: FirstRequest | None, status: int) -> None:
        self._first = first
        self._status = status
        self.is_answered = first is None

    def then(self, view: Callable[[R], BaseModel]) -> Then[R]:
        """Return what the service calls at the end of its transaction with its result."""

        def store(tx: Transaction, result: R) -> None:
            if self._first is not None:
                self._first.answer(tx, self._status, view(result).model_dump_json().encode())
                self.is_answered = True

        return store


async def read_once(
    request: Request,
    _key: Annotated[
        str | None,
        Header(
            alias=HEADER,
            min_length=1,
            max_length=255,
            pattern=r"^[\x21-\x7e]+$",
            description="A text of your choice, new for each new request. For 24 hours a request with the same key and "
            "the same body gets the answer of the first one, and nothing is done twice.",
            examples=["pedido-1027"],
        ),
    ] = None,
) -> OnceRequest:
    """Return what the route knows of earlier requests with the same key."""
    found: OnceRequest = request.scope[_SCOPE]
    return found


Once: TypeAlias = Annotated[OnceRequest, Depends(read_once)]


async def handled_once(
    service: IdempotencyService,
    principal: Principal,
    request: Request,
    status: int,
    handle: Callable[[Request], Awaitable[Response]],
) -> Response:
    """Handle a request, or return the answer to the first with its key."""
    key = request.headers.get(HEADER)
    if key is None:
        request.scope[_SCOPE] = OnceRequest(None, status)
        return await handle(request)
    if not _KEY.fullmatch(key):
        raise InvalidInput(f"{HEADER} must have 1 to 255 characters, letters, digits and signs of ASCII")
    begun = await service.begin(principal.owner_id, key, await _digest(request))
    if isinstance(begun, StoredAnswer):
        return Response(begun.body, begun.status, {"Idempotency-Replayed": "true"}, "application/json")
    once = request.scope[_SCOPE] = OnceRequest(begun, status)
    done = False
    try:
        response = await handle(request)
        done = True
    finally:
        if not done:
            await service.abandon(begun)
    if not once.is_answered:
        raise RuntimeError(f"{request.url.path} did not give once.then to its service")
    return response


async def _digest(request: Request) -> bytes:
    what = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return hashlib.sha256(what + await request.body()).digest()

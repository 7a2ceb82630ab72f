"""A language model that answers when told to: every request waits until `POST /release`.

    python bench/outside/slow_model.py PORT

It speaks Chat Completions; `GET /waiting` says how many requests wait, `GET /readyz` that it serves. All
get the same sentence.
"""

import asyncio
import json
import sys
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


@dataclass(slots=True)
class Model:
    """Who waits, and whether it is over."""

    waiting: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def complete(self, request: Request) -> Response:
        asked = json.loads(await request.body())
        self.waiting += 1
        try:
            await self.released.wait()
        finally:
            self.waiting -= 1
        message = {"role": "assistant", "content": "Abrimos às sete."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        completion = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked["model"]}
        return JSONResponse({**completion, "choices": [choice], "usage": usage})

    async def release(self, _request: Request) -> Response:
        self.released.set()
        return JSONResponse({"released": self.waiting})

    async def count(self, _request: Request) -> Response:
        return JSONResponse({"waiting": self.waiting})


async def ready(_request: Request) -> Response:
    return JSONResponse({"status": "ready"})


def app() -> Starlette:
    model = Model()
    return Starlette(
        routes=[
            Route("/v1/chat/completions", model.complete, methods=["POST"]),
            Route("/release", model.release, methods=["POST"]),
            Route("/waiting", model.count),
            Route("/readyz", ready),
        ]
    )


if __name__ == "__main__":
    uvicorn.run(app(), host="127.0.0.1", port=int(sys.argv[1]), log_config=None, access_log=False, backlog=4096)

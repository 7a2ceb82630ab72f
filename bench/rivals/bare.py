"""The floor: an ASGI server that checks the signature with recado's own code, and answers. It stores nothing.

python bench/rivals/bare.py PORT PUBLIC_URL AUTH_TOKEN
"""

import sys
from typing import TYPE_CHECKING

from uvicorn_settings import serve

from recado.channels.twilio.webhook.form import TooManyFields, parse
from recado.channels.twilio.webhook.signature import candidate_urls, first_matching_token

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

_, _, PUBLIC_URL, TOKEN = sys.argv
TWIML = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
HEADERS = [(b"content-length", str(len(TWIML)).encode()), (b"content-type", b"text/xml; charset=utf-8")]


async def app(scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
    if scope["type"] != "http":
        return
    if scope["method"] == "GET":  # /readyz
        await _answer(send, 200)
        return
    message = await receive()
    body = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    signature = next((value for name, value in scope["headers"] if name == b"x-twilio-signature"), b"")
    pairs = parse(body)
    urls = candidate_urls(PUBLIC_URL, scope["raw_path"], scope["query_string"])
    signed = not isinstance(pairs, TooManyFields) and first_matching_token(
        (TOKEN,), urls, pairs, signature.decode("latin-1")
    )
    await _answer(send, 403 if signed is None or signed is False else 200)


async def _answer(send: "ASGISendCallable", status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": HEADERS})
    await send({"type": "http.response.body", "body": TWIML})


if __name__ == "__main__":
    serve(app)

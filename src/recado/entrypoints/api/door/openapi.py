"""The description of the API: what FastAPI finds out by itself, and what every route behind the door has in common."""

import http
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, Final, TypeAlias

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import Lifespan

from recado.channels.twilio.webhook.routes import MAX_BODY
from recado.entrypoints.api.door.authentication import session_cookie
from recado.entrypoints.api.door.once import HEADER
from recado.entrypoints.api.door.problems import MEDIA_TYPE, PREFIX, ApiProblem, InvalidField
from recado.entrypoints.api.door.routes import PERMISSION, PUBLIC

Json: TypeAlias = dict[str, Any]
"""A part of the document, which FastAPI makes and takes as plain JSON."""

_SCHEMAS: Final = "#/components/schemas/{model}"
_KEY: Final = {"type": "http", "scheme": "bearer", "description": "An API key: `rcd_…`"}
_SESSION: Final = {"type": "apiKey", "in": "cookie", "description": "Who is signed in"}


class Api(FastAPI):
    """The application, whose description also tells the statuses and permissions of the door.

    The name of the session's cookie depends on the public URL.
    """

    def __init__(self, lifespan: Lifespan[FastAPI] | None = None, *, public_url: str | None = None) -> None:
        super().__init__(
            title="Recado",
            version=version("recado"),
            summary="Receives WhatsApp and SMS messages, lets agents answer them, and never loses or doubles one.",
            lifespan=lifespan,
            docs_url=None,
            redoc_url=None,
            max_body_size=MAX_BODY,
            redirect_slashes=False,  # The address of a redirection would be made of the caller's Host header.
            generate_unique_id_function=_operation_id,
            telemetry={"tracing": False, "metrics": False, "logs": False},
        )
        self._security: Json = {"key": _KEY, "session": {**_SESSION, "name": session_cookie(public_url)}}

    def openapi(self) -> Json:
        if self.openapi_schema is None:
            self.openapi_schema = _completed(super().openapi(), self._security)
        return self.openapi_schema


def _operation_id(route: APIRoute) -> str:
    """Return the name of an operation, which generated clients use."""
    return f"{route.tags[0]}_{route.name}".replace("-", "_")


def problems(*statuses: int) -> dict[int | str, Json]:
    """Return `responses=` of a route that answers these statuses besides those of every route."""
    return {status: {"description": http.HTTPStatus(status).phrase} for status in statuses}


def _completed(document: Json, security: Json) -> Json:
    components: Json = document.setdefault("components", {})
    components["securitySchemes"] = security
    schemas: Json = components.setdefault("schemas", {})
    for model in (ApiProblem, InvalidField):
        schema = model.model_json_schema(ref_template=_SCHEMAS)
        schema.pop("$defs", None)
        schemas[model.__name__] = schema
    for operation in _operations(document):
        _complete(operation, security)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def _operations(document: Json) -> Iterator[Json]:
    for path, methods in document["paths"].items():
        if path.startswith(PREFIX):
            yield from methods.values()


def _complete(operation: Json, security: Json) -> None:
    responses: Json = operation["responses"]
    for number in _statuses(operation):
        responses.setdefault(str(number), {})
    for status, response in responses.items():
        if int(status) >= 400:
            response["content"] = {MEDIA_TYPE: {"schema": {"$ref": _SCHEMAS.format(model="ApiProblem")}}}
            response["description"] = http.HTTPStatus(int(status)).phrase
    operation["responses"] = dict(sorted(responses.items()))
    if PUBLIC in operation:
        operation["security"] = []
    else:
        operation["security"] = [{name: []} for name in security]
        operation["description"] = f"{operation.get('description', '')}\n\n{needs_of(operation)}".strip()


def needs_of(operation: Mapping[str, Any]) -> str:
    """Return the sentence about callers that ends the description of an operation; empty for a public one."""
    if PUBLIC in operation:
        return ""
    permission = operation.get(PERMISSION)
    return "Needs a valid key or session." if permission is None else f"Needs the permission `{permission}`."


def _statuses(operation: Json) -> Iterator[int]:
    """Yield the statuses that the door answers for this operation."""
    yield from (429, 503)
    if PUBLIC not in operation:
        yield from (401, 403)
    if any(each["name"] == HEADER for each in operation.get("parameters", ())):
        yield 409
    places = {each["in"] for each in operation.get("parameters", ())}
    if "path" in places:
        yield 404
    if "requestBody" in operation:
        yield from (400, 413, 422)
    if places - {"path"}:
        yield 422

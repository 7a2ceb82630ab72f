"""Errors of the API as problems of RFC 9457: `application/problem+json` with our codes."""

import http
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.requests import Request
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from recado.core.errors import DomainError, InvalidInput
from recado.entrypoints.api.door.rates import TooManyRequests
from recado.entrypoints.api.errors import error_response, plain_error
from recado.identity.errors import TooManyLinks

MEDIA_TYPE: Final = "application/problem+json"
PREFIX: Final = "/api/"
"""Below this path errors are problems. All other paths keep the shape that they had before."""

HEADERS: Final = "recado.headers"
"""Where in the scope of a request the headers stand that every answer to it gets."""

_COMMAND: Final = re.compile(r"; [^;]*\brecado [a-z]+ [a-z][^;]*$")
"""What to type, at the end of a sentence."""

_CODES: Final[Mapping[int, str]] = {
    400: "api.unreadable",
    404: "api.unknown_path",
    405: "api.method_not_allowed",
    413: "api.too_large",
}
_HEADERS: Final[Mapping[int, Mapping[str, str]]] = {
    401: {"WWW-Authenticate": 'Bearer realm="recado"'},
    503: {"Retry-After": "1"},
}


class InvalidField(BaseModel):
    """One input that cannot be used."""

    field: str = Field(examples=["body.text"], description="Where it stands: `body.…`, `query.…`, `path.…`, `header.…`")
    detail: str = Field(examples=["Field required"])


class ApiProblem(BaseModel):
    """Why a request failed. Programs read `code`, people read `detail`."""

    type: str = "about:blank"
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    code: str = Field(examples=["core.not_found"])
    detail: str = Field(examples=["there is no conversation 01a203d3-d0be-7000-95bc-8269c3611314"])
    errors: list[InvalidField] | None = Field(default=None, description="Each input that cannot be used.")


def add_problems(app: FastAPI) -> None:
    """Answer every error: below `/api/` with a problem, elsewhere with a plain error."""
    app.add_exception_handler(DomainError, _of_domain_error)
    app.add_exception_handler(RequestValidationError, _of_invalid_request)
    app.add_exception_handler(HTTPException, _of_http_exception)
    app.add_exception_handler(Exception, _of_fault)


def problem_response(
    request: Request,
    status: int,
    code: str,
    detail: str,
    errors: Sequence[InvalidField] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem, or outside the API a plain error."""
    if not request.url.path.startswith(PREFIX):
        return plain_error(status, code, detail, headers)
    problem = ApiProblem(
        title=http.HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        errors=None if errors is None else list(errors),
    )
    # A name that the caller made up may hold half a character, which is no UTF-8.
    body = json.dumps(problem.model_dump(exclude_none=True), ensure_ascii=False).encode("utf-8", "replace")
    common: Mapping[str, str] = request.scope.get(HEADERS, {})
    return Response(body, status, {**common, **(headers or {})}, MEDIA_TYPE)


def for_programs(sentence: str) -> str:
    """Return a sentence without the command that ends it: who calls the API does not have the installation's shell."""
    return _COMMAND.sub("", sentence)


async def _of_domain_error(request: Request, error: Exception) -> Response:
    if not request.url.path.startswith(PREFIX) or not isinstance(error, DomainError):
        return await error_response(request, error)
    headers = _HEADERS.get(error.status)
    if isinstance(error, TooManyRequests):
        headers = error.headers
    if isinstance(error, TooManyLinks):
        headers = {"Retry-After": str(math.ceil(error.wait.total_seconds()))}
    return problem_response(request, error.status, error.code, for_programs(str(error)), headers=headers)


async def _of_invalid_request(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    if (why := _unreadable(request, error)) is not None:
        return problem_response(request, 400, _CODES[400], why)
    fields = [InvalidField(field=".".join(map(str, each["loc"])), detail=each["msg"]) for each in error.errors()]
    sentence = "; ".join(f"{each.field}: {each.detail}" for each in fields[:3])
    return problem_response(request, InvalidInput.status, InvalidInput.code, sentence, fields)


def _unreadable(request: Request, error: RequestValidationError) -> str | None:
    """Return why a body is no JSON; None when it is some, or is missing."""
    for each in error.errors():
        place = tuple(each["loc"])
        if each["type"] == "json_invalid":
            return f"the body is no JSON: it breaks at character {place[-1]}"
        if place == ("body",) and each["type"] != "missing" and not _says_json(request):
            return "the body is read as JSON only with the header Content-Type: application/json"
    return None


def _says_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


async def _of_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    status = error.status_code
    return problem_response(
        request, status, _CODES.get(status, "api.refused"), str(error.detail), headers=error.headers
    )


async def _of_fault(request: Request, _error: Exception) -> Response:
    """Return a 500 without details. The server logs the error."""
    return problem_response(request, 500, "core.error", "a fault of Recado; its log says why")

"""The one shape of an error outside `/api/`."""

from collections.abc import Mapping

from fastapi.requests import Request
from fastapi.responses import JSONResponse

from recado.core.errors import DomainError


async def error_response(_request: Request, error: Exception) -> JSONResponse:
    """Return the JSON of an error that callers can understand. Any other error becomes a 500 without details."""
    if not isinstance(error, DomainError):
        raise error
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return plain_error(error.status, error.code, str(error), headers)


def plain_error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error in that shape."""
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status, headers=headers)

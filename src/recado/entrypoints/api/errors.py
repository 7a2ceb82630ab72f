"""The one shape of an error that callers can understand."""

from fastapi.requests import Request
from fastapi.responses import JSONResponse

from recado.core.errors import DomainError


async def error_response(_request: Request, error: Exception) -> JSONResponse:
    """Return the JSON of an error that callers can understand. Any other error becomes a 500 without details."""
    if not isinstance(error, DomainError):
        raise error
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return JSONResponse(
        {"error": {"code": error.code, "message": str(error)}}, status_code=error.status, headers=headers
    )

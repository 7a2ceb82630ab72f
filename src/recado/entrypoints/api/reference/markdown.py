"""The reference as a page of the documentation. `python -m recado.entrypoints.api.reference.markdown` prints it."""

import sys
from collections.abc import Iterator, Sequence
from typing import Final, get_args

from recado.entrypoints.api.reference.outline import ApiOutline, ModelOutline, RouteOutline, ValueOutline, outline_of
from recado.identity.permissions import OF_KEYS, OF_ROLE, Permission

_HEAD: Final = """\
# The API

Made from `/openapi.json` by `make api-reference`; do not edit it. What all routes have in common is in
[HTTP](http.md#apiv1): who may call, errors, pages, `ETag`, `Idempotency-Key`, rate limits. A running server shows the
same page at `/docs`.
"""


def markdown(outline: ApiOutline) -> str:
    """Return the page."""
    parts = [_HEAD, "## Who may do what\n", *_permissions()]
    for subject, routes in outline.routes.items():
        parts.append(f"## {subject}\n")
        parts += [part for route in routes for part in _route(route)]
    parts.append("## Models\n")
    parts += [part for model in outline.models for part in _model(model)]
    return "\n".join(parts).rstrip() + "\n"


def _permissions() -> Iterator[str]:
    yield "| permission | " + " | ".join(OF_ROLE) + " | a key |"
    yield "|---" * (len(OF_ROLE) + 2) + "|"
    for permission in get_args(Permission):
        marks = ["yes" if permission in allowed else "" for allowed in (*OF_ROLE.values(), OF_KEYS)]
        yield f"| `{permission}` | " + " | ".join(marks) + " |"
    yield ""


def _route(route: RouteOutline) -> Iterator[str]:
    yield f"### `{route.method} {route.path}`\n"
    yield f"{route.summary}. {route.description}".strip() + "\n"
    yield f"- Who: {route.who}"
    if route.body is not None:
        yield f"- Body: {route.body}"
    if route.answer is not None:
        yield f"- Answer: {route.answer}"
    yield f"- Statuses: {', '.join(route.statuses)}\n"
    yield from _values("parameter", route.parameters)


def _model(model: ModelOutline) -> Iterator[str]:
    yield f"### {model.name}\n"
    yield f"{model.description}\n"
    yield from _values("field", model.fields)


def _values(what: str, values: Sequence[ValueOutline]) -> Iterator[str]:
    if values:
        yield f"| {what} | type | | meaning |"
        yield "|---|---|---|---|"
        for value in values:
            needed = "required" if value.required else ""
            yield f"| `{value.name}` | {value.type} | {needed} | {' '.join(value.description.split())} |"
        yield ""


def main() -> None:
    """Print the page of this release."""
    from recado.bootstrap import Container
    from recado.entrypoints.api.app import described_api
    from recado.settings import Settings

    settings = Settings(
        database_url="sqlite:////nonexistent", public_url="https://recado.example", secret_key=bytes(32)
    )
    sys.stdout.write(markdown(outline_of(described_api(Container(settings=settings)))))


if __name__ == "__main__":
    main()

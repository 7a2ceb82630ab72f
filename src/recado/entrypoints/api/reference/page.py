"""The reference at `/docs`, as one page of HTML."""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from fastapi import FastAPI, Response

from recado.entrypoints.api.reference.outline import ApiOutline, ModelOutline, RouteOutline, ValueOutline, outline_of

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1d2433; }
nav a { margin-right: .8rem; } code { background: #f0f2f6; padding: .1rem .3rem; border-radius: .2rem; }
section { border-top: 1px solid #d8dce4; margin-top: 1.5rem; } table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; border-bottom: 1px solid #e6e9ef; padding: .3rem .6rem .3rem 0; }
@media (prefers-color-scheme: dark) { body { background: #14171f; color: #e3e6ee; } code { background: #262b37; }
  a { color: #8fb6ff; } section, td, th { border-color: #333a49; } }
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def add_reference(app: FastAPI, describe: Callable[[], Mapping[str, Any]]) -> None:
    """Add `/docs`. The page is made when it is read first."""
    made: list[str] = []

    @app.get("/docs", tags=["operations"], include_in_schema=False)
    async def docs() -> Response:
        if not made:
            made.append(html(outline_of(describe())))
        return Response(made[0], headers=HEADERS, media_type="text/html")


def html(outline: ApiOutline) -> str:
    """Return the page."""
    title = escape(f"{outline.title} {outline.version}")
    subjects = [*outline.routes, "models"]
    links = "".join(f'<a href="#{escape(each)}">{escape(each)}</a>' for each in subjects)
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}: the API</title>',
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>',
        f"<h1>{title}: the API</h1><p>Send <code>Authorization: Bearer &lt;key&gt;</code>. The same for programs: ",
        f'<a href="/openapi.json">/openapi.json</a>.</p><nav>{links}</nav>',
    ]
    for subject, routes in outline.routes.items():
        parts.append(f'<h2 id="{escape(subject)}">{escape(subject)}</h2>')
        parts += [_route(route) for route in routes]
    parts.append('<h2 id="models">models</h2>')
    parts += [_model(model) for model in outline.models]
    return "".join(parts)


def _route(route: RouteOutline) -> str:
    facts = [
        ("Who", route.who),
        ("Body", route.body),
        ("Answer", route.answer),
        ("Statuses", ", ".join(route.statuses)),
    ]
    told = "".join(f"<li>{name}: {_words(value)}</li>" for name, value in facts if value is not None)
    return (
        f"<section><h3><code>{escape(route.method)} {escape(route.path)}</code></h3>"
        f"<p>{_words(route.summary)}. {_words(route.description)}</p><ul>{told}</ul>"
        f"{_values('parameter', route.parameters)}</section>"
    )


def _model(model: ModelOutline) -> str:
    name, fields = escape(model.name), _values("field", model.fields)
    return f'<section id="{name}"><h3>{name}</h3><p>{_words(model.description)}</p>{fields}</section>'


def _values(what: str, values: Sequence[ValueOutline]) -> str:
    return f"<table>{''.join(_rows(what, values))}</table>" if values else ""


def _rows(what: str, values: Sequence[ValueOutline]) -> Iterator[str]:
    yield f"<tr><th>{what}<th>type<th><th>meaning"
    for value in values:
        needed = "required" if value.required else ""
        name, told = escape(value.name), _words(value.description)
        yield f"<tr><td><code>{name}</code><td>{_words(value.type)}<td>{needed}<td>{told}"


def _words(text: str) -> str:
    """Return a text in which what stands between backticks is code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces))

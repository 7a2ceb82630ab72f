"""What the reference tells, taken from OpenAPI."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from recado.entrypoints.api.door.openapi import needs_of
from recado.entrypoints.api.door.problems import PREFIX
from recado.entrypoints.api.door.routes import PERMISSION, PUBLIC

Json: TypeAlias = Mapping[str, Any]
"""A part of the description, which is plain JSON."""

_REF: Final = "#/components/schemas/"


@dataclass(frozen=True, slots=True)
class ValueOutline:
    """A parameter, or a field of a model."""

    name: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class RouteOutline:
    """One method of one path."""

    method: str
    path: str
    summary: str
    description: str
    who: str
    parameters: Sequence[ValueOutline]
    body: str | None
    """The name of the model of the body."""
    answer: str | None
    statuses: Sequence[str]


@dataclass(frozen=True, slots=True)
class ModelOutline:
    """What a body or an answer is made of."""

    name: str
    description: str
    fields: Sequence[ValueOutline]


@dataclass(frozen=True, slots=True)
class ApiOutline:
    """The whole API."""

    title: str
    version: str
    routes: Mapping[str, Sequence[RouteOutline]]
    """By subject."""
    models: Sequence[ModelOutline]


def outline_of(document: Json) -> ApiOutline:
    """Return what a description tells."""
    found: dict[str, list[RouteOutline]] = {}
    for path, methods in document["paths"].items():
        if path.startswith(PREFIX):
            for method, operation in methods.items():
                found.setdefault(operation["tags"][0], []).append(_route(method, path, operation))
    models = [_model(name, schema) for name, schema in document["components"]["schemas"].items()]
    info = document["info"]
    return ApiOutline(
        info["title"],
        info["version"],
        dict(sorted(found.items())),
        sorted((each for each in models if not each.name.startswith("PageOf")), key=lambda each: each.name),
    )


def _route(method: str, path: str, operation: Json) -> RouteOutline:
    permission = operation.get(PERMISSION)
    needs = "every known caller" if permission is None else f"`{permission}`"
    who = f"every caller: {operation[PUBLIC]}" if PUBLIC in operation else needs
    said: str = operation.get("description", "")
    body = operation.get("requestBody", {})
    return RouteOutline(
        method.upper(),
        path,
        operation.get("summary", ""),
        said.removesuffix(needs_of(operation)).strip(),
        who,
        [_parameter(each) for each in operation.get("parameters", ())],
        _shown_content(body),
        next((_shown_content(each) for status, each in operation["responses"].items() if status < "300"), None),
        list(operation["responses"]),
    )


def _shown_content(message: Json) -> str | None:
    for content in message.get("content", {}).values():
        return _type(content.get("schema", content.get("itemSchema", {})))
    return None


def _parameter(parameter: Json) -> ValueOutline:
    schema = parameter["schema"]
    where = {"query": "", "path": "", "header": " (header)"}.get(parameter["in"], f" ({parameter['in']})")
    told = parameter.get("description", schema.get("description", ""))
    return ValueOutline(parameter["name"] + where, _type(schema), parameter.get("required", False), told)


def _model(name: str, schema: Json) -> ModelOutline:
    required = schema.get("required", ())
    return ModelOutline(
        name,
        schema.get("description", ""),
        [
            ValueOutline(field, _type(each), field in required, each.get("description", ""))
            for field, each in schema.get("properties", {}).items()
        ],
    )


def _type(schema: Json) -> str:
    """Return a type in words: `text`, `list of DocumentView`, `whole number or null`."""
    if "$ref" in schema:
        name: str = schema["$ref"].removeprefix(_REF)
        return f"page of {name.removeprefix('PageOf_').removesuffix('_')}" if name.startswith("PageOf_") else name
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(each) for each in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return _plain(schema)


def _plain(schema: Json) -> str:
    words = {
        "string": {"uuid": "id", "date-time": "time", "date": "day"}.get(schema.get("format", ""), "text"),
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "null": "null",
        "object": "object",
    }
    return words.get(schema.get("type", ""), "anything")

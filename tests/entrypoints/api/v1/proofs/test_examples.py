"""A reader of OpenAPI sees how each route is called."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import pytest

from recado.bootstrap import Container
from recado.entrypoints.api.app import described_api

Json: TypeAlias = Mapping[str, Any]


@pytest.fixture
def document(container: Container) -> Json:
    return described_api(container)


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def models_of_bodies(document: Json) -> Iterator[str]:
    for _, operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            for schema in content["schema"].get("anyOf", [content["schema"]]):  # A body may be left out.
                if "$ref" in schema:
                    yield schema["$ref"].rpartition("/")[2]


def test_every_operation_has_a_summary_and_a_name_of_its_own(document: Json) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert [name for name, operation in operations(document) if not operation.get("summary")] == []
    assert len(names) == len(set(names))


def test_every_field_that_a_body_needs_has_an_example(document: Json) -> None:
    schemas = document["components"]["schemas"]
    missing = [
        f"{model}.{field}"
        for model in sorted(set(models_of_bodies(document)))
        for field in schemas[model].get("required", ())
        if "examples" not in schemas[model]["properties"][field]
    ]
    assert missing == []


def test_the_version_of_openapi_is_the_newest_that_tools_read(document: Json) -> None:
    assert document["openapi"].startswith("3.1")

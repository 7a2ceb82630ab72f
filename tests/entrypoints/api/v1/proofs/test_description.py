"""What OpenAPI says is what the API does, whatever is sent: Schemathesis makes the requests."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, BaseSchema, Case
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.entrypoints.api.v1.proofs.samples import EXEMPT, SAMPLES, Sample
from tests.entrypoints.api.v1.proofs.served import Served, served

pytestmark = pytest.mark.proof

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES: Final = 25
"""Of each operation, in the fast suite."""
Operation: TypeAlias = APIOperation[Any, Any, Any, Any]
Request: TypeAlias = Case[Any]
_ID: Final = re.compile(r"{(\w+_id)}")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served")) as serving:
        yield serving


@pytest.fixture(scope="module")
def schema(api: Served) -> BaseSchema:
    described = schemathesis.openapi.from_url(f"{api.url}/openapi.json").include(path_regex="^/api/")
    return described.exclude(path_regex="/events/stream$")  # It answers for a quarter of an hour.


def operations(schema: BaseSchema) -> Iterator[Operation]:
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found.err()
        yield found.ok()


class TestEveryOperation:
    def test_answers_what_it_says_it_answers(self, api: Served, schema: BaseSchema) -> None:
        for operation in operations(schema):
            try_out(api, operation, EXAMPLES)

    @pytest.mark.slow
    def test_answers_it_hundreds_of_times(self, api: Served, schema: BaseSchema) -> None:
        for operation in operations(schema):
            try_out(api, operation, 300)

    def test_succeeds_as_it_says(self, api: Served, schema: BaseSchema) -> None:
        for operation in operations(schema):
            name = f"{operation.method.upper()} {operation.path}"
            if name not in EXEMPT:
                sample = SAMPLES.get(name, Sample())
                case = operation.Case(
                    path_parameters=_path(api, operation.path, sample.kind),
                    query=dict(sample.query),
                    headers={"If-Match": "*", **api.key},
                    body=json.loads(json.dumps(sample.body)) if sample.body is not None else NOT_SET,
                    media_type=None if sample.body is None else "application/json",
                )
                response = case.call(base_url=api.url)
                assert response.status_code < 300, f"{name}: {response.text}"
                case.validate_response(response, checks=CHECKS)


def try_out(api: Served, operation: Operation, examples: int) -> None:
    """Send requests of all kinds to one operation; each second one is about a thing that is there."""

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), there=st.booleans())
    def sends(case: Request, there: bool) -> None:
        if there:
            case.path_parameters = {**(case.path_parameters or {}), **_path(api, operation.path, None, new=False)}
        api.passes()
        response = case.call(base_url=api.url, headers=dict(api.key))
        case.validate_response(response, checks=CHECKS)

    sends()


def _path(api: Served, path: str, kind: str | None, *, new: bool = True) -> dict[str, str]:
    found = {name: str(api.thing(kind or name, new=new)) for name in _ID.findall(path)}
    return {**({"agent": "echo"} if "{agent}" in path else {}), **found}

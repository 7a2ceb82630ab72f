"""The shape of errors inside and outside the API."""

import httpx2
import pytest

from recado.entrypoints.api.door.problems import for_programs


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_path_outside_the_api_is_told_as_everywhere_outside(
    client: httpx2.AsyncClient, method: str
) -> None:
    answer = await client.request(method, "/internal/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
    assert answer.json() == {"error": {"code": "api.unknown_path", "message": "Not Found"}}


async def test_another_method_outside_the_api_is_told_with_those_that_it_takes(client: httpx2.AsyncClient) -> None:
    answer = await client.delete("/internal/tick")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "api.method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) <= {"GET", "POST"}


async def test_an_unknown_path_of_the_api_is_a_problem(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/api/v1/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "api.unknown_path")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("there is no contact 7; `recado contacts list` shows them", "there is no contact 7"),
        ("bia@x.example was disabled; enable them first: recado users enable 7", "bia@x.example was disabled"),
        ("there is no owner 7", "there is no owner 7"),
        ("the window is closed; send a template", "the window is closed; send a template"),
        (
            "set up by the operator (`recado agents set`); use another",
            "set up by the operator (`recado agents set`); use another",
        ),
    ],
)
def test_programs_are_told_no_command_of_the_installation(sentence: str, told: str) -> None:
    assert for_programs(sentence) == told

"""One name for an id at every door."""

import re
from pathlib import Path

import httpx2

OTHERS = {"address_id", "account_sid", "message_sid", "answered_by"}
"""Names of ids that have another one in the API."""
EVENTS = Path(__file__).parents[4] / "docs" / "reference" / "events.md"


async def test_no_model_of_the_api_has_another_name(client: httpx2.AsyncClient) -> None:
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    fields = {(name, field) for name, schema in schemas.items() for field in schema.get("properties", {})}
    assert len(fields) > 100
    assert [each for each in sorted(fields) if each[1] in OTHERS] == []


def test_the_page_of_events_says_which_route_takes_each_id() -> None:
    """Its first table has the types with their data, its second one the ids."""
    types, ids = EVENTS.read_text(encoding="utf-8").split("| id | names | route |")
    named = set(re.findall(r"`(\w+_id)`", "".join(row for row in types.splitlines() if row.startswith("|"))))
    told = {name for row in ids.splitlines() for name in re.findall(r"`(\w+_id)`", row.split(" | ")[0])}
    assert {"number_id", "answer_id"} <= named
    assert (named - told, named & OTHERS) == (set(), set())

"""Every route with every role: the table of permissions decides, and nothing else."""

from collections.abc import Mapping
from typing import Final

import httpx2
import pytest

from recado.identity.models import Role
from recado.identity.permissions import ALL, OF_ROLE
from tests.entrypoints.api.v1.proofs.operations import Operation
from tests.entrypoints.api.v1.proofs.test_sweep import NOBODYS
from tests.support.callers import KnownCallers
from tests.world import World

pytestmark = pytest.mark.proof

PUBLIC: Final[Mapping[str, str]] = {
    "POST /api/v1/sessions": "a password",
    "POST /api/v1/passwords": "a link that is used once",
    "POST /api/v1/passwords/reset": "nothing: what it leads to goes to the user by mail",
}
"""The routes that take anybody, with what proves who calls."""


def guarded(operations: list[Operation]) -> list[Operation]:
    return [each for each in operations if not each.public]


def test_no_route_is_open_but_these(operations: list[Operation]) -> None:
    assert {each.name for each in operations if each.public} == PUBLIC.keys()


async def test_nobody_gets_in_without_a_key_or_a_session(operations: list[Operation], api: httpx2.AsyncClient) -> None:
    for operation in guarded(operations):
        for headers in ({}, {"Authorization": "Bearer rcd_nothing"}, {"Cookie": "__Host-recado_session=nothing"}):
            answer = await operation.send_refused(api, headers, NOBODYS)
            assert answer.status_code == 401, operation.name


@pytest.mark.parametrize("role", OF_ROLE)
async def test_a_role_may_do_what_the_table_says(
    operations: list[Operation], api: httpx2.AsyncClient, callers: KnownCallers, world: World, role: Role
) -> None:
    allowed = {each.name for each in guarded(operations) if each.permission is None or each.permission in OF_ROLE[role]}
    headers, passed = callers.role(world.owner_id, role), set()
    for operation in guarded(operations):
        answer = await operation.send_refused(api, headers, NOBODYS)
        assert answer.status_code != 401, operation.name
        if answer.status_code != 403:
            passed.add(operation.name)
    assert passed == allowed


async def test_one_scope_less_is_one_scope_too_few(
    operations: list[Operation], api: httpx2.AsyncClient, callers: KnownCallers, world: World
) -> None:
    for operation in guarded(operations):
        if operation.permission is not None:
            headers = callers.key(world.owner_id, *(each for each in ALL if each != operation.permission))
            answer = await operation.send_refused(api, headers, NOBODYS)
            assert (answer.status_code, answer.json()["code"]) == (403, "identity.not_allowed"), operation.name


def test_every_permission_of_a_route_is_one_of_the_table(operations: list[Operation]) -> None:
    assert {each.permission for each in operations if each.permission is not None} <= ALL

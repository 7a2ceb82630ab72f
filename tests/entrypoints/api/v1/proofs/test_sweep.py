"""Every route with every kind of id: another owner's thing is like one that does not exist, and stays as it is."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import httpx2
import pytest

from tests.entrypoints.api.v1.proofs.operations import Operation
from tests.entrypoints.api.v1.proofs.samples import EXEMPT, SAMPLES
from tests.entrypoints.api.v1.proofs.scene import MAKERS, Scene

pytestmark = pytest.mark.proof

ON_BOTH_DATABASES = True

NOBODYS = UUID("01a203d3-d0be-7000-95bc-8269c3611314")


def test_every_route_is_in_the_sweep(operations: list[Operation]) -> None:
    missing = [each.name for each in operations if each.sample is None and each.name not in EXEMPT]
    assert missing == [], "write a request that succeeds for each in samples.py, or exempt it with the reason"
    kinds = {each.name for each in operations if each.kind is not None and each.kind not in MAKERS}
    assert kinds - EXEMPT.keys() == set(), "say in scene.py how such a thing is made"


def test_no_sample_is_of_a_route_that_is_gone(operations: list[Operation]) -> None:
    assert (SAMPLES.keys() | EXEMPT.keys()) - {each.name for each in operations} == set()


def swept(operations: Sequence[Operation]) -> list[Operation]:
    return [each for each in operations if each.name not in EXEMPT]


class TestAThingOfAnother:
    async def test_is_like_one_that_does_not_exist(
        self, operations: list[Operation], api: httpx2.AsyncClient, scene: Scene, theirs: Mapping[str, str]
    ) -> None:
        for operation in swept(operations):
            if operation.kind is not None:
                id_ = await scene.make(operation.kind)
                before = await scene.everything()
                assert await told(operation, api, theirs, id_) == await told(operation, api, theirs, NOBODYS)
                assert await scene.everything() == before, f"{operation.name} changed something of another owner"

    async def test_is_its_owner_s_in_the_same_request(
        self, operations: list[Operation], api: httpx2.AsyncClient, scene: Scene, mine: Mapping[str, str]
    ) -> None:
        """Otherwise the test above would pass with routes that find nothing at all."""
        failed = {}
        for operation in swept(operations):
            id_ = None if operation.kind is None else await scene.make(operation.kind)
            answer = await operation.send(api, mine, id_)
            if not answer.is_success:
                failed[operation.name] = answer.text
        assert failed == {}

    async def test_is_in_no_list(
        self, operations: list[Operation], api: httpx2.AsyncClient, scene: Scene, theirs: Mapping[str, str]
    ) -> None:
        made = {name: str(await make(scene)) for name, make in MAKERS.items()}
        for operation in swept(operations):
            if operation.method == "GET" and operation.thing is None:
                shown = (await operation.send(api, theirs)).text
                assert [name for name, id_ in made.items() if id_ in shown] == [], operation.name


async def told(
    operation: Operation, api: httpx2.AsyncClient, headers: Mapping[str, str], id_: UUID
) -> list[tuple[int, str]]:
    """What is answered, whatever the body is; without the id, which stands in the sentence."""
    answers = [await operation.send(api, headers, id_), await operation.send_garbage(api, headers, id_)]
    assert [each.status_code for each in answers] == [404, 404], f"{operation.name}: {answers[0].text}"
    return [(each.status_code, each.text.replace(str(id_), "ID")) for each in answers]


async def test_a_text_that_is_no_id_is_not_found(
    operations: list[Operation], api: httpx2.AsyncClient, mine: Mapping[str, str]
) -> None:
    for operation in swept(operations):
        if operation.thing is not None:
            for text in ("nothing", "%00", "0", "%F0%28"):
                assert (await operation.send_garbage(api, mine, text)).status_code == 404, operation.name

"""What a body may bring to a route."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from recado.entrypoints.api import v1
from recado.entrypoints.api.door.models import Input


def moments() -> Iterator[tuple[type[Input], str]]:
    """Each field of each body that takes a time."""
    for module in pkgutil.walk_packages(v1.__path__, f"{v1.__name__}."):
        importlib.import_module(module.name)
    for model in Input.__subclasses__():
        for name, schema in model.model_json_schema()["properties"].items():
            if "date-time" in str(schema):
                yield model, name


def is_taken(model: type[Input], name: str, value: str) -> bool:
    """Whether a body could have this value, whatever its other fields are."""
    try:
        model.model_validate({name: value})
    except ValidationError as refused:
        return (name,) not in {error["loc"][:1] for error in refused.errors()}
    return True


@pytest.mark.parametrize(("model", "name"), list(moments()))
def test_a_time_is_one_that_can_be_stored_and_read_again(model: type[Input], name: str) -> None:
    """On SQLite a moment is a number. One whose year in UTC has five digits could be stored and never be read."""
    assert is_taken(model, name, "2026-03-14T12:00:00-03:00")
    for text in ("9999-12-31T23:59:59.999999-14:00", "0001-01-01T00:00:00+14:00", "2026-03-14T12:00:00"):
        assert not is_taken(model, name, text)


def test_there_are_bodies_that_take_a_time() -> None:
    assert {"expires_at", "since"} <= {name for _, name in moments()}

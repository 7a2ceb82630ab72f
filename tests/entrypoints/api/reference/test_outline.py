"""What the reference tells of an operation."""

from recado.entrypoints.api.door.openapi import needs_of
from recado.entrypoints.api.reference.outline import Json, RouteOutline, outline_of


def route(said: str, **marks: str) -> RouteOutline:
    """Return what is told of an operation that is described by these words."""
    operation = {"tags": ["things"], "responses": {"200": {}}, **marks}
    operation["description"] = f"{said}\n\n{needs_of(operation)}".strip()
    document: Json = {
        "info": {"title": "Recado", "version": "1"},
        "paths": {"/api/v1/things": {"get": operation}},
        "components": {"schemas": {}},
    }
    [told] = outline_of(document).routes["things"]
    return told


def test_a_description_is_told_without_the_sentence_about_callers() -> None:
    assert route("Lists things.", **{"x-permission": "numbers.read"}).description == "Lists things."
    assert route("Lists things.").description == "Lists things."
    assert route("", **{"x-permission": "numbers.read"}).description == ""


def test_a_description_may_speak_of_needs_itself() -> None:
    assert route("Needs a thing.", **{"x-permission": "numbers.read"}).description == "Needs a thing."


def test_the_description_of_a_public_operation_is_told_whole() -> None:
    told = route("Needs a link that was mailed.", **{"x-public": "whoever has the link"})
    assert (told.description, told.who) == ("Needs a link that was mailed.", "every caller: whoever has the link")

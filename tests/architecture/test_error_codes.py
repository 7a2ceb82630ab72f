"""The codes of errors, which are stored beside the attempt that one of them ended."""

import ast
from pathlib import Path

import pytest
from sqlalchemy import Column, String

import recado
from recado.channels.tables import channel_accounts
from recado.conversation.tables import answers, attempts

SOURCE = Path(recado.__file__).parent


def codes() -> dict[str, str]:
    """Return the code of each class of errors in src: a dotted `code` that the body of the class sets."""
    return {
        value: f"{path.relative_to(SOURCE)}: {body.name}"
        for path in SOURCE.rglob("*.py")
        for body in ast.walk(ast.parse(path.read_text()))
        if isinstance(body, ast.ClassDef)
        for value in _codes_in(body)
    }


def _codes_in(body: ast.ClassDef) -> list[str]:
    return [
        node.value.value
        for node in body.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and "code" in {ast.unparse(each) for each in (node.targets if isinstance(node, ast.Assign) else [node.target])}
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]


@pytest.mark.parametrize("column", [attempts.c.code, answers.c.error_code, channel_accounts.c.paused_why], ids=str)
def test_every_code_fits_the_column_that_takes_it(column: Column[str]) -> None:
    found = codes()
    assert {"core.error", "core.seal_unknown", "core.not_confirmed"} <= found.keys()
    assert isinstance(column.type, String)
    length = column.type.length or 0
    assert [f"{where} ({code})" for code, where in found.items() if len(code) > length] == []

"""Column types give back what was stored."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import make_url

from recado.core.database.types import LONGEST_PROVIDER_ID, ProviderId

DIALECTS = tuple(make_url(url).get_dialect()() for url in ("sqlite://", "postgresql+psycopg://"))
TYPE = ProviderId()
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=LONGEST_PROVIDER_ID)
SIDS = st.from_regex(r"[A-Z]{2}[0-9a-f]{32}", fullmatch=True)


@given(ANY_TEXT | SIDS)
@example("123456789012345678")
@example("SM" + "0" * 16)
@example("\udcff" + "a" * 17)
@example("")
def test_a_providers_id_survives_byte_for_byte(id_: str) -> None:
    for dialect in DIALECTS:
        stored = TYPE.process_bind_param(id_, dialect)
        assert TYPE.process_result_value(stored, dialect) == id_


@given(ANY_TEXT | SIDS, ANY_TEXT | SIDS)
def test_two_ids_are_never_stored_alike(one: str, other: str) -> None:
    stored = [TYPE.process_bind_param(each, DIALECTS[0]) for each in (one, other)]
    assert (stored[0] == stored[1]) == (one == other)


@given(SIDS)
def test_an_id_in_twilios_usual_form_takes_18_bytes(sid: str) -> None:
    stored = TYPE.process_bind_param(sid, DIALECTS[0])
    assert stored is not None
    assert len(stored) == 18


def test_an_id_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="256 characters, 255 at most"):
        TYPE.process_bind_param("x" * 256, DIALECTS[0])

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recado.core.errors import ConfigurationError
from recado.core.sealing import OtherKey, SealBroken, Sealer, SealUnknown

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
ANA, BOB = UUID(int=1), UUID(int=2)
TOKEN = "canary-auth-token"


def sealed(text: str = TOKEN) -> bytes:
    return Sealer(KEY).seal(text, owner=ANA, field="auth_token")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.uuids(), st.text(alphabet="abc_", min_size=1))
def test_what_was_sealed_opens_again(text: str, owner: UUID, field: str) -> None:
    sealer = Sealer(KEY)
    assert sealer.open(sealer.seal(text, owner=owner, field=field), owner=owner, field=field) == text


def test_the_sealed_text_is_not_visible() -> None:
    assert TOKEN.encode() not in sealed()


def test_the_same_text_is_sealed_differently_each_time() -> None:
    assert sealed() != sealed()


def test_the_randomness_is_the_one_handed_in() -> None:
    def counted(size: int) -> bytes:
        return bytes(range(size))

    first = Sealer(KEY, counted).seal(TOKEN, owner=ANA, field="auth_token")
    assert first[1:13] == bytes(range(12))
    assert first == Sealer(KEY, counted).seal(TOKEN, owner=ANA, field="auth_token")


@given(position=st.integers(min_value=1), bit=st.integers(min_value=0, max_value=7))
def test_one_changed_bit_is_noticed(position: int, bit: int) -> None:
    changed = bytearray(sealed())
    # The first byte is the version, which has its own error.
    changed[1 + position % (len(changed) - 1)] ^= 1 << bit
    with pytest.raises(SealBroken):
        Sealer(KEY).open(bytes(changed), owner=ANA, field="auth_token")


@pytest.mark.parametrize(("owner", "field"), [(BOB, "auth_token"), (ANA, "api_key")])
def test_a_secret_moved_to_another_owner_or_field_stays_shut(owner: UUID, field: str) -> None:
    with pytest.raises(SealBroken):
        Sealer(KEY).open(sealed(), owner=owner, field=field)


def test_another_key_opens_nothing_and_the_sentence_names_the_variable() -> None:
    with pytest.raises(SealBroken, match="RECADO_SECRET_KEY is not the key") as raised:
        Sealer(OTHER_KEY).open(sealed(), owner=ANA, field="auth_token")
    assert raised.value.code == "core.seal_broken"
    assert TOKEN not in str(raised.value)


def test_a_later_version_is_distinguished_from_damage() -> None:
    with pytest.raises(SealUnknown, match="later release"):
        Sealer(KEY).open(b"\x02" + sealed()[1:], owner=ANA, field="auth_token")


@pytest.mark.parametrize("length", [0, 1, 13, 28])
def test_a_secret_cut_short_is_broken(length: int) -> None:
    with pytest.raises(SealBroken, match="cut short"):
        Sealer(KEY).open(sealed()[:length], owner=ANA, field="auth_token")


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="RECADO_SECRET_KEY must be 32 bytes, not 16"):
        Sealer(b"k" * 16)


def test_a_key_has_an_id_that_tells_nothing_of_it() -> None:
    ids = {Sealer(KEY).key_id, Sealer(OTHER_KEY).key_id}
    assert ids != {KEY.hex()[:16], OTHER_KEY.hex()[:16]}
    assert [len(each) for each in ids] == [16, 16]
    assert Sealer(KEY).key_id in ids


def test_bytes_are_sealed_as_they_are() -> None:
    sealer, secret = Sealer(KEY), bytes(range(256))
    assert sealer.open_bytes(sealer.seal_bytes(secret, owner=ANA, field="key"), owner=ANA, field="key") == secret


def test_another_key_is_told_by_its_id() -> None:
    sealer = Sealer(KEY)
    sealer.check_key(sealer.key_id, "the key")
    with pytest.raises(OtherKey, match="the key was sealed with another RECADO_SECRET_KEY"):
        sealer.check_key(Sealer(OTHER_KEY).key_id, "the key")

"""Short names of records: unambiguous, like those of git's commits."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.record_names import is_short_name, keys_named, short_names


def key(digits: str, release: str = "digits/1") -> str:
    return f"engines/{release}/l4/10.13.3.9/fp16-{digits}.json"


def test_a_name_is_the_first_eight_digits_of_the_digest() -> None:
    assert short_names([key("0123456789ab")]) == {key("0123456789ab"): "01234567"}


def test_a_name_gets_more_digits_where_others_begin_alike() -> None:
    keys = [key("0123456789ab"), key("012345678fff"), key("ffffffffffff")]
    assert list(short_names(keys).values()) == ["0123456789", "012345678f", "ffffffff"]


def test_the_same_bytes_published_twice_are_told_apart_by_their_release() -> None:
    keys = [key("0123456789ab"), key("0123456789ab", "digits/2"), key("ffffffffffff")]
    names = short_names(keys)
    assert list(names.values()) == ["1/01234567", "2/01234567", "ffffffff"]
    assert keys_named("01234567", keys) == keys[:2]
    assert keys_named("2/01234567", keys) == [keys[1]]
    assert keys_named("digits/2/01234567", keys) == [keys[1]]


def test_models_with_the_same_version_are_told_apart_by_both() -> None:
    keys = [key("0123456789ab"), key("0123456789ab", "numbers/1")]
    assert list(short_names(keys).values()) == ["digits/1/01234567", "numbers/1/01234567"]


def test_a_key_of_another_form_is_its_own_name() -> None:
    assert short_names(["engines/readme.txt"]) == {"engines/readme.txt": "engines/readme.txt"}


def test_records_of_quarantine_and_timing_caches_have_names() -> None:
    quarantined = "quarantine/digits/1/graph/fp32-0123456789ab.json"
    shared = f"timing/l4/10.13.3.9/{'ab' * 32}.json"
    recorded = f"timing/l4/10.13.3.9/{'ab' * 32}/{'cd' * 32}.json"
    assert list(short_names([quarantined, shared, recorded]).values()) == ["01234567", "abababab", "cdcdcdcd"]


@pytest.mark.parametrize("name", ["0123456", "0123456789ab", "0" * 64, "1/0123456", "digits/1/0123456"])
def test_seven_digits_are_a_name(name: str) -> None:
    assert is_short_name(name)


@pytest.mark.parametrize(
    "text", ["", "012345", "digits", "0123456G", "a/b/c/0123456", "0" * 65, key("0" * 12)]
)
def test_less_or_something_else_is_none(text: str) -> None:
    assert not is_short_name(text)
    assert keys_named(text, [key("0123456789ab")]) == []


def test_a_whole_build_key_names_its_engine() -> None:
    keys = [key("0123456789ab"), key("ffffffffffff")]
    assert keys_named("0123456789ab" + "0" * 52, keys) == keys[:1]


# Few digits, so that many keys begin alike.
_DIGITS = st.text("01", min_size=2, max_size=2).map(lambda end: f"abcdef0123{end}") | st.text(
    "0123456789abcdef", min_size=12, max_size=12
)
_KEYS = st.lists(
    st.builds(key, _DIGITS, st.sampled_from(["digits/1", "digits/2", "numbers/1"])), unique=True, max_size=20
)


@given(_KEYS)
def test_each_name_finds_its_record_and_no_other(keys: Sequence[str]) -> None:
    for record, name in short_names(keys).items():
        assert keys_named(name, keys) == [record]

"""What is written is read back; and whatever a file says, it is a request or a `RequestInvalid`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.domain.errors import RequestInvalid
from tasks.domain.request import BuildRequest
from tasks.store.plain_yaml import dump_plain
from tasks.store.request_file import parse_request, render_request
from tests.support.strategies import NAMES, built


# Requests that contradict themselves are drawn often, and now and then nearly only those.
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(built(BuildRequest))
def test_what_is_written_is_read_back(request: BuildRequest) -> None:
    assert parse_request(render_request(request)) == request


WORDS = st.sampled_from(
    [*"[]{}:,-?&*!|>'\"%@#~\n\t ", "  ", "inputs", "min", "precisions", "fp16", "targets", "all", "1", "1.5"]
)


def read_or_refused(text: str) -> None:
    request, refusal = None, ""
    try:
        request = parse_request(text)
    except RequestInvalid as error:
        refusal = str(error)
    assert all(line.isprintable() for line in refusal.split("\n"))
    assert request is None or parse_request(render_request(request)) == request


@settings(max_examples=80, deadline=None)
@given(st.lists(WORDS | st.text(max_size=3), max_size=25).map("".join))
def test_whatever_the_file_says_it_is_read_or_refused(text: str) -> None:
    read_or_refused(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(sorted(BuildRequest.__dataclass_fields__))


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_any_value_of_a_known_key_is_read_or_refused(document: dict[str, Any]) -> None:
    read_or_refused(dump_plain(document))


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "[]", "[[]]", "{}", "{x: {}}", "[{}]", "{x: [y]}"])
def test_no_key_takes_the_wrong_kind_of_value_amiss(value: str) -> None:
    for key in BuildRequest.__dataclass_fields__:
        read_or_refused(f"{key}: {value}\n")

"""Whatever an engine and a conversion are made of: other parts have other keys, and keys are safe in S3."""

from __future__ import annotations

import re
import typing
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tasks.domain.digest import canonical_json
from tasks.domain.keys import build_key, conversion_key, conversion_record_key, engine_key
from tasks.domain.release import Release, ReleaseRef
from tasks.domain.request import Precision
from tasks.domain.target import EngineTarget
from tests.support.strategies import NAMES, built, of

_SAFE = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
_FEW = settings(max_examples=40, deadline=None)


def parameters(function: Any) -> dict[str, st.SearchStrategy[Any]]:
    """Return a strategy for each parameter, so that one that is added is drawn, too."""
    hints = typing.get_type_hints(function)
    return {name: of(hint) for name, hint in hints.items() if name != "return"}


def unordered(value: Any) -> Any:
    """Return `value` with the order of names turned round."""
    if isinstance(value, dict):
        return {key: unordered(value[key]) for key in reversed(value)}
    return value


KEYS = st.sampled_from([conversion_key, build_key])


# Small parts, such as lists that are mostly empty, are often drawn the same twice.
@settings(_FEW, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.data(), KEYS)
def test_each_part_that_differs_makes_another_key(data: st.DataObject, key: Any) -> None:
    strategies = parameters(key)
    parts = data.draw(st.fixed_dictionaries(strategies))
    name = data.draw(st.sampled_from(sorted(strategies)))
    other = parts | {name: data.draw(strategies[name])}
    if name == "plugin_ops":  # their order decides nothing
        assume(sorted(parts[name]) != sorted(other[name]))
    assume(parts[name] != other[name])
    assert key(**parts) != key(**other)
    assert re.fullmatch(r"[0-9a-f]{64}", key(**parts))


@_FEW
@given(st.data(), KEYS)
def test_the_order_of_names_makes_no_other_key(data: st.DataObject, key: Any) -> None:
    parts = data.draw(st.fixed_dictionaries(parameters(key)))
    assert key(**parts) == key(**{name: unordered(value) for name, value in reversed(parts.items())})


@_FEW
@given(built(EngineTarget), of(Precision), built(ReleaseRef), st.text("0123456789abcdef", min_size=64))
def test_keys_are_safe_whatever_a_driver_calls_its_gpu(
    target: EngineTarget, precision: Precision, ref: ReleaseRef, digest: str
) -> None:
    release = Release.__new__(Release)
    object.__setattr__(release, "ref", ref)
    for key in (
        engine_key(release=release, target=target, precision=precision, build_digest=digest),
        conversion_record_key(digest[:64]),
    ):
        assert _SAFE.fullmatch(key), key
        assert not {".", ".."} & set(key.split("/"))
        assert len(key) <= 1024


@_FEW
@given(st.dictionaries(NAMES, st.integers() | NAMES | st.lists(NAMES, max_size=3), max_size=4))
def test_one_document_has_one_text(document: dict[str, Any]) -> None:
    assert canonical_json(document) == canonical_json(unordered(document))

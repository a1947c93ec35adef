"""Which engine is the current one after requests were corrected and the farm was upgraded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasks.domain.compatibility import Compatibility
from tasks.domain.current import answers_request, current_engines
from tasks.domain.record import EngineRecord
from tasks.domain.request import BuildRequest, Precision, ShapeRange


@pytest.fixture
def asked(engine_record: EngineRecord) -> BuildRequest:
    """The request that the engine of the fixture answers."""
    options, files = engine_record.options, engine_record.release.files
    samples = [file.path for file in files if file.sha256 == options.samples]
    return BuildRequest(
        signature=options.signature,
        inputs=options.shapes,
        precisions=(options.precision,),
        tolerances={options.precision: options.tolerance},
        samples=samples[0] if samples else None,
        workspace_mib=options.workspace_mib,
        optimization_level=options.optimization_level,
    )


def test_an_engine_answers_the_request_that_it_was_built_for(
    engine_record: EngineRecord, asked: BuildRequest
) -> None:
    derived = replace(asked, signature=None, inputs={}, targets=("l4",), precisions=(Precision.FP32,))
    for request in (asked, derived):
        assert answers_request(engine_record.options, engine_record.release, request)


@pytest.mark.parametrize(
    "change",
    [
        {"workspace_mib": 7},
        {"tolerances": {"fp16": 0.5}},
        {"top1": {"fp16": 0.5}},
        {"samples": "others.npz"},
        {"signature": "another"},
        {"stripped": True},
        {"compatibility": Compatibility(version=True)},
        {"inputs": {"x": ShapeRange(min=(9, 9), opt=(9, 9), max=(9, 9))}},
        {"inputs": {}, "profiles": ({"x": ShapeRange(min=(1, 9), opt=(1, 9), max=(1, 9))},)},
    ],
)
def test_an_engine_does_not_answer_a_request_that_asks_for_something_else(
    engine_record: EngineRecord, asked: BuildRequest, change: dict[str, Any]
) -> None:
    assert engine_record.options.precision is Precision.FP16
    assert not answers_request(engine_record.options, engine_record.release, replace(asked, **change))


def test_the_current_engine_is_as_requested_and_made_last(
    engine_record: EngineRecord, asked: BuildRequest
) -> None:
    old = replace(engine_record, created="2026-11-01T00:00:00+00:00", tools={"enginefarm-build": "old"})
    new = replace(engine_record, created="2026-11-20T00:00:00+00:00")
    options = replace(engine_record.options, workspace_mib=7)
    tried = replace(engine_record, created="2026-11-30T00:00:00+00:00", options=options)
    other = replace(old, options=replace(old.options, precision=Precision.FP32))
    elsewhere = replace(old, release=replace(old.release, ref=replace(old.release.ref, prefix="team/b")))
    records = (old, new, tried, other, elsewhere)
    assert current_engines(records, lambda _: asked) == (new, other, elsewhere)
    assert current_engines(records, lambda _: None) == (tried, other, elsewhere)

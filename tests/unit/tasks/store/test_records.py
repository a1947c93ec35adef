"""Records as documents: exact both ways, and refused where they are not ours."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tasks.store.records
from tasks.domain.errors import RecordInvalid
from tasks.domain.record import Comparison, ConversionRecord, EngineRecord
from tasks.store.records import (
    conversion_record_from_json,
    engine_record_from_json,
    record_schema,
    record_to_json,
)

_SCHEMA_FILE = Path(tasks.store.records.__file__).with_name("engine-record.schema.json")


def test_records_come_back_exactly(engine_record: EngineRecord, conversion_record: ConversionRecord) -> None:
    assert engine_record_from_json(record_to_json(engine_record)) == engine_record
    assert conversion_record_from_json(record_to_json(conversion_record)) == conversion_record


def test_read_only_mappings_are_written_like_others(engine_record: EngineRecord) -> None:
    options = replace(engine_record.options, shapes=MappingProxyType(dict(engine_record.options.shapes)))
    record = replace(engine_record, options=options, tools=MappingProxyType(dict(engine_record.tools)))
    assert record_to_json(record) == record_to_json(engine_record)


_FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.builds(
        Comparison,
        corner=st.text(),
        output=st.text(),
        values=st.integers(min_value=0),
        max_abs=_FINITE,
        relative=_FINITE,
        noise=_FINITE,
        top1=st.none() | _FINITE,
    )
)
def test_every_finite_figure_and_text_comes_back(engine_record: EngineRecord, row: Comparison) -> None:
    verification = replace(engine_record.engine_verification, comparisons=(row,), reason=row.output)
    record = replace(engine_record, engine_verification=verification)
    assert engine_record_from_json(record_to_json(record)) == record


@pytest.mark.parametrize("figure", [math.nan, math.inf, -math.inf])
def test_figures_that_are_no_numbers_are_never_written(engine_record: EngineRecord, figure: float) -> None:
    with pytest.raises(RecordInvalid, match="engines/resnet"):
        record_to_json(replace(engine_record, peak_mib=figure))


def test_text_that_is_no_unicode_is_never_written(engine_record: EngineRecord) -> None:
    with pytest.raises(RecordInvalid, match="surrogates"):
        record_to_json(replace(engine_record, model="\ud800"))


def _document(record: EngineRecord) -> dict[str, Any]:
    return dict(json.loads(record_to_json(record)))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "no JSON document"),
        (b"\xff\xfe", "no JSON document"),
        (b"[" * 100_000, "no JSON document"),
        (b"[]", "without a schema"),
        (b'{"schema": "enginefarm.engine/2"}', "enginefarm.engine/2"),
        (b'{"schema": "enginefarm.conversion/1"}', "enginefarm.conversion/1"),
        (b'{"schema": "enginefarm.engine/1"}', "build_key: Field required"),
        (b'{"schema": "enginefarm.engine/1", "peak_mib": NaN}', "NaN is no number"),
    ],
)
def test_other_documents_are_refused(data: bytes, found: str) -> None:
    with pytest.raises(RecordInvalid) as caught:
        engine_record_from_json(data)
    assert found in caught.value.found


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"peak_mib": "812"}, "peak_mib"),
        ({"plan": {"sha256": "../../etc/passwd", "size": 1}}, "plan"),
        ({"plan": {"sha256": "ab" * 32, "size": 1, "more": 1}}, "plan.more"),
        ({"unknown": 1}, "unknown"),
        ({"source_revision": "\x1b[2J\x00"}, None),
    ],
)
def test_changed_records_are_refused_by_place(
    engine_record: EngineRecord, change: dict[str, Any], found: str | None
) -> None:
    data = json.dumps(_document(engine_record) | change).encode()
    if found is None:  # odd, but a text like any other
        assert engine_record_from_json(data).source_revision == change["source_revision"]
        return
    with pytest.raises(RecordInvalid) as caught:
        engine_record_from_json(data)
    assert found in caught.value.found


def test_a_number_too_large_for_a_float_is_refused(engine_record: EngineRecord) -> None:
    data = record_to_json(engine_record).replace(b'"peak_mib": 812.25', b'"peak_mib": 1e999')
    with pytest.raises(RecordInvalid, match="1e999"):
        engine_record_from_json(data)


def test_a_key_that_is_given_twice_is_refused(engine_record: EngineRecord) -> None:
    data = record_to_json(engine_record).replace(b'"peak_mib": 812.25', b'"peak_mib": 1.0, "peak_mib": 2.0')
    with pytest.raises(RecordInvalid, match="twice"):
        engine_record_from_json(data)


def test_the_committed_schema_is_that_of_the_code() -> None:
    how = (
        'python -c "import json, tasks.store.records as r; print(json.dumps(r.record_schema(), indent=2))" '
        "> tasks/store/engine-record.schema.json"
    )
    assert json.loads(_SCHEMA_FILE.read_text("utf-8")) == record_schema(), f"refresh it: {how}"


def test_a_real_record_validates_with_the_schema_and_a_changed_one_does_not(
    engine_record: EngineRecord,
) -> None:
    schema = json.loads(_SCHEMA_FILE.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    document = _document(engine_record)
    validator.validate(document)
    for change in ({"peak_mib": "812"}, {"unknown": 1}, {"schema": "enginefarm.engine/2"}):
        assert not validator.is_valid(document | change)
    del document["schema"]
    assert not validator.is_valid(document)

"""Records as documents: exact both ways, and refused where they are not ours."""

from __future__ import annotations

import ast
import json
import math
import re
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
    _SCHEMAS,
    Document,
    engine_record_from_json,
    record_from_json,
    record_schema,
    record_to_json,
)
from tests.support.other_versions import COMMITS, files_of, later_document, unknown_keys

_ROOT = Path(tasks.store.records.__file__).parents[2]
_SCHEMA_FILE = Path(tasks.store.records.__file__).with_name("engine-record.schema.json")


def test_records_come_back_exactly(engine_record: EngineRecord, conversion_record: ConversionRecord) -> None:
    assert engine_record_from_json(record_to_json(engine_record)) == engine_record
    data = record_to_json(conversion_record)
    assert record_from_json(data, ConversionRecord, source="a conversion") == conversion_record


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
    ("data", "message"),
    [
        (b"", "not a JSON document"),
        (b"\xff\xfe", "not a JSON document"),
        (b"[" * 100_000, "not a JSON document"),
        (b"[]", "without a schema"),
        (b'{"schema": "enginefarm.engine/2"}', "enginefarm.engine/2"),
        (b'{"schema": 1}', "schema 1"),
        (b'{"schema": "enginefarm.conversion/1"}', "enginefarm.conversion/1"),
        (b'{"schema": "enginefarm.engine/1"}', "build_key: Field required"),
        (b'{"schema": "enginefarm.engine/1", "peak_mib": NaN}', "NaN is not a number"),
    ],
)
def test_other_documents_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(RecordInvalid) as caught:
        engine_record_from_json(data)
    assert message in caught.value.found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peak_mib": "812"}, "peak_mib"),
        ({"plan": {"sha256": "../../etc/passwd", "size": 1}}, "plan"),
        ({"source_revision": "\x1b[2J\x00"}, None),
    ],
)
def test_changed_records_are_refused_by_place(
    engine_record: EngineRecord, change: dict[str, Any], message: str | None
) -> None:
    data = json.dumps(_document(engine_record) | change).encode()
    if message is None:  # odd, but a text like any other
        assert engine_record_from_json(data).source_revision == change["source_revision"]
        return
    with pytest.raises(RecordInvalid) as caught:
        engine_record_from_json(data)
    assert message in caught.value.found


def test_a_number_too_large_for_a_float_is_refused(engine_record: EngineRecord) -> None:
    data = record_to_json(engine_record).replace(b'"peak_mib": 812.25', b'"peak_mib": 1e999')
    with pytest.raises(RecordInvalid, match="1e999"):
        engine_record_from_json(data)


def test_a_key_that_is_given_twice_is_refused(engine_record: EngineRecord) -> None:
    data = record_to_json(engine_record).replace(b'"peak_mib": 812.25', b'"peak_mib": 1.0, "peak_mib": 2.0')
    with pytest.raises(RecordInvalid, match="twice"):
        engine_record_from_json(data)


@pytest.mark.parametrize("name", ["engine", "conversion", "quarantine", "timing", "announcement"])
@pytest.mark.parametrize("major", [2, 11])
def test_a_newer_major_version_is_refused_with_the_advice_to_update(name: str, major: int) -> None:
    (kind,) = (kind for kind, schema in _SCHEMAS.items() if schema == f"enginefarm.{name}/1")
    with pytest.raises(RecordInvalid) as caught:
        record_from_json(f'{{"schema": "enginefarm.{name}/{major}"}}'.encode(), kind, source="a record")
    assert caught.value.wanted == f"a record with schema enginefarm.{name}/1"
    assert caught.value.found == f"schema 'enginefarm.{name}/{major}'"
    assert "update enginefarm on this host" in caught.value.fix
    assert caught.value.newer


@pytest.mark.parametrize(
    "schema", ["enginefarm.engine/0", "enginefarm.engine/2.0", "enginefarm.timing/2", "engine/2", 2]
)
def test_another_schema_is_no_newer_version(engine_record: EngineRecord, schema: object) -> None:
    with pytest.raises(RecordInvalid) as caught:
        engine_record_from_json(json.dumps(_document(engine_record) | {"schema": schema}).encode())
    assert not caught.value.newer
    assert "update" not in caught.value.fix


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (("options", "precision"), "options.precision: 'fp4'"),
        (("target", "flavour"), "target.flavour: 'fp4'"),
        (("release", "format"), "release.format: 'fp4'"),
        (("engine_verification", "verdict"), "engine_verification.verdict: 'fp4'"),
    ],
)
def test_a_value_that_only_a_newer_version_knows_asks_for_an_update(
    engine_record: EngineRecord, place: tuple[str, ...], message: str
) -> None:
    document = _document(engine_record)
    *parents, last = place
    inner = document
    for name in parents:
        inner = inner[name]
    inner[last] = "fp4"
    with pytest.raises(RecordInvalid) as caught:
        engine_record_from_json(json.dumps(document).encode())
    assert message in caught.value.found
    assert "update enginefarm on this host" in caught.value.fix
    assert caught.value.newer


def test_what_replaces_a_document_keeps_its_unknown_keys_and_drops_names_of_its_mappings(
    engine_record: EngineRecord,
) -> None:
    former = later_document(engine_record)
    former["tools"]["old"] = "1"
    data = json.dumps(former).encode()
    read = engine_record_from_json(data)
    record = replace(read, peak_mib=1.0, tools={"new": "2"}, inputs=())
    written = record_to_json(record, over=Document(record=read, data=data))
    assert engine_record_from_json(written) == record
    document = json.loads(written)
    kept = [place for place in unknown_keys(former) if not place.startswith(".inputs")]
    assert unknown_keys(document) == kept
    assert len(kept) > 20
    assert (document["peak_mib"], document["tools"], document["inputs"]) == (1.0, {"new": "2"}, [])


def test_an_item_of_a_list_takes_no_unknown_keys_of_another(engine_record: EngineRecord) -> None:
    former = later_document(engine_record)
    read = engine_record_from_json(json.dumps(former).encode())
    other = replace(read.inputs[0], name="other")
    written = record_to_json(
        replace(read, inputs=(other,)), over=Document(record=read, data=json.dumps(former).encode())
    )
    assert json.loads(written)["inputs"] == [{"name": "other", "dtype": "float32", "shape": [None, 8]}]


_LOSES = re.compile(r"\b(delete|remove|drop|erase)\b", re.IGNORECASE)
_PACKAGES = ("agents", "flows", "infra", "tasks")


def _advice(path: Path) -> list[str]:
    """Return what the errors in `path` tell people to do, and all other texts that name a record."""
    tree = ast.parse(path.read_text("utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    ]
    return [text for text in texts if "record" in text or "wrote it" in text or "this object" in text]


def test_nothing_advises_to_delete_a_record() -> None:
    sources = [path for folder in _PACKAGES for path in (_ROOT / folder).rglob("*.py")]
    assert len(sources) > 100
    advice = [text for path in sources for text in _advice(path)]
    assert len(advice) > 20
    assert [text for text in advice if _LOSES.search(text)] == []
    lines = [line for path in _ROOT.glob("*.md") for line in path.read_text("utf-8").splitlines()]
    assert [line for line in lines if "record" in line and _LOSES.search(line)] == []


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
    validator.validate(later_document(engine_record))
    for commit in COMMITS:
        for key, data in files_of(commit).items():
            if key.startswith("engines/"):
                validator.validate(json.loads(data))
    for change in ({"peak_mib": "812"}, {"schema": "enginefarm.engine/2"}):
        assert not validator.is_valid(document | change)
    del document["schema"]
    assert not validator.is_valid(document)

"""The build key of a record is that of its contents, wherever a record is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.domain.compatibility import Compatibility
from tasks.domain.errors import RecordInvalid
from tasks.domain.keys import build_key, engine_key
from tasks.domain.record import EngineRecord
from tasks.domain.recorded_key import recorded_build_key
from tasks.store.records import engine_record_from_json, record_to_json
from tasks.store.store import Store
from tasks.tensorrt.inside.engine.plan import read_plan_record


@pytest.fixture
def record(engine_record: EngineRecord) -> EngineRecord:
    """A record as today's builds write it, with its opset and the key of its contents."""
    options = replace(engine_record.options, tolerance=1.5e-5)
    digest = build_key(
        model_digest=engine_record.release.model_digest,
        opset=17,
        options=options,
        tools=engine_record.tools,
        target=engine_record.target,
    )
    key = engine_key(
        release=engine_record.release,
        target=engine_record.target,
        precision=options.precision,
        build_digest=digest,
    )
    return replace(engine_record, key=key, build_key=digest, opset=17, options=options)


def test_the_key_of_a_build_is_recomputed_from_its_record(record: EngineRecord) -> None:
    data = record_to_json(record)
    assert engine_record_from_json(data) == record
    assert recorded_build_key(json.loads(data)) == record.build_key


def test_what_the_sandbox_denied_is_no_part_of_the_key(record: EngineRecord) -> None:
    assert (record.denied_to_model, record.denied_to_build) == (None, None)  # of an older version
    newer = replace(record, denied_to_model=("network",), denied_to_build=())
    data = record_to_json(newer)
    assert engine_record_from_json(data) == newer
    assert recorded_build_key(json.loads(data)) == record.build_key


def _allow_code(document: dict[str, Any]) -> None:
    document["options"]["compatibility"] |= {"version": True}


def _other_model(document: dict[str, Any]) -> None:
    for file in document["release"]["files"]:
        file["sha256"] = "f" * 64


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "tolerance": lambda document: document["options"].update(tolerance=1e9),
    "compatibility": _allow_code,
    "a new option": lambda document: document["options"].update(sloppy=True),
    "release": _other_model,
    "opset": lambda document: document.update(opset=18),
    "tools": lambda document: document["tools"].update(tf2onnx="0.0.1"),
    "target": lambda document: document["target"]["version"].update(build=10),
    "build key": lambda document: document.update(build_key="0" * 64),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_record_whose_contents_were_changed_is_refused_by_its_key(
    name: str, record: EngineRecord, tmp_path: Path
) -> None:
    document = json.loads(record_to_json(record))
    CHANGES[name](document)
    data = json.dumps(document).encode()
    with pytest.raises(RecordInvalid, match="build key"):
        engine_record_from_json(data)
    beside = tmp_path / "net.plan.json"
    beside.write_bytes(data)
    with pytest.raises(RecordInvalid, match="build key"):  # what programs with a toolchain alone read
        read_plan_record(beside)


def test_a_changed_record_in_the_store_is_neither_found_nor_listed(record: EngineRecord, s3_env: str) -> None:
    """So `reconcile` counts its cell as missing, and a build says what is wrong."""
    store = Store.connect(f"s3://{s3_env}")
    store.commit(record, record.key)
    assert list(store.records(EngineRecord)) == [record]
    document = json.loads(record_to_json(record))
    document["options"]["tolerance"] = 1e9
    store.client.put_object(Bucket=s3_env, Key=record.key, Body=json.dumps(document).encode())
    with pytest.raises(RecordInvalid, match="build key"):
        store.find(record.key, EngineRecord)
    assert list(store.records(EngineRecord)) == []


def test_a_record_with_a_key_of_other_contents_is_never_written(record: EngineRecord) -> None:
    forged = replace(record, options=replace(record.options, compatibility=Compatibility(version=True)))
    with pytest.raises(RecordInvalid, match="build key"):
        record_to_json(forged)


def test_the_key_of_a_record_from_before_the_opset_is_not_recomputed(record: EngineRecord) -> None:
    document = json.loads(record_to_json(record))
    del document["opset"]
    document["options"]["tolerance"] = 1e-3
    assert recorded_build_key(document) is None
    assert engine_record_from_json(json.dumps(document).encode()).opset is None


def test_the_key_covers_options_that_only_a_later_version_knows(record: EngineRecord) -> None:
    """A host that is not upgraded yet reads what later versions built; see CONTRIBUTING, Records."""
    document = json.loads(record_to_json(record))
    document["options"]["sparsity"] = "2:4"
    digest = recorded_build_key(document)
    assert digest not in (None, record.build_key)
    document["build_key"] = digest
    assert engine_record_from_json(json.dumps(document).encode()).build_key == digest

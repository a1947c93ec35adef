"""`engines list`: releases of one name are told apart, and what is listed can be narrowed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from flows.cli.engine_filters import EngineFilter
from flows.cli.main import app
from flows.cli.output import print_json_list
from tasks.domain.keys import engine_key
from tasks.domain.record import EngineRecord
from tasks.domain.request import Precision
from tasks.domain.target import TensorRTVersion
from tasks.store.records import Document
from tasks.store.store import Store

List = Callable[..., set[str]]


@pytest.fixture
def store(s3_env: str, engine_record: EngineRecord) -> Store:
    """A store with engines of `prod/fusion/1` and `teamb/fusion/1`, which are other models."""
    store = Store.connect(f"s3://{s3_env}")

    def add(digit: str, prefix: str, precision: Precision, version: str, created: str) -> None:
        ref = replace(engine_record.release.ref, bucket=s3_env, prefix=prefix, model="fusion", version="1")
        files = tuple(replace(file, etag=prefix) for file in engine_record.release.files)
        release = replace(engine_record.release, ref=ref, files=files)
        target = replace(engine_record.target, version=TensorRTVersion.parse(version))
        options = replace(engine_record.options, precision=precision)
        digest = digit * 64
        key = engine_key(release=release, target=target, precision=precision, build_digest=digest)
        record = replace(
            engine_record, key=key, build_key=digest, model="fusion", version="1", release=release,
            target=target, options=options, created=created,
        )  # fmt: skip
        store.commit(record, key)

    add("a", "prod", Precision.FP16, "10.13.3.9", "2026-11-01T00:00:00+00:00")
    add("b", "prod", Precision.FP16, "10.13.3.9", "2026-11-02T00:00:00+00:00")
    add("c", "prod", Precision.FP32, "10.1.0.27", "2026-11-01T00:00:00+00:00")
    add("d", "teamb", Precision.FP16, "10.13.3.9", "2026-11-01T00:00:00+00:00")
    return store


@pytest.fixture
def listed(store: Store) -> List:
    """A function that returns the first digits of what a command lists."""

    def run(*words: str) -> set[str]:
        result = CliRunner().invoke(
            app, ["engines", "list", "--store", store.url, "--json", *words], catch_exceptions=False
        )
        return {document["build_key"][0] for document in json.loads(result.output)}

    return run


def test_releases_of_one_name_are_told_apart(store: Store, listed: List) -> None:
    assert listed("--release", f"{store.url}/prod/fusion/1") == {"a", "b", "c"}
    assert listed("--release", f"{store.url}/teamb/fusion/1") == {"d"}
    output = CliRunner().invoke(app, ["engines", "list", "--store", store.url]).output
    assert output.count("prod/fusion/1") == 3
    assert output.count("teamb/fusion/1") == 1


def test_a_listing_is_narrowed_by_precision_tensorrt_and_what_is_current(listed: List) -> None:
    assert listed("--precision", "fp32") == {"c"}
    assert listed("--precision", "fp32", "--precision", "fp16") == {"a", "b", "c", "d"}
    assert listed("--tensorrt", "10.1") == {"c"}  # and not 10.13
    assert listed("--tensorrt", "10") == {"a", "b", "c", "d"}
    assert listed("--latest") == {"b", "c", "d"}


def test_a_list_as_json_is_printed_while_it_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    def documents() -> Iterator[dict[str, int]]:
        yield {"number": 1}
        assert capsys.readouterr().out == '[{"number": 1}'
        yield {"number": 2}

    print_json_list(documents())
    assert capsys.readouterr().out == ', {"number": 2}]\n'
    print_json_list(())
    assert capsys.readouterr().out == "[]\n"


def test_a_listing_passes_records_on_while_others_are_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, *_) = store.documents(EngineRecord)

    def documents(*_: object, **__: object) -> Iterator[Document[EngineRecord]]:
        yield first
        pytest.fail("everything was read first")

    monkeypatch.setattr(Store, "documents", documents)
    assert next(EngineFilter().listed(store, None, None)) is first

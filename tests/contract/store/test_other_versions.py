"""A farm is upgraded host by host: records of other versions are read, kept and never replaced."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
import typer
from typer.testing import CliRunner

from flows.cli import engines, quarantine
from flows.cli import timing as timing_command
from flows.cli.engines import document_at, fetch_engine
from flows.release.missing_cells import ListedRelease, needs_of, rows
from flows.settings import settings
from tasks.domain.digest import blob_ref
from tasks.domain.errors import ModelRefused, RecordInvalid
from tasks.domain.keys import conversion_record_key
from tasks.domain.offer import Announcement, Offer
from tasks.domain.quarantine import QuarantineRecord, Subject, quarantine_key
from tasks.domain.record import ConversionRecord, EngineRecord
from tasks.domain.release import ReleaseRef
from tasks.domain.timing import CacheFile, TimingCacheKey, TimingRecord
from tasks.publish import _publish_conversion
from tasks.store.announcements import announce, announced_pools, withdraw
from tasks.store.lease import Lease
from tasks.store.records import Record
from tasks.store.store import Store
from tasks.store.timing import find_timing, share_timing
from tasks.tensorflow.models import conversion_tools
from tasks.tensorrt.inside.engine.plan import read_plan_record
from tasks.tensorrt.site import build_tools
from tests.support.other_versions import (
    COMMITS,
    UNKNOWN,
    bytes_at,
    document_of,
    files_of,
    later_document,
    next_major,
    unknown_keys,
    upload,
)

_KINDS: tuple[type[Record], ...] = (
    EngineRecord,
    ConversionRecord,
    QuarantineRecord,
    TimingRecord,
    Announcement,
)
_EACH_COMMIT = pytest.mark.parametrize("commit", COMMITS)
_ENGINE = "engines/resnet/v7/l4/10.13.3.9/fp16-0123456789ab.json"
_CONVERSION = conversion_record_key("0f" * 32)
_CELL = "l4/10.13.3.9 fp16"


@pytest.fixture
def release(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[ListedRelease]:
    """The release that the sample records were made from, which asks for the engine that they describe."""
    s3 = boto3.session.Session().client("s3")
    s3.create_bucket(Bucket="models")
    text = b"precisions: [fp16]\ntargets: [l4]\n"
    s3.put_object(Bucket="models", Key="team/resnet/v7/build.yaml", Body=text)
    monkeypatch.setenv("ENGINEFARM_STORE", store.url)
    settings.cache_clear()
    ref = ReleaseRef(bucket="models", prefix="team", model="resnet", version="v7")
    yield ListedRelease(ref=ref, modified=datetime.now(UTC))
    settings.cache_clear()


def announcement_for(record: EngineRecord) -> Announcement:
    target = record.target
    offer = Offer(
        flavour=target.flavour, version=target.version, os=target.os, architecture=target.architecture,
        gpus=((str(target.gpu), target.compute_capabilities[0]),),
    )  # fmt: skip
    seen = datetime.now(UTC).isoformat()
    return Announcement(pool="gpu-l4-trt10.13.3.9", offer=offer, host="builder-2", seen=seen)


def quarantine_of(record: EngineRecord) -> QuarantineRecord:
    refused = QuarantineRecord(
        key="", model=record.model, version=record.version, subject=Subject.ENGINE, identity="ab" * 32,
        release=record.release, opset=17, options=record.options, target=record.target,
        toolchain=record.toolchain, onnx=record.onnx, weights=None, plan=record.plan,
        reference=record.reference, actual=None, inputs="", error={"class": "VerificationFailed"},
        exit_code=50, verification=record.engine_verification, tools={"onnx": "1.0"}, command="", created="",
    )  # fmt: skip
    return replace(refused, key=quarantine_key(refused))


def timing_of(record: EngineRecord, cache: bytes = b"a cache") -> TimingRecord:
    made_for = TimingCacheKey(
        flavour=record.target.flavour, version=record.target.version, gpu=str(record.target.gpu),
        compute_capability=record.target.compute_capabilities[0], cuda="13.0", os="linux",
        architecture="x86_64",
    )  # fmt: skip
    return TimingRecord(
        key=made_for.shared, made_for=made_for, cache=blob_ref(cache), attempt="a", created=""
    )


def put_later(store: Store, record: Record) -> dict[str, Any]:
    """Store `record` as a later version writes it, and return the document."""
    key = conversion_record_key(record.key) if isinstance(record, ConversionRecord) else record.key
    document = later_document(record)
    upload(store, {key: json.dumps(document).encode()})
    return document


@_EACH_COMMIT
def test_every_record_of_an_earlier_commit_is_read_and_listed(
    store: Store, commit: str, caplog: pytest.LogCaptureFixture
) -> None:
    files = files_of(commit)
    upload(store, files)
    with caplog.at_level(logging.WARNING, logger="tasks.store"):
        for kind in _KINDS:
            listed = [document.data for document in store.documents(kind)]
            assert listed == [files[key] for key in sorted(files) if key.startswith(kind.ROOT)], kind
    assert caplog.text == ""
    (engine,) = store.records(EngineRecord)
    assert store.find(_CONVERSION, ConversionRecord) is not None
    store.require_blobs(_ENGINE, engine.plan, engine.onnx, engine.reference)


@_EACH_COMMIT
def test_an_engine_of_an_earlier_commit_is_fetched_with_its_record_as_it_was_written(
    store: Store, commit: str, tmp_path: Path
) -> None:
    files = files_of(commit)
    upload(store, files)
    plan = tmp_path / "resnet.plan"
    fetch_engine(store, document_at(store, _ENGINE), plan)
    assert plan.read_bytes() == b"plan of a test\n"
    assert (tmp_path / "resnet.plan.json").read_bytes() == files[_ENGINE]
    assert read_plan_record(tmp_path / "resnet.plan.json").sha256 == blob_ref(plan.read_bytes()).sha256


@_EACH_COMMIT
def test_an_engine_of_an_earlier_commit_counts_as_stale_and_not_as_missing(
    store: Store, commit: str, release: ListedRelease, engine_record: EngineRecord
) -> None:
    upload(store, files_of(commit))
    announce(store, announcement_for(engine_record))
    (needs,) = needs_of([release], datetime.now(UTC))
    assert (needs.problem, needs.missing, needs.stale, needs.newer) == ("", (), (_CELL,), ())


@_EACH_COMMIT
def test_a_record_of_an_earlier_commit_wins_against_a_later_builder(store: Store, commit: str) -> None:
    files = files_of(commit)
    upload(store, files)
    standing = store.find(_ENGINE, EngineRecord)
    assert standing is not None
    assert store.commit(replace(standing, attempt="another"), _ENGINE).attempt == "run/attempt"
    assert bytes_at(store, _ENGINE) == files[_ENGINE]


@pytest.mark.parametrize("commit", [sha for sha in COMMITS if any("leases" in key for key in files_of(sha))])
def test_a_lease_of_an_earlier_commit_is_waited_for_and_its_failure_is_read(
    store: Store, commit: str
) -> None:
    upload(store, files_of(commit))
    assert not Lease(store=store, key=_ENGINE).take()
    waiting = Lease(store=store, key=_CONVERSION)
    standing = waiting._fetch()
    assert standing is not None
    assert isinstance(standing.failed, ModelRefused)
    assert standing.failed.found == "a Python function"
    assert waiting.take()


def test_later_records_are_read_and_listed_without_what_is_not_known(
    store: Store, engine_record: EngineRecord, conversion_record: ConversionRecord
) -> None:
    records: tuple[Record, ...] = (
        engine_record, conversion_record, quarantine_of(engine_record), timing_of(engine_record),
        announcement_for(engine_record),
    )  # fmt: skip
    for record in records:
        document = put_later(store, record)
        assert len(unknown_keys(document)) > 1
        assert list(store.records(type(record))) == [record]


def test_a_later_engine_is_fetched_with_its_record_as_it_was_written(
    store: Store, engine_record: EngineRecord, tmp_path: Path
) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"a plan")
    put_later(store, replace(engine_record, plan=store.put_blob(blob)))
    fetch_engine(store, document_at(store, engine_record.key), tmp_path / "a.plan")
    assert (tmp_path / "a.plan.json").read_bytes() == bytes_at(store, engine_record.key)
    assert UNKNOWN in json.loads((tmp_path / "a.plan.json").read_bytes())["options"]["shapes"]["x"]


def test_commands_print_later_records_as_they_are_stored(store: Store, engine_record: EngineRecord) -> None:
    refused, timed = quarantine_of(engine_record), timing_of(engine_record)
    engine, refusal, timing = (put_later(store, record) for record in (engine_record, refused, timed))

    def printed(app: typer.Typer, *arguments: str) -> Any:
        done = CliRunner().invoke(app, [*arguments, "--store", store.url], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert printed(engines.app, "show", engine_record.key) == engine
    assert printed(engines.app, "list", "--json") == [engine]
    assert printed(engines.app, "profile", engine_record.key, "--json") == engine["profile"]
    assert printed(quarantine.app, "show", refused.key) == refusal
    assert printed(quarantine.app, "list", "--json") == [refusal]
    assert printed(timing_command.app, "list", "--json") == [timing]


def test_a_later_engine_of_todays_tools_lacks_nothing(
    store: Store, release: ListedRelease, engine_record: EngineRecord
) -> None:
    put_later(store, announcement_for(engine_record))
    put_later(store, replace(engine_record, tools={**conversion_tools(), **build_tools()}))
    (needs,) = needs_of([release], datetime.now(UTC))
    assert (needs.problem, needs.missing, needs.stale, needs.newer) == ("", (), (), ())


@pytest.mark.parametrize("subject", [Subject.ENGINE, Subject.GRAPH])
@pytest.mark.parametrize("kind", [EngineRecord, QuarantineRecord])
def test_a_cell_that_a_newer_major_version_answered_is_named_and_not_built_again(
    store: Store, release: ListedRelease, engine_record: EngineRecord, kind: type, subject: Subject
) -> None:
    announce(store, announcement_for(engine_record))
    refused = quarantine_of(engine_record)
    key = refused.key if kind is QuarantineRecord else _ENGINE
    if kind is QuarantineRecord and subject is Subject.GRAPH:
        key = "quarantine/resnet/v7/graph/fp32-0123456789ab.json"  # TensorRT 10 has FP16 from a flag
    upload(store, {key: next_major(json.dumps(document_of(engine_record)).encode())})
    if kind is QuarantineRecord:
        upload(store, {key: next_major(json.dumps(document_of(refused)).encode())})
    (needs,) = needs_of([release], datetime.now(UTC))
    assert (needs.missing, needs.stale, needs.is_to_build) == ((), (), False)
    assert list(rows(needs)) == [f"written by a newer enginefarm: {_CELL}, {key}"]


def test_a_record_of_a_newer_major_version_stays_and_stops_no_listing(
    store: Store, engine_record: EngineRecord, caplog: pytest.LogCaptureFixture
) -> None:
    newer = engine_record.key.replace("v7", "v6")
    data = next_major(json.dumps(document_of(engine_record)).encode())
    upload(store, {newer: data, engine_record.key: json.dumps(document_of(engine_record)).encode()})
    with caplog.at_level(logging.WARNING, logger="tasks.store"):
        assert list(store.records(EngineRecord)) == [engine_record]
    assert newer in caplog.text
    assert "update enginefarm on this host" in caplog.text
    upload(store, {engine_record.key: data})
    with pytest.raises(RecordInvalid, match="update enginefarm on this host"):
        store.commit(engine_record, engine_record.key)
    assert bytes_at(store, engine_record.key) == data


def test_a_lower_precision_is_written_beside_what_a_later_version_said_about_the_model(
    store: Store, conversion_record: ConversionRecord, tmp_path: Path
) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"a graph")
    ref = store.put_blob(blob)
    base = replace(conversion_record, onnx=ref, reference=ref)
    put_later(store, base)
    lowered = replace(base, key="ee" * 32, seconds={"lower": 1.0}, tools={"onnx": "2"})
    stored = _publish_conversion(store, lowered, base)
    assert stored == lowered
    document = json.loads(bytes_at(store, conversion_record_key(lowered.key)))
    assert document["key"] == lowered.key
    assert document[UNKNOWN] == document["onnx"][UNKNOWN] == document["verification"][UNKNOWN]
    assert document["tools"] == {"onnx": "2"}


def test_an_engine_keeps_what_a_later_version_said_about_its_graph(
    store: Store, engine_record: EngineRecord, conversion_record: ConversionRecord
) -> None:
    put_later(store, conversion_record)
    document = store.find_document(_CONVERSION, ConversionRecord)
    assert store.commit(engine_record, engine_record.key, copied_from=document) == engine_record
    kept = unknown_keys(json.loads(bytes_at(store, engine_record.key)))
    assert {".onnx", ".reference", ".graph_verification", ".graph_verification.comparisons[0]"} <= set(kept)
    assert "." not in kept


def test_who_adds_to_a_timing_cache_keeps_what_a_later_version_wrote(
    store: Store, engine_record: EngineRecord, tmp_path: Path
) -> None:
    former = put_later(store, timing_of(engine_record))
    more = tmp_path / "more.cache"
    more.write_bytes(b"a larger cache")
    record = replace(timing_of(engine_record, more.read_bytes()), attempt="b")
    cache = CacheFile(path=more, ref=record.cache)
    base = timing_of(engine_record).cache
    assert asyncio.run(share_timing(store, cache, record, base=base, merge=_no_merge)) == record
    written = json.loads(bytes_at(store, record.key))
    assert unknown_keys(written) == unknown_keys(former)
    assert (written["attempt"], written["cache"]["size"]) == ("b", len(b"a larger cache"))


async def _no_merge(cache: CacheFile, other: CacheFile) -> CacheFile:
    raise AssertionError((cache, other))


def test_a_timing_cache_of_a_newer_major_version_is_not_replaced(
    store: Store, engine_record: EngineRecord, tmp_path: Path
) -> None:
    record = timing_of(engine_record)
    data = next_major(json.dumps(document_of(record)).encode())
    upload(store, {record.key: data})
    path = tmp_path / "a.cache"
    path.write_bytes(b"a cache")
    with pytest.raises(RecordInvalid, match="update enginefarm on this host"):
        asyncio.run(
            share_timing(store, CacheFile(path=path, ref=record.cache), record, base=None, merge=_no_merge)
        )
    assert bytes_at(store, record.key) == data
    standing = find_timing(store, record.key, record.made_for)
    assert standing is not None
    assert standing.record is None


def test_an_agent_that_announces_again_keeps_what_a_later_version_wrote(
    store: Store, engine_record: EngineRecord
) -> None:
    former = put_later(store, announcement_for(engine_record))
    again = replace(announcement_for(engine_record), host="builder-3")
    announce(store, again)
    assert list(store.records(Announcement)) == [again]
    assert unknown_keys(json.loads(bytes_at(store, again.key))) == unknown_keys(former)


def test_an_announcement_of_a_newer_major_version_is_not_replaced(
    store: Store, engine_record: EngineRecord
) -> None:
    announcement = announcement_for(engine_record)
    data = next_major(json.dumps(document_of(announcement)).encode())
    upload(store, {announcement.key: data})
    with pytest.raises(RecordInvalid, match="update enginefarm on this host"):
        announce(store, announcement)
    with pytest.raises(RecordInvalid, match="update enginefarm on this host"):
        withdraw(store, announcement.pool)
    assert bytes_at(store, announcement.key) == data
    assert list(store.records(Announcement)) == []
    assert announced_pools(store) == {announcement.pool}


def _rewrite(store: Store, key: str, **change: Any) -> None:
    """Change the lease at `key` as a later version on another host might."""
    document = json.loads(bytes_at(store, f"leases/{key}"))
    document["process"] |= change
    upload(store, {f"leases/{key}": json.dumps(document | change).encode()})


def test_a_lease_that_is_renewed_keeps_what_a_later_version_wrote(store: Store) -> None:
    holder = Lease(store=store, key=_ENGINE)
    assert holder.take()
    _rewrite(store, _ENGINE, **{UNKNOWN: "waiting: 3"})
    other = Lease(store=store, key=_ENGINE)
    assert not other.take()
    for _ in range(2):
        assert holder.renew()
        document = json.loads(bytes_at(store, f"leases/{_ENGINE}"))
        assert unknown_keys(document) == [".", ".process"]


def test_a_lease_that_is_taken_over_says_nothing_of_the_former_holder(store: Store) -> None:
    failed = {"class": "ModelRefused", "wanted": "a", "found": "b", "fix": "c", UNKNOWN: 1}
    former = {"owner": "builder-1", "seconds": 30.0, "beat": 1, UNKNOWN: 1, "failed": failed}
    upload(store, {f"leases/{_ENGINE}": json.dumps(former).encode()})
    assert Lease(store=store, key=_ENGINE).take()
    document = json.loads(bytes_at(store, f"leases/{_ENGINE}"))
    assert (unknown_keys(document), "failed" in document) == ([], False)


def test_a_lease_of_a_newer_major_version_is_said_and_runs_out_like_others(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(store, {f"leases/{_ENGINE}": b'{"schema": "enginefarm.lease/2", "holders": ["builder-1"]}'})
    now = [1000.0]
    monkeypatch.setattr("tasks.store.lease.monotonic", lambda: now[0])
    lease = Lease(store=store, key=_ENGINE)
    assert not lease.take()
    assert "update enginefarm on this host" in caplog.text
    now[0] += lease.seconds
    assert lease.take()
    assert json.loads(bytes_at(store, f"leases/{_ENGINE}"))["schema"] == "enginefarm.lease/1"
    assert "holders" not in json.loads(bytes_at(store, f"leases/{_ENGINE}"))

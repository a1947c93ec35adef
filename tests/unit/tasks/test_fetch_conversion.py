"""What a build fetches is bound to what a host hashed that could read the release."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flows.cli.signing import make_key
from flows.release.conversion import _find
from tasks.domain.errors import DigestMismatch, NotStored, RecordInvalid, SignatureRefused
from tasks.domain.graph_key import graph_key
from tasks.domain.hashed_release import HashedRelease, hashed_release_key
from tasks.domain.keys import conversion_record_key
from tasks.domain.order import EngineOrder, order_for
from tasks.domain.record import ConversionRecord, EngineRecord
from tasks.domain.release import REQUEST_FILE, Release, ReleaseFile
from tasks.domain.request import BuildRequest, Precision
from tasks.fetch import FetchedConversion, _fetch_conversion, required_record
from tasks.publish import _publish_conversion, publish_release
from tasks.store.records import record_to_json
from tasks.store.store import Store
from tasks.tensorrt.site import build_tools

TEXT = b"precisions: [fp32]\n"


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """An order, and the store with all that it names."""

    order: EngineOrder
    store: Store

    def fetch(self, folder: Path, order: EngineOrder | None = None) -> FetchedConversion:
        return _fetch_conversion(order or self.order, folder)


def _release(record: EngineRecord, model_sha256: str) -> Release:
    """Return the release of `record` with other bytes, and a request file."""
    kept = [replace(file, sha256=model_sha256) for file in record.release.files if file.path != REQUEST_FILE]
    digest = hashlib.sha256(TEXT).hexdigest()
    asked = ReleaseFile(path=REQUEST_FILE, sha256=digest, size=len(TEXT), etag="e", version_id=None)
    return replace(record.release, files=(asked, *kept))


def _order(store: Store, record: ConversionRecord, release: Release, engine: EngineRecord) -> EngineOrder:
    """Commit a conversion of `release` and return the order of its engine."""
    request = BuildRequest()
    key = graph_key(release, request, opset=17, precision=Precision.FP32, tools=record.tools)
    graph = replace(
        record, key=key, release_digest=release.model_digest, graph_precision=Precision.FP32, opset=17
    )
    store.commit(graph, conversion_record_key(key))
    return order_for(
        store=store.url,
        release=release,
        conversion=graph,
        request=request,
        target=engine.target,
        precision=Precision.FP32,
        build_tools=build_tools(),
    )


@pytest.fixture
def ordered(
    s3_env: str, conversion_record: ConversionRecord, engine_record: EngineRecord, tmp_path: Path
) -> Ordered:
    store = Store.connect(f"s3://{s3_env}")
    (tmp_path / "bytes").write_bytes(b"bytes")
    blob = store.put_blob(tmp_path / "bytes")
    release = _release(engine_record, "7" * 64)
    asyncio.run(publish_release(store.url, release, TEXT))
    graph = replace(conversion_record, onnx=blob, reference=blob)
    return Ordered(order=_order(store, graph, release, engine_record), store=store)


def test_a_build_fetches_what_its_order_names(ordered: Ordered, tmp_path: Path) -> None:
    fetched = ordered.fetch(tmp_path)
    assert fetched.record.key == ordered.order.conversion
    assert fetched.onnx.read_bytes() == b"bytes"


def test_an_order_of_a_release_that_no_host_hashed_is_refused(
    ordered: Ordered, conversion_record: ConversionRecord, engine_record: EngineRecord, tmp_path: Path
) -> None:
    """Another model's conversion is ordered under the name of a release whose digests the order invents."""
    other = _order(ordered.store, conversion_record, _release(engine_record, "9" * 64), engine_record)
    assert other.release.ref == ordered.order.release.ref
    with pytest.raises(NotStored, match="hashed/"):
        ordered.fetch(tmp_path, other)


def test_a_changed_order_is_refused_before_anything_is_downloaded(ordered: Ordered, tmp_path: Path) -> None:
    options = replace(ordered.order.options, tolerance=1e9)
    with pytest.raises(RecordInvalid, match="options"):
        ordered.fetch(tmp_path, replace(ordered.order, options=options))
    assert not (tmp_path / ordered.order.conversion).exists()


def test_a_request_with_other_bytes_than_the_release_has_is_refused(ordered: Ordered, tmp_path: Path) -> None:
    hashed = HashedRelease(release=ordered.order.release, request="tolerances: {fp32: 0.9}\n")
    address = ordered.store.address(hashed.key)
    data = record_to_json(hashed)
    ordered.store.client.put_object(Bucket=address.bucket, Key=address.key, Body=data)
    with pytest.raises(DigestMismatch, match=r"build\.yaml"):
        ordered.fetch(tmp_path)
    document = json.loads(data)
    document["release"]["files"][0]["sha256"] = hashlib.sha256(hashed.request.encode()).hexdigest()
    ordered.store.client.put_object(
        Bucket=address.bucket, Key=address.key, Body=json.dumps(document).encode()
    )
    with pytest.raises(RecordInvalid, match="hashed/"):  # its key is that of other files
        ordered.fetch(tmp_path)


@pytest.fixture
def signed(ordered: Ordered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ordered:
    """An order whose conversion and release a CPU host signed, on a host that demands it."""
    key, trust = tmp_path / "farm.pem", tmp_path / "trust.json"
    make_key(key, trust=trust, days=1)
    order, conversion = ordered.order, conversion_record_key(ordered.order.conversion)
    asyncio.run(publish_release(order.store, order.release, TEXT, str(key)))
    record = required_record(ordered.store, conversion, ConversionRecord)
    _publish_conversion(ordered.store, record, None, str(key))
    monkeypatch.setenv("ENGINEFARM_TRUST", str(trust))
    return ordered


def _plant(store: Store, record: ConversionRecord | HashedRelease, key: str) -> None:
    """Replace a record, as somebody with write access and without the key can."""
    address = store.address(key)
    store.client.put_object(Bucket=address.bucket, Key=address.key, Body=record_to_json(record))


def test_a_conversion_is_taken_as_it_was_signed_and_no_other_with_a_reference_of_its_own(
    signed: Ordered, tmp_path: Path
) -> None:
    record, key = signed.fetch(tmp_path).record, conversion_record_key(signed.order.conversion)
    assert _find(signed.order.store, key) == record
    (tmp_path / "answers").write_bytes(b"what another graph computes")
    planted = replace(record, reference=signed.store.put_blob(tmp_path / "answers"))
    _plant(signed.store, planted, key)
    with pytest.raises(SignatureRefused, match="no signature"):
        signed.fetch(tmp_path)
    with pytest.raises(SignatureRefused, match="no signature"):
        _find(signed.order.store, key)


def test_a_release_that_another_than_a_cpu_host_hashed_is_refused(signed: Ordered, tmp_path: Path) -> None:
    text = "precisions: [fp32]\ntolerances: {fp32: 0.9}\n"
    asked = ReleaseFile(
        path=REQUEST_FILE, sha256=hashlib.sha256(text.encode()).hexdigest(), size=len(text), etag="e",
        version_id=None,
    )  # fmt: skip
    files = [file for file in signed.order.release.files if file.path != REQUEST_FILE]
    planted = HashedRelease(release=replace(signed.order.release, files=(asked, *files)), request=text)
    _plant(signed.store, planted, hashed_release_key(signed.order.release))
    with pytest.raises((SignatureRefused, RecordInvalid)):
        signed.fetch(tmp_path)
    signed.store.commit(planted, planted.key)
    with pytest.raises(SignatureRefused, match="no signature"):
        signed.fetch(tmp_path, replace(signed.order, release=planted.release))

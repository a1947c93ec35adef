"""A key signs what follows from release, request, conversion and figures; consumers take nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flows.cli.engines import document_at, fetch_engine
from flows.cli.signing import _local, _stored, make_key, verify
from flows.release.signing import signed_answers
from tasks.children.workspace import Workspace
from tasks.domain.attestation import bundle_from_json
from tasks.domain.cells import CellAnswer
from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import (
    DigestMismatch,
    FarmError,
    NotStored,
    RecordInvalid,
    RequestInvalid,
    SignatureRefused,
    VerificationFailed,
)
from tasks.domain.graph_key import graph_key
from tasks.domain.hashed_release import hashed_release_key
from tasks.domain.keys import conversion_record_key
from tasks.domain.order import CellOutcome, EngineOrder, order_for
from tasks.domain.record import ConversionRecord, EngineRecord, Verdict
from tasks.domain.release import REQUEST_FILE, ReleaseFile
from tasks.domain.request import BuildRequest, Precision, TimingMode
from tasks.domain.timing import CacheFile, TimingRecord, TimingUse, timing_key
from tasks.publish import publish_release
from tasks.sign import sign_as_it_stands, sign_stored
from tasks.signing.keys import key_id
from tasks.signing.signatures import load_trust
from tasks.store.records import record_to_json
from tasks.store.signatures import read_signature, signature_key
from tasks.store.store import Store
from tasks.store.timing import find_timing, is_trusted, share_timing, swap_timing
from tasks.tensorrt.site import build_tools
from tasks.timing import _pull_shared
from tests.support.signed import signing_key, trusted, write_trust

TEXT = b"precisions: [fp32]\n"
LATER = datetime.now(UTC) + timedelta(days=365)


@dataclass(frozen=True, kw_only=True)
class Farm:
    """A store with a release, its conversion and an engine that was built from them."""

    store: Store
    record: EngineRecord
    conversion: ConversionRecord
    trust: Path

    def sign(self) -> bool:
        return sign_stored(self.store, self.record.key, signing_key())

    def put(self, key: str, data: bytes) -> None:
        address = self.store.address(key)
        self.store.client.put_object(Bucket=address.bucket, Key=address.key, Body=data)

    def rewrite(self, **change: Any) -> None:
        """Replace the record, as somebody with write access can."""
        self.put(self.record.key, record_to_json(replace(self.record, **change)))

    def fetch(self, folder: Path) -> Path:
        plan = folder / "engine.plan"
        fetch_engine(self.store, document_at(self.store, self.record.key), plan)
        return plan

    @property
    def signature_key(self) -> str:
        return signature_key(_digest(self.record), key_id(signing_key().public_pem))


def _digest(record: EngineRecord | TimingRecord) -> str:
    return blob_ref(record_to_json(record)).sha256


def _blob(store: Store, folder: Path, data: bytes) -> BlobRef:
    (folder / "blob").write_bytes(data)
    return store.put_blob(folder / "blob")


@pytest.fixture
def farm(
    s3_env: str,
    conversion_record: ConversionRecord,
    engine_record: EngineRecord,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Farm:
    store, request = Store.connect(f"s3://{s3_env}"), BuildRequest()
    asked = ReleaseFile(
        path=REQUEST_FILE, sha256=hashlib.sha256(TEXT).hexdigest(), size=len(TEXT), etag="e", version_id=None
    )
    files = [file for file in engine_record.release.files if file.path != REQUEST_FILE]
    release = replace(engine_record.release, files=(asked, *files))
    asyncio.run(publish_release(store.url, release, TEXT))
    sign_as_it_stands(store, hashed_release_key(release), signing_key())
    onnx, reference, plan = (_blob(store, tmp_path, name) for name in (b"onnx", b"reference", b"a plan"))
    key = graph_key(release, request, opset=17, precision=Precision.FP32, tools=conversion_record.tools)
    conversion = replace(
        conversion_record, key=key, release_digest=release.model_digest, graph_precision=Precision.FP32,
        onnx=onnx, reference=reference, weights=None,
    )  # fmt: skip
    store.commit(conversion, conversion_record_key(key))
    sign_as_it_stands(store, conversion_record_key(key), signing_key())
    order = order_for(
        store=store.url, release=release, conversion=conversion, request=request, target=engine_record.target,
        precision=Precision.FP32, build_tools=build_tools(),
    )  # fmt: skip
    record = replace(
        engine_record, key=order.key, build_key=order.build_key, options=order.options, release=release,
        opset=17, onnx=onnx, reference=reference, weights=None, plan=plan, layers=None,
        tools=order.tools, input_overrides={}, profile=replace(engine_record.profile, files={}),
        toolchain=replace(engine_record.toolchain, cuda="13.0"),
        timing=TimingUse(mode=TimingMode.SHARED, used=None, left=reference),
        engine_verification=replace(engine_record.engine_verification, tolerance=order.options.tolerance,
            comparisons=(replace(engine_record.engine_verification.comparisons[0], output="y"),)),
        outputs=(replace(engine_record.outputs[0], name="y"),),
    )  # fmt: skip
    store.commit(record, record.key)
    trust = write_trust(tmp_path / "trust.json", trusted(until=LATER))
    monkeypatch.setenv("ENGINEFARM_TRUST", str(trust))
    return Farm(store=store, record=record, conversion=conversion, trust=trust)


def test_a_signed_engine_is_fetched_with_its_signature_and_verified(farm: Farm, tmp_path: Path) -> None:
    assert farm.sign()
    assert not farm.sign()  # it is there already
    plan = farm.fetch(tmp_path)
    trust = load_trust(farm.trust)
    for key, provenance in (_local(plan, trust), _stored(farm.store, farm.record.key[-17:-5], trust)):
        assert key == farm.record.key
        materials = {each["name"] for each in provenance["buildDefinition"]["resolvedDependencies"]}  # type: ignore[index]
        assert materials == {"release", "onnx", "reference"}
    verify(str(tmp_path), trust=farm.trust)


def test_an_engine_that_nobody_signed_is_not_fetched(farm: Farm, tmp_path: Path) -> None:
    with pytest.raises(SignatureRefused, match="no signature by a key"):
        farm.fetch(tmp_path)
    assert not list(tmp_path.glob("engine*"))


def test_unless_signatures_are_demanded_any_engine_is_fetched_with_those_that_it_has(
    farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ENGINEFARM_TRUST")
    farm.fetch(tmp_path)
    assert not (tmp_path / "engine.plan.sig").exists()
    farm.sign()
    farm.fetch(tmp_path)
    assert bundle_from_json((tmp_path / "engine.plan.sig").read_bytes()).key_id


def _swap_plan(farm: Farm, folder: Path) -> None:
    farm.rewrite(plan=_blob(farm.store, folder, b"evil"))


def _change_record(farm: Farm, folder: Path) -> None:
    del folder
    farm.rewrite(warnings=("none",))


def _change_plan(farm: Farm, folder: Path) -> None:
    del folder
    farm.put(farm.record.plan.key, b"b plan")


def _take_signature(farm: Farm, folder: Path) -> None:
    """Another engine's signature is put in the place of this engine's."""
    _swap_plan(farm, folder)
    changed = farm.store.find_document(farm.record.key, EngineRecord)
    assert changed is not None
    signed = read_signature(farm.store, _digest(farm.record), key_id(signing_key().public_pem))
    farm.put(signature_key(blob_ref(changed.data).sha256, key_id(signing_key().public_pem)), signed or b"")


@pytest.mark.parametrize("attack", [_swap_plan, _change_record, _change_plan, _take_signature])
def test_what_is_changed_after_it_was_signed_is_not_fetched(
    attack: Callable[[Farm, Path], None], farm: Farm, tmp_path: Path
) -> None:
    farm.sign()
    attack(farm, tmp_path)
    with pytest.raises((SignatureRefused, DigestMismatch)):
        farm.fetch(tmp_path)
    assert not list(tmp_path.glob("engine*"))


def test_an_old_release_under_a_new_name_is_not_fetched(farm: Farm, tmp_path: Path) -> None:
    farm.sign()
    newer = replace(farm.record.release, ref=replace(farm.record.release.ref, version="v8"))
    key = farm.record.key.replace(f"/{farm.record.version}/", "/v8/")
    for data in (
        record_to_json(farm.record),
        record_to_json(replace(farm.record, key=key, version="v8", release=newer)),
    ):
        farm.put(key, data)
        with pytest.raises((SignatureRefused, RecordInvalid)):
            fetch_engine(farm.store, document_at(farm.store, key), tmp_path / "engine.plan")


def _figures(farm: Farm, relative: float) -> Any:
    verification = farm.record.engine_verification
    row = replace(verification.comparisons[0], relative=relative, max_abs=relative)
    return replace(verification, comparisons=(row,))


def _judged(**change: Any) -> Callable[[Farm], None]:
    """Return what replaces parts of the verdict in the record."""
    return lambda farm: farm.rewrite(engine_verification=replace(farm.record.engine_verification, **change))


def _without_conversion(farm: Farm) -> None:
    key = conversion_record_key(farm.conversion.key)
    farm.store.client.delete_object(Bucket=farm.store.bucket, Key=key)


UNSIGNABLE: dict[str, tuple[Callable[[Farm], None], type[FarmError], str]] = {
    "a verdict that the figures do not make": (
        lambda farm: farm.rewrite(engine_verification=_figures(farm, 0.5)),
        RecordInvalid,
        "figures that make it failed",
    ),
    "no figures": (_judged(comparisons=()), RecordInvalid, "figures that make it inconclusive"),
    "a tolerance of its own": (_judged(tolerance=0.9), RecordInvalid, "another tolerance"),
    "a verdict of failed": (_judged(verdict=Verdict.FAILED), VerificationFailed, "the engine"),
    "another graph": (
        lambda farm: farm.rewrite(onnx=farm.record.plan), RecordInvalid, "another onnx than the conversion",
    ),
    "a graph that is said to be better": (
        lambda farm: farm.rewrite(graph_verification=_figures(farm, 0.0)),
        RecordInvalid,
        "another graph_verification",
    ),
    "a plan with other bytes": (
        lambda farm: farm.put(farm.record.plan.key, b"b plan"), DigestMismatch, "blobs/",
    ),
    "a graph with other bytes": (
        lambda farm: farm.put(farm.record.onnx.key, b"0nnx"), DigestMismatch, "blobs/",
    ),
    "no opset": (lambda farm: farm.rewrite(opset=None), RecordInvalid, "opset"),
    "no conversion": (_without_conversion, NotStored, "conversions/"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSIGNABLE)
def test_an_engine_is_not_signed_with(case: str, farm: Farm) -> None:
    attack, refusal, message = UNSIGNABLE[case]
    attack(farm)
    with pytest.raises(refusal, match=message):
        farm.sign()
    listed = farm.store.client.list_objects_v2(Bucket=farm.store.bucket, Prefix="signatures/")
    assert listed["KeyCount"] == 2  # those of the conversion and the release


def _order(farm: Farm, **asked: Any) -> EngineOrder:
    return order_for(
        store=farm.store.url, release=farm.record.release, conversion=farm.conversion,
        request=replace(BuildRequest(), **asked), target=farm.record.target, precision=Precision.FP32,
        build_tools=build_tools(),
    )  # fmt: skip


def test_an_engine_with_options_that_its_request_does_not_ask_for_is_not_signed(farm: Farm) -> None:
    """Its key fits: whoever writes to the store can recompute it."""
    order = _order(farm, tolerances={Precision.FP32: 0.9})
    verification = replace(farm.record.engine_verification, tolerance=0.9)
    forged = replace(
        farm.record, key=order.key, build_key=order.build_key, options=order.options,
        engine_verification=verification,
    )  # fmt: skip
    farm.put(forged.key, record_to_json(forged))
    with pytest.raises(RecordInvalid, match="options"):
        sign_stored(farm.store, forged.key, signing_key())


def test_a_release_signs_its_engines_and_fails_for_those_that_must_not_be_signed(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def without_prefect(store: str, key: str, signing_key_place: str, *, plan: BlobRef) -> bool:
        assert (store, signing_key_place) == (farm.store.url, "farm.pem")
        return sign_stored(farm.store, key, signing_key(), plan=plan)

    monkeypatch.setattr("flows.release.signing.sign_engine", without_prefect)
    monkeypatch.setattr("flows.release.signing.log_step", lambda _: None)
    outcome = CellOutcome(key=farm.record.key, plan=farm.record.plan, built=True)
    answers = tuple(
        CellAnswer(order=_order(farm), outcome=each)
        for each in (outcome, replace(outcome, key="engines/none"), NotStored(wanted="a", found="b", fix="c"))
    )
    assert asyncio.run(signed_answers(farm.store.url, answers, "")) == answers
    other = replace(answers[0], outcome=replace(outcome, plan=farm.record.onnx))
    (replaced,) = asyncio.run(signed_answers(farm.store.url, (other,), "farm.pem"))
    assert isinstance(replaced.outcome, DigestMismatch)  # its build published another plan
    signed, missing, failed = asyncio.run(signed_answers(farm.store.url, answers, "farm.pem"))
    assert (signed, failed) == (answers[0], answers[2])
    assert isinstance(missing.outcome, NotStored)
    assert not farm.sign()  # it was signed


def test_a_timing_cache_counts_once_an_engine_that_left_it_was_signed_and_not_if_replaced(farm: Farm) -> None:
    made_for = timing_key(farm.record.target, "13.0")
    assert made_for is not None
    cache = TimingRecord(
        key=made_for.shared, made_for=made_for, cache=farm.record.reference, attempt="a", created="2026"
    )

    def counts() -> bool:
        standing = find_timing(farm.store, cache.key, made_for)
        assert standing is not None
        return is_trusted(farm.store, standing)

    assert swap_timing(farm.store, cache, None)
    assert not counts()
    farm.sign()
    assert counts()
    replaced = replace(cache, cache=farm.record.onnx)
    farm.put(cache.key, record_to_json(replaced))
    signed = read_signature(farm.store, _digest(cache), key_id(signing_key().public_pem))
    farm.put(signature_key(_digest(replaced), key_id(signing_key().public_pem)), signed or b"")
    assert not counts()


def test_a_build_neither_starts_with_an_unsigned_timing_cache_nor_merges_it(
    farm: Farm, tmp_path: Path
) -> None:
    made_for = timing_key(farm.record.target, "13.0")
    assert made_for is not None
    planted = TimingRecord(
        key=made_for.shared, made_for=made_for, cache=farm.record.onnx, attempt="a", created="2026"
    )
    assert swap_timing(farm.store, planted, None)
    pulled = _pull_shared(farm.store, made_for, cast("Workspace", SimpleNamespace(folder=tmp_path)))
    assert pulled.given is not None
    assert pulled.given.cache is None
    assert pulled.notes == ("the shared timing cache was left out: no trusted key signed it",)

    async def merge(first: CacheFile, second: CacheFile) -> CacheFile:
        raise AssertionError(f"TensorRT would parse {second.ref} into {first.ref}")

    (tmp_path / "cache").write_bytes(b"timings of this build")
    own = CacheFile(path=tmp_path / "cache", ref=blob_ref(b"timings of this build"))
    shared = share_timing(farm.store, own, replace(planted, cache=own.ref), base=None, merge=merge)
    assert asyncio.run(shared).cache == own.ref
    farm.sign()
    standing = find_timing(farm.store, made_for.shared, made_for)
    assert standing is not None
    assert not is_trusted(farm.store, standing)  # the signed engine left another cache


def test_each_flipped_bit_of_plan_and_graph_is_refused(farm: Farm, tmp_path: Path) -> None:
    drawn, trust = random.Random(4), load_trust(farm.trust)  # noqa: S311 (not a secret)
    farm.sign()
    plan = farm.fetch(tmp_path)
    bits = 8 * plan.stat().st_size
    for bit in range(bits):
        data = bytearray(b"a plan")
        data[bit // 8] ^= 1 << (bit % 8)
        plan.write_bytes(data)
        with pytest.raises(DigestMismatch):
            _local(plan, trust)
    for _ in range(20):
        data = bytearray(b"onnx")
        data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
        farm.put(farm.record.onnx.key, bytes(data))
        with pytest.raises(DigestMismatch):
            farm.store.get_blob(farm.record.onnx, tmp_path / "graph")


def test_a_new_key_is_added_to_the_file_of_trusted_keys(farm: Farm, tmp_path: Path) -> None:
    make_key(tmp_path / "new.pem", trust=farm.trust, days=30)
    trust = load_trust(farm.trust)
    assert {key.name for key in trust.keys.values()} == {"2026", "new"}
    with pytest.raises(RequestInvalid, match="another --name"):
        make_key(tmp_path / "new.pem", trust=farm.trust)

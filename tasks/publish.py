"""Step 8: bytes first, record last. Without its record, the engine does not exist."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import DigestMismatch, FarmError
from tasks.domain.hashed_release import HashedRelease
from tasks.domain.keys import conversion_record_key
from tasks.domain.order import EngineOrder
from tasks.domain.record import ConversionRecord, EngineRecord, Verification
from tasks.domain.release import Release, ReleaseRef
from tasks.domain.timing import TimingUse
from tasks.signing.kms import signer_at
from tasks.step import step
from tasks.store import request_history
from tasks.store.channel_index import add_to_channels
from tasks.store.patience import retry_while_s3_is_down
from tasks.store.records import record_to_json
from tasks.store.s3 import s3_client
from tasks.store.signatures import sign_record
from tasks.store.store import Store
from tasks.tensorrt.engine import BuiltEngine
from tasks.tensorrt.profiling import ProfiledEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedEngine:
    """A plan that may be published.

    Attributes:
        order: what to build.
        conversion: the graph that it was built from.
        built: the plan on this host's disk, and how it was built.
        verification: the engine on its GPU against TensorFlow, or the reason why it did not run.
        attempt: this attempt; it recognises its own commit by it.
        seconds: wall time by step, besides what conversion and build measured themselves.
        timing: the timing caches that the build used and wrote.
        profiled: the measurements on its GPU, or the reason why there are none.
        denied: what the kernel denied to the process that built the plan.
    """

    order: EngineOrder
    conversion: ConversionRecord
    built: BuiltEngine
    verification: Verification
    attempt: str
    seconds: Mapping[str, float]
    timing: TimingUse | None = None
    profiled: ProfiledEngine
    denied: tuple[str, ...]


@step
async def put_blob(store_url: str, path: Path) -> BlobRef:
    """Store the bytes of `path` under their digest."""
    return await asyncio.to_thread(Store.connect(store_url).put_blob, path)


async def publish_release(store_url: str, release: Release, request: bytes, signing_key: str = "") -> None:
    """Record what `release` is made of, so that hosts that cannot read it can check their orders.

    Args:
        store_url: the store.
        release: the release.
        request: its build.yaml.
        signing_key: signs the record; empty: nothing does.
    """
    record = HashedRelease(release=release, request=request.decode())
    store = Store.connect(store_url)

    def commit() -> None:
        _sign(store, record.key, record_to_json(record), signing_key)
        store.commit(record, record.key)

    await retry_while_s3_is_down(commit)


def _sign(store: Store, key: str, data: bytes, signing_key: str) -> None:
    """Sign a record before it is committed: whoever waits for it and demands signatures finds both."""
    if signing_key:
        sign_record(store, key, data, signer_at(signing_key))


async def keep_request(ref: ReleaseRef, request: bytes) -> FarmError | None:
    """Keep `request`, from which a run builds, among the release's requests; return why it could not.

    A host may lack the permission to write into releases, and nothing that is built depends on it.
    """
    try:
        await asyncio.to_thread(request_history.keep_request, s3_client(), ref, request)
    except FarmError as error:
        return error
    return None


@step
async def publish_conversion(
    store_url: str,
    record: ConversionRecord,
    *,
    base: ConversionRecord | None = None,
    signing_key: str = "",
) -> ConversionRecord:
    """Sign and commit `record`; return the record in the store, which may be another run's.

    Args:
        store_url: the store.
        record: the record of a graph.
        base: the stored graph that it was made from; keys of a newer version in its record are kept.
        signing_key: signs the record; empty: nothing does.
    """
    return await asyncio.to_thread(_publish_conversion, Store.connect(store_url), record, base, signing_key)


def _publish_conversion(
    store: Store, record: ConversionRecord, base: ConversionRecord | None, signing_key: str = ""
) -> ConversionRecord:
    document = None
    if base is not None:
        document = store.find_document(conversion_record_key(base.key), ConversionRecord)
    key = conversion_record_key(record.key)
    _sign(store, key, record_to_json(record, over=document), signing_key)
    standing = store.commit(record, key, copied_from=document)
    store.require_blobs(key, *standing.blobs)
    return standing


@step
async def publish_engine(engine: VerifiedEngine) -> EngineRecord:
    """Store plan and profile, then commit the record; return the one in the store, maybe another run's.

    Channels that offer the engine get it into their index.
    """
    return await asyncio.to_thread(_publish_engine, engine)


def _publish_engine(engine: VerifiedEngine) -> EngineRecord:
    store = Store.connect(engine.order.store)
    blobs, layers = {engine.built.ref: engine.built.plan}, None
    if engine.built.layers is not None:
        layers = blob_ref(engine.built.layers.read_bytes())
        blobs[layers] = engine.built.layers
    blobs |= {ref: engine.profiled.paths[name] for name, ref in engine.profiled.profile.files.items()}
    for ref, path in blobs.items():
        _put(store, path, ref)
    record = _engine_record(engine, layers)
    conversion = store.find_document(conversion_record_key(engine.conversion.key), ConversionRecord)
    standing = store.commit(record, record.key, copied_from=conversion)
    # A sweep of unreferenced blobs may have run between the two writes.
    for ref in blobs.keys() & {standing.plan, standing.layers, *standing.profile.files.values()}:
        if not store.has_blob(ref):
            _put(store, blobs[ref], ref)
    add_to_channels(store, standing.model, standing.key)
    return standing


def _put(store: Store, path: Path, ref: BlobRef) -> None:
    stored = store.put_blob(path)
    if stored != ref:
        raise DigestMismatch(
            wanted=f"to publish {path.name} as it was made, SHA-256 {ref.sha256}",
            found=f"SHA-256 {stored.sha256}",
            fix="build again, and check this host's disk and memory",
        )


def _engine_record(engine: VerifiedEngine, layers: BlobRef | None) -> EngineRecord:
    order, built = engine.order, engine.built
    return EngineRecord(
        **_of_conversion(engine.conversion),
        **_of_plan(built),
        key=order.key,
        build_key=order.build_key,
        model=order.release.ref.model,
        version=order.release.ref.version,
        options=order.options,
        input_overrides=order.input_overrides,
        release=order.release,
        layers=layers,
        engine_verification=engine.verification,
        seconds={**built.seconds, **engine.seconds},
        timing=engine.timing,
        denied_to_build=engine.denied,
        profile=engine.profiled.profile,
        tools=order.tools,
        source_revision=source_revision(),
        attempt=engine.attempt,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _of_plan(built: BuiltEngine) -> dict[str, Any]:
    """Return the fields of the engine's record about its plan."""
    return {
        "plan": built.ref,
        "target": built.target,
        "toolchain": built.info,
        "inputs": built.inputs,
        "outputs": built.outputs,
        "no_layers": built.no_layers,
        "read_back": built.read_back,
        "peak_mib": built.peak_mib,
        "warnings": built.warnings,
    }


def _of_conversion(conversion: ConversionRecord) -> dict[str, Any]:
    """Return the fields of the engine's record about its graph."""
    return {
        "derived_shapes": conversion.derived_shapes,
        "opset": conversion.opset,
        "onnx": conversion.onnx,
        "weights": conversion.weights,
        "reference": conversion.reference,
        "graph_verification": conversion.verification,
        "quantisation": conversion.quantisation,
        "conversion_seconds": conversion.seconds,
        "denied_to_model": conversion.denied_to_model,
    }


@cache
def source_revision() -> str | None:
    """Return the git commit of the farm's code; None outside a checkout.

    An image contains no checkout: it is built with `ENGINEFARM_REVISION` set.
    """
    given = os.environ.get("ENGINEFARM_REVISION")
    if given:
        return given
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git on this host
        return None
    return answer.stdout.strip() or None

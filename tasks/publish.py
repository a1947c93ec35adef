"""Step 8: bytes first, record last. While the record is not there, the engine does not exist."""

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
from tasks.domain.errors import DigestMismatch
from tasks.domain.keys import conversion_record_key
from tasks.domain.order import EngineOrder
from tasks.domain.record import ConversionRecord, EngineRecord, Verification
from tasks.domain.timing import TimingUse
from tasks.step import step
from tasks.store.store import Store
from tasks.tensorrt.engine import BuiltEngine
from tasks.tensorrt.profiling import ProfiledEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedEngine:
    """A plan that may be published.

    Attributes:
        order: what was asked for.
        conversion: the graph that it was built from.
        built: the plan on this host's disk, and how it was built.
        verification: the engine on its GPU against TensorFlow, or the statement that nothing ran it.
        attempt: this attempt; tells one's own commit from another's.
        seconds: wall time by step, on top of what conversion and build measured themselves.
        timing: what timing caches the build used and left.
        profiled: what the engine does on its GPU, or the statement that nothing was measured.
    """

    order: EngineOrder
    conversion: ConversionRecord
    built: BuiltEngine
    verification: Verification
    attempt: str
    seconds: Mapping[str, float]
    timing: TimingUse | None = None
    profiled: ProfiledEngine


@step
async def put_blob(store_url: str, path: Path) -> BlobRef:
    """Store the bytes of `path` under their digest."""
    return await asyncio.to_thread(Store.connect(store_url).put_blob, path)


@step
async def publish_conversion(
    store_url: str, record: ConversionRecord, *, base: ConversionRecord | None = None
) -> ConversionRecord:
    """Commit `record`; return the one that stands, which may be another run's.

    Args:
        store_url: where.
        record: the graph's.
        base: the stored graph that it was made from: what a newer version wrote about that is kept.
    """
    return await asyncio.to_thread(_publish_conversion, Store.connect(store_url), record, base)


def _publish_conversion(
    store: Store, record: ConversionRecord, base: ConversionRecord | None
) -> ConversionRecord:
    document = None
    if base is not None:
        document = store.find_document(conversion_record_key(base.key), ConversionRecord)
    key = conversion_record_key(record.key)
    standing = store.commit(record, key, copied_from=document)
    store.require_blobs(key, *standing.blobs)
    return standing


@step
async def publish_engine(engine: VerifiedEngine) -> EngineRecord:
    """Store plan and profile, then commit the record; return what stands, which may be another run's."""
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
    # A sweep of unreferenced blobs may have passed between the two writes.
    for ref in blobs.keys() & {standing.plan, standing.layers, *standing.profile.files.values()}:
        if not store.has_blob(ref):
            _put(store, blobs[ref], ref)
    return standing


def _put(store: Store, path: Path, ref: BlobRef) -> None:
    stored = store.put_blob(path)
    if stored != ref:
        raise DigestMismatch(
            wanted=f"to publish {path.name} as it was made, SHA-256 {ref.sha256}",
            found=f"SHA-256 {stored.sha256}",
            fix="build again, and look at this host's disk and memory",
        )


def _engine_record(engine: VerifiedEngine, layers: BlobRef | None) -> EngineRecord:
    order, built = engine.order, engine.built
    return EngineRecord(
        **_of_conversion(engine.conversion),
        key=order.key,
        build_key=order.build_key,
        model=order.release.ref.model,
        version=order.release.ref.version,
        target=built.target,
        toolchain=built.info,
        options=order.options,
        release=order.release,
        plan=built.ref,
        layers=layers,
        no_layers=built.no_layers,
        inputs=built.inputs,
        outputs=built.outputs,
        engine_verification=engine.verification,
        seconds={**built.seconds, **engine.seconds},
        peak_mib=built.peak_mib,
        warnings=built.warnings,
        timing=engine.timing,
        profile=engine.profiled.profile,
        tools=order.tools,
        source_revision=source_revision(),
        attempt=engine.attempt,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _of_conversion(conversion: ConversionRecord) -> dict[str, Any]:
    """Return what the engine's record says about the graph."""
    return {
        "derived_shapes": conversion.derived_shapes,
        "onnx": conversion.onnx,
        "weights": conversion.weights,
        "reference": conversion.reference,
        "graph_verification": conversion.verification,
        "quantisation": conversion.quantisation,
        "conversion_seconds": conversion.seconds,
    }


@cache
def source_revision() -> str | None:
    """Return the git commit of the farm's code; None outside a checkout.

    An image has no checkout: it is built with `ENGINEFARM_REVISION` set.
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

"""Keys of engines and conversions: digests of everything that decides the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from tasks.domain.cell import CellOptions
from tasks.domain.corners import shapes_document
from tasks.domain.digest import document_digest, engine_digest
from tasks.domain.gpu_table import device_slug
from tasks.domain.release import Release
from tasks.domain.request import Calibration, Precision, Shapes
from tasks.domain.target import EngineTarget

_SHORT = 12


def conversion_key(  # noqa: PLR0913 (each part decides the graph)
    *,
    model_digest: str,
    signature: str | None,
    shapes: tuple[Shapes, ...],
    samples: str | None,
    opset: int,
    graph_precision: Precision,
    calibration: Calibration | None,
    tolerance: float,
    top1: float | None,
    plugin_ops: tuple[str, ...],
    tools: Mapping[str, str],
) -> str:
    """Return the digest of everything that decides a conversion, 64 hexadecimal digits."""
    return document_digest(
        {
            "kind": "conversion/1",
            "model": model_digest,
            "signature": signature,
            "shapes": [shapes_document(profile) for profile in shapes],
            "samples": samples,
            "opset": opset,
            "graph_precision": graph_precision,
            "calibration": calibration,
            "tolerance": tolerance,
            "top1": top1,
            "plugin_ops": sorted(plugin_ops),
            "tools": dict(tools),
        }
    )


def build_key(
    *, model_digest: str, opset: int, options: CellOptions, tools: Mapping[str, str], target: EngineTarget
) -> str:
    """Return the digest of everything that decides an engine, 64 hexadecimal digits.

    Names of the model and its version, times and places are not part of it: the same bytes under another
    name are the same engine.
    """
    return engine_digest(
        model=model_digest, opset=opset, options=asdict(options), tools=dict(tools), target=asdict(target)
    )


def engine_key(*, release: Release, target: EngineTarget, precision: Precision, build_digest: str) -> str:
    """Return the record's key: readable, with the GPU and the TensorRT version, and exact."""
    ref = release.ref
    return (
        f"engines/{ref.model}/{ref.version}/{device_slug(target)}/{target.version}/"
        f"{precision}-{build_digest[:_SHORT]}.json"
    )


def conversion_record_key(digest: str) -> str:
    """Return the key of a conversion's record, relative to the store's root."""
    return f"conversions/{digest[:2]}/{digest}.json"

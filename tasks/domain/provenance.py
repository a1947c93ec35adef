"""The SLSA provenance of an engine: who built it, and from what. https://slsa.dev/spec/v1.1/provenance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tasks.domain.digest import BlobRef, document_digest
from tasks.domain.record import EngineRecord

_BUILD_TYPE = "urn:enginefarm:build:1"
_BUILDER = "urn:enginefarm:agent"


def provenance_of(record: EngineRecord) -> dict[str, Any]:
    """Return the predicate: the agent is the builder; release, graph and timing cache are materials."""
    options = asdict(record.options)
    return {
        "buildDefinition": {
            "buildType": _BUILD_TYPE,
            "externalParameters": {
                "release": record.release.ref.url,
                "precision": str(record.options.precision),
                "target": asdict(record.target),
            },
            "internalParameters": {
                "buildKey": record.build_key,
                "options": {"sha256": document_digest(options)},
                "tools": dict(record.tools),
            },
            "resolvedDependencies": list(_materials(record)),
        },
        "runDetails": {
            "builder": {"id": f"{_BUILDER}/{record.target.flavour}/{record.target.version}"},
            "metadata": {"invocationId": record.attempt, "finishedOn": record.created},
        },
    }


def _materials(record: EngineRecord) -> Iterator[dict[str, Any]]:
    url = record.release.ref.url
    for file in record.release.files:
        yield {"name": "release", "uri": f"{url}/{file.path}", "digest": {"sha256": file.sha256}}
    used = None if record.timing is None else record.timing.used
    blobs: dict[str, BlobRef | None] = {
        "onnx": record.onnx,
        "weights": record.weights,
        "reference": record.reference,
        "timing cache": used,
    }
    for name, blob in blobs.items():
        if blob is not None:
            yield {"name": name, "uri": blob.key, "digest": {"sha256": blob.sha256}}
    for plugin in record.options.plugins:
        yield {"name": "plugin", "uri": plugin.library, "digest": {"sha256": plugin.sha256}}

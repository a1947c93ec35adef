"""Engines as OCI images: what the documents of an image layout say. Consumers: Python 3.10, no dependencies.

Each engine is an image of its own, with one layer, so that Kubernetes mounts it as an image volume. One index
lists them; its entries have no platform that a runtime looks for, since a runtime would take the first one
for its processor, whatever the GPU. Signatures are referrers: artifacts whose subject is the image.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tasks.domain.attestation import BUNDLE_TYPE, MODEL_TYPE, PROVENANCE_TYPE
from tasks.domain.candidate import Candidate
from tasks.domain.digest import BlobRef, blob_ref, canonical_json

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
LAYOUT = canonical_json({"imageLayoutVersion": "1.0.0"})
SIGNATURE_PREDICATE, PROVENANCE_PREDICATE = MODEL_TYPE, PROVENANCE_TYPE

_REF_NAME = "org.opencontainers.image.ref.name"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_LONGEST_TAG = 128

Document = dict[str, Any]


def descriptor(kind: str, ref: BlobRef, **more: Any) -> Document:
    """Return the descriptor of a blob; `more` are its further fields."""
    return {"mediaType": kind, "digest": f"sha256:{ref.sha256}", "size": ref.size, **more}


def engine_annotations(engine: Candidate) -> dict[str, str]:
    """Return what says which engine an image has, for people and for programs that choose one."""
    target = engine.target
    return {
        "org.opencontainers.image.version": engine.version,
        "enginefarm.model": engine.model,
        "enginefarm.device": engine.device,
        "enginefarm.gpu": target.gpu or "any",
        "enginefarm.compute-capability": ",".join(map(str, target.compute_capabilities)),
        "enginefarm.flavour": target.flavour.value,
        "enginefarm.tensorrt": str(target.version),
        "enginefarm.precision": engine.precision.value,
        "enginefarm.build-key": engine.build_key,
        "enginefarm.engine": engine.key,
        "enginefarm.plan": f"sha256:{engine.plan.sha256}",
        "enginefarm.record": f"sha256:{engine.record.sha256}",
    }


def image_config(engine: Candidate, layer: BlobRef) -> bytes:
    """Return the configuration of the image of `engine`, whose files are in `layer`."""
    target = engine.target
    created = {"created": engine.created} if _TIME.fullmatch(engine.created) else {}
    return canonical_json(
        {
            **created,
            "architecture": _ARCHITECTURES.get(target.architecture, target.architecture),
            "os": target.os,
            "config": {"Labels": engine_annotations(engine)},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.sha256}"]},
            "history": [{**created, "created_by": "enginefarm oci export"}],
        }
    )


def image_manifest(engine: Candidate, config: BlobRef, layer: BlobRef) -> bytes:
    """Return the manifest of the image of `engine`."""
    return canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, config),
            "layers": [descriptor(LAYER_TYPE, layer)],
            "annotations": engine_annotations(engine),
        }
    )


def referrer_manifest(image: BlobRef, bundle: BlobRef, predicate: str, file: str) -> bytes:
    """Return the manifest of a signed statement about the engine in an image.

    Args:
        image: the image's manifest.
        bundle: the sigstore bundle.
        predicate: what the statement says: `SIGNATURE_PREDICATE` or `PROVENANCE_PREDICATE`.
        file: what it is called beside a plan.
    """
    empty = base64.b64encode(EMPTY).decode()
    title = {"org.opencontainers.image.title": file}
    return canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": BUNDLE_TYPE,
            "config": descriptor(EMPTY_TYPE, blob_ref(EMPTY), data=empty),
            "layers": [descriptor(BUNDLE_TYPE, bundle, annotations=title)],
            "subject": descriptor(MANIFEST_TYPE, image),
            "annotations": _of_statement(predicate),
        }
    )


def _of_statement(predicate: str) -> dict[str, str]:
    return {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": predicate,
    }


def image_index(images: Iterable[tuple[Candidate, BlobRef]], annotations: Mapping[str, str]) -> bytes:
    """Return the index of all images: engines with their manifests."""
    nobody = {"architecture": "unknown", "os": "unknown"}
    entries = [
        descriptor(MANIFEST_TYPE, ref, platform=nobody, annotations=engine_annotations(engine))
        for engine, ref in images
    ]
    return canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": entries,
            "annotations": dict(annotations),
        }
    )


def layout_index(entries: Iterable[Document]) -> bytes:
    """Return `index.json`, the entry to a layout: `tagged` documents and `referrer` documents."""
    return canonical_json({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": list(entries)})


def tagged(kind: str, ref: BlobRef, name: str) -> Document:
    """Return the entry of an image or index with the tag `name`."""
    return descriptor(kind, ref, annotations={_REF_NAME: name})


def referrer(ref: BlobRef, predicate: str) -> Document:
    """Return the entry of a referrer: nothing else in a layout leads to it."""
    return descriptor(MANIFEST_TYPE, ref, artifactType=BUNDLE_TYPE, annotations=_of_statement(predicate))


def index_tag(name: str) -> str:
    """Return the tag of the index of a channel or version."""
    return _tag(name)


def engine_tag(name: str, engine: Candidate) -> str:
    """Return the tag of an engine: `production-l4-10.13.3.9-fp16-3f9a1c0712ab`."""
    rest = f"{engine.device}-{engine.target.version}-{engine.precision}-{engine.build_key[:12]}"
    return _tag(f"{_tag(name)[: _LONGEST_TAG - 1 - len(rest)]}-{rest}")


def _tag(text: str) -> str:
    """Return `text` as registries and `index.json` take it: single separators between other characters."""
    return re.sub(r"([._-])[._-]+", r"\1", text)[:_LONGEST_TAG].strip("._-")

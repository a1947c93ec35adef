"""An engine as a consumer chooses it: made from its record, or from an entry of a channel's index.

Both come to the same value, so an index can be lost or stale without a wrong choice. Runs on consumers:
Python 3.10, the standard library alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.domain.compatibility import HardwareLevel
from tasks.domain.digest import BlobRef, blob_ref, model_digest
from tasks.domain.gpu_table import device_slug
from tasks.domain.recorded_key import recorded_build_key
from tasks.domain.request import Precision
from tasks.domain.speed import Speed, measured_speed, speed_from_document
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour, TensorRTVersion

_SCHEMA = "enginefarm.engine/1"
_PASSED = "passed"
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


class CandidateError(ValueError):
    """A document is not that of an engine, or contradicts itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An engine among which a host chooses.

    Attributes:
        model: name of the model.
        version: name of the release.
        release: URL of the release.
        model_digest: digest of the model's bytes in the release.
        key: the record's key, relative to the store's root.
        record: digest and size of the record's bytes.
        build_key: digest of what it was made from.
        plan: digest and size of the plan.
        target: what it was built for.
        precision: its arithmetic.
        version_compatible: whether later versions of TensorRT were asked for.
        lean_runtime: whether the plan contains a runtime for them.
        hardware: the hardware compatibility that was asked for.
        read_back: the hardware compatibility that TensorRT reported of the finished plan; None if it was not
            asked, or reported a level that this version does not know.
        stripped: whether its weights are left out.
        plugins: libraries with TensorRT plugins that it needs.
        verdict: the engine on its own GPU against TensorFlow: `passed`, `not_measured`.
        error: the largest relative error; None if none was measured.
        speed: how fast it is on its own GPU; None if that was not measured.
        created: when, UTC, ISO 8601.
        signature: what signs it; None if nothing does. It is no part of the record.
    """

    model: str
    version: str
    release: str
    model_digest: str
    key: str
    record: BlobRef
    build_key: str
    plan: BlobRef
    target: EngineTarget
    precision: Precision
    version_compatible: bool = False
    lean_runtime: bool = True
    hardware: HardwareLevel = HardwareLevel.NONE
    read_back: HardwareLevel | None = None
    stripped: bool = False
    plugins: tuple[str, ...] = ()
    verdict: str = _PASSED
    error: float | None = None
    speed: Speed | None = None
    created: str = ""
    signature: Mapping[str, Any] | None = None

    @property
    def device(self) -> str:
        """The device that it was built for, as in keys: `l4` or `rtx-sm89`."""
        return device_slug(self.target)

    @property
    def carries_code(self) -> bool:
        """Whether the plan contains native code, which the consumer must allow."""
        return self.version_compatible and self.lean_runtime

    @property
    def plain(self) -> bool:
        """Whether the plan was built for its own GPU and TensorRT alone, so it is as fast as it can be."""
        return not self.version_compatible and self.hardware is HardwareLevel.NONE

    @property
    def verified(self) -> bool:
        """Whether it passed the comparison with TensorFlow on its own GPU."""
        return self.verdict == _PASSED

    def to_document(self) -> dict[str, Any]:
        """Return the entry of an index, JSON-ready."""
        return {
            "model": self.model,
            "version": self.version,
            "release": self.release,
            "model_digest": self.model_digest,
            "record": {"key": self.key, "sha256": self.record.sha256, "size": self.record.size},
            "build_key": self.build_key,
            "plan": {"sha256": self.plan.sha256, "size": self.plan.size},
            "target": target_document(self.target),
            "precision": self.precision.value,
            "compatibility": {
                "version": self.version_compatible,
                "lean_runtime": self.lean_runtime,
                "hardware": self.hardware.value,
                "read_back": None if self.read_back is None else self.read_back.value,
            },
            "stripped": self.stripped,
            "plugins": list(self.plugins),
            "verdict": self.verdict,
            "error": self.error,
            "speed": None if self.speed is None else self.speed.to_document(),
            "created": self.created,
            "signature": None if self.signature is None else dict(self.signature),
        }


def target_document(target: EngineTarget) -> dict[str, Any]:
    """Return `target` JSON-ready, with versions as texts."""
    return {
        "flavour": target.flavour.value,
        "version": str(target.version),
        "gpu": target.gpu,
        "compute_capabilities": [str(capability) for capability in target.compute_capabilities],
        "os": target.os,
        "architecture": target.architecture,
    }


def candidate_from_document(document: Mapping[str, Any]) -> Candidate:
    """Parse an entry of an index. Keys that this version does not know are ignored.

    Raises:
        CandidateError: it is none.
    """
    try:
        return _from_entry(document)
    except _UNREADABLE as error:
        raise CandidateError(f"an entry of an index: {type(error).__name__}: {error}") from error


def candidate_of_record(data: bytes) -> Candidate:
    """Return the engine of the record with the bytes `data`.

    Raises:
        CandidateError: `data` is not the record of an engine, or its parts contradict each other.
    """
    try:
        return _from_record(json.loads(data), blob_ref(data))
    except _UNREADABLE as error:
        raise CandidateError(f"an engine's record: {type(error).__name__}: {error}") from error


def _from_entry(document: Mapping[str, Any]) -> Candidate:
    record, asked, target = document["record"], document["compatibility"], document["target"]
    candidate = Candidate(
        **_names(document, "model", "version", "release", "model_digest", "build_key", "verdict", "created"),
        key=_text(record["key"]),
        record=_blob(record),
        plan=_blob(document["plan"]),
        target=_target(target, version=TensorRTVersion.parse(target["version"])),
        precision=Precision(document["precision"]),
        version_compatible=_flag(asked["version"]),
        lean_runtime=_flag(asked["lean_runtime"]),
        hardware=HardwareLevel(asked["hardware"]),
        read_back=_level(asked["read_back"]),
        stripped=_flag(document["stripped"]),
        plugins=tuple(map(_text, document["plugins"])),
        error=None if document["error"] is None else float(document["error"]),
        speed=None if document["speed"] is None else speed_from_document(document["speed"]),
        signature=document.get("signature"),
    )
    return _consistent(candidate)


def _from_record(document: Mapping[str, Any], record: BlobRef) -> Candidate:
    if document["schema"] != _SCHEMA:
        raise ValueError(f"schema {document['schema']!r}")
    if recorded_build_key(document) not in (None, document["build_key"]):
        raise ValueError("a build key that its contents do not make")
    target, verification = document["target"], document["engine_verification"]
    parts = {name: int(target["version"][name]) for name in ("major", "minor", "patch", "build")}
    errors = [float(row["relative"]) for row in verification["comparisons"]]
    candidate = Candidate(
        **_names(document, "model", "version", "build_key", "key", "created"),
        **_of_release(document),
        **_of_options(document["options"]),
        record=record,
        plan=_blob(document["plan"]),
        target=_target(target, version=TensorRTVersion(**parts)),
        read_back=_level((document.get("read_back") or {}).get("hardware")),
        verdict=_text(verification["verdict"]),
        error=max(errors, default=None),
        speed=measured_speed(document.get("profile") or {"state": ""}),
    )
    return _consistent(candidate)


def _of_release(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return place and digest of the release that a record was made from."""
    release = document["release"]
    ref = release["ref"]
    if (ref["model"], ref["version"]) != (document["model"], document["version"]):
        raise ValueError("the names of another release")
    parts = [ref[name] for name in ("bucket", "prefix", "model", "version") if ref[name]]
    files = {_text(file["path"]): _text(file["sha256"]) for file in release["files"]}
    return {
        "release": f"s3://{'/'.join(parts)}",
        "model_digest": model_digest(_text(release["format"]), files),
    }


def _of_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked of the plan. Options that a record lacks are younger than the record."""
    asked = options.get("compatibility") or {}
    return {
        "precision": Precision(options["precision"]),
        "version_compatible": _flag(asked.get("version", False)),
        "lean_runtime": _flag(asked.get("lean_runtime", True)),
        "hardware": HardwareLevel(asked.get("hardware", "none")),
        "stripped": _flag(options.get("stripped", False)),
        "plugins": tuple(_text(plugin["library"]) for plugin in options.get("plugins", ())),
    }


def _consistent(candidate: Candidate) -> Candidate:
    """Return `candidate` if its key is made from its contents, as the farm makes keys of records."""
    target = candidate.target
    key = (
        f"engines/{candidate.model}/{candidate.version}/{candidate.device}/{target.version}/"
        f"{candidate.precision}-{candidate.build_key[:12]}.json"
    )
    if candidate.key != key:
        raise ValueError(f"the key {candidate.key} instead of {key}")
    return candidate


def _target(document: Mapping[str, Any], *, version: TensorRTVersion) -> EngineTarget:
    gpu = document["gpu"]
    return EngineTarget(
        flavour=Flavour(document["flavour"]),
        version=version,
        gpu=None if gpu is None else _text(gpu),
        compute_capabilities=tuple(map(_capability, document["compute_capabilities"])),
        os=_text(document["os"]),
        architecture=_text(document["architecture"]),
    )


def _capability(document: Any) -> ComputeCapability:
    if isinstance(document, str):
        return ComputeCapability.parse(document)
    return ComputeCapability(major=int(document["major"]), minor=int(document["minor"]))


def _blob(document: Mapping[str, Any]) -> BlobRef:
    return BlobRef(sha256=_text(document["sha256"]), size=int(document["size"]))


def _level(text: Any) -> HardwareLevel | None:
    """Return the level that was read back; None for one that this version does not know: it fits nothing."""
    return next((level for level in HardwareLevel if level.value == text), None)


def _names(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: _text(document[name]) for name in names}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is not true or false")
    return value

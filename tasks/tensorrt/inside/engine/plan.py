"""Checks of a plan before TensorRT gets it: its bytes, and whether it was built for this place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.domain.errors import InputInvalid, RecordInvalid, TargetUnavailable
from tasks.domain.recorded_key import recorded_build_key
from tasks.tensorrt.inside.checked import checked_bytes

_SCHEMA = "enginefarm.engine/1"
_NEXT_MAJOR = {(8, 10), (10, 11)}
_AMPERE = 8
_FLAVOURS = ("tensorrt", "tensorrt_rtx")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A GPU and TensorRT for which a plan was built, or on which it shall run.

    Attributes:
        flavour: name of TensorRT's Python module.
        version: the TensorRT, four parts.
        gpu: the GPU's model; None if the plan runs on any of its compute capabilities.
        compute_capabilities: for example `("8.9",)`.
        system: operating system and processor architecture.
    """

    flavour: str
    version: str
    gpu: str | None
    compute_capabilities: tuple[str, ...]
    system: str

    def __str__(self) -> str:
        device = f"{self.gpu or 'any GPU'} ({', '.join(self.compute_capabilities)})"
        return f"{self.flavour} {self.version}, {device}, {self.system}"


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """The part of a record that matters for running its plan.

    Attributes:
        sha256: digest of the plan.
        size: its size in bytes.
        target: what it was built for.
        plugins: `library` and `sha256` of each library with TensorRT plugins that it needs.
        compatibility: where it may run besides `target`; empty: nowhere.
        stripped: whether it has no weights.
    """

    sha256: str
    size: int
    target: Place
    plugins: tuple[Mapping[str, str], ...]
    compatibility: Mapping[str, Any]
    stripped: bool = False

    @property
    def carries_code(self) -> bool:
        """Whether the plan contains a runtime for later versions, which its user must allow."""
        return bool(self.compatibility.get("version") and self.compatibility.get("lean_runtime"))


def record_beside(plan: Path) -> Path:
    """Return the path of the plan's record: `resnet.plan.json` beside `resnet.plan`."""
    return plan.with_name(f"{plan.name}.json")


def read_plan_record(path: Path) -> PlanRecord:
    """Parse the record at `path`, in the form of the store; see `plan_record_in`."""
    return plan_record_in(read_record(path), path.name)


def read_record(path: Path) -> bytes:
    """Return the bytes of the record at `path`.

    Raises:
        RecordInvalid: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path.name, error) from error


def plan_record_in(data: bytes, name: str) -> PlanRecord:
    """Parse the record `data`, which was read from a file of this name.

    Raises:
        RecordInvalid: it cannot be parsed, or has another schema.
    """
    try:
        document = json.loads(data)
        if document["schema"] != _SCHEMA:
            raise ValueError(f"a document of the schema {document['schema']!r}")  # noqa: TRY301
        if recorded_build_key(document) not in (None, document["build_key"]):
            raise ValueError("a build key that its contents do not make")  # noqa: TRY301
        return _parse_record(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> RecordInvalid:
    return RecordInvalid(
        wanted=f"the record of an engine in {name}",
        found=f"{type(error).__name__}: {error}",
        fix="fetch the engine again: `enginefarm engines fetch` writes the plan and its record",
    )


def _parse_record(document: dict[str, Any]) -> PlanRecord:
    target, options, plan = document["target"], document["options"], document["plan"]
    if target["flavour"] not in _FLAVOURS:  # this name is imported
        raise ValueError(f"the flavour {target['flavour']!r}")
    version = target["version"]
    return PlanRecord(
        sha256=str(plan["sha256"]),
        size=int(plan["size"]),
        target=Place(
            flavour=str(target["flavour"]),
            version=".".join(str(int(version[part])) for part in ("major", "minor", "patch", "build")),
            gpu=target["gpu"],
            compute_capabilities=tuple(
                f"{int(capability['major'])}.{int(capability['minor'])}"
                for capability in target["compute_capabilities"]
            ),
            system=f"{target['os']} {target['architecture']}",
        ),
        plugins=tuple(
            {"library": str(plugin["library"]), "sha256": str(plugin["sha256"])}
            for plugin in options.get("plugins", ())
        ),
        compatibility=dict(options.get("compatibility") or {}),
        stripped=bool(options.get("stripped")),
    )


def require_host_code_allowed(name: str, *, allowed: bool) -> None:
    """Refuse the plan `name`, which contains native code, unless its user has `allowed` it to run.

    A record must not be enough: it is not signed, and the code runs with the rights of the process.

    Raises:
        InputInvalid: it is not allowed.
    """
    if not allowed:
        raise InputInvalid(
            wanted=f"a plan without native code in {name}, or your permission to run the code",
            found="a version-compatible plan by its record: it contains a runtime for later versions",
            fix="if you trust everybody who can write to the store, give --allow-host-code to the command, "
            "or allow_host_code=True to Engine.open; `lean_runtime: false` in build.yaml builds plans "
            "without code",
        )


def check_place(record: PlanRecord, here: Place) -> None:
    """Refuse a place that the plan was not built for.

    Raises:
        TargetUnavailable: the error says what to do.
    """
    wanted = record.target
    if (wanted.flavour, wanted.system) != (here.flavour, here.system) or not _takes_version(record, here):
        fix = f"use a toolchain with {wanted.flavour} {wanted.version}, or an engine for {here.version}"
    elif not _takes_gpu(record, here):
        fix = (
            f"run it on that GPU, or build the release for {here.gpu}: `enginefarm engines list` shows "
            "the available engines"
        )
    else:
        return
    raise TargetUnavailable(wanted=f"to run an engine that was built for {wanted}", found=str(here), fix=fix)


def _takes_version(record: PlanRecord, here: Place) -> bool:
    """Return whether the TensorRT fits: a plan loads only if all four parts of the version are the same.

    A plan with its own runtime also loads in later versions of the same major version, and of the next one as
    far as NVIDIA lists it:
    https://docs.nvidia.com/deeplearning/tensorrt/latest/getting-started/support-matrix.html
    """
    built, current = (tuple(map(int, place.version.split("."))) for place in (record.target, here))
    later = built < current and (built[0] == current[0] or (built[0], current[0]) in _NEXT_MAJOR)
    return built == current or (later and record.carries_code)


def _takes_gpu(record: PlanRecord, here: Place) -> bool:
    """Return whether the GPU is one that the plan runs on."""
    same_compute = set(here.compute_capabilities) <= set(record.target.compute_capabilities)
    level = record.compatibility.get("hardware", "none")
    if level == "ampere_plus":
        return all(int(capability.partition(".")[0]) >= _AMPERE for capability in here.compute_capabilities)
    return same_compute and (level == "same_compute_capability" or record.target.gpu in (None, here.gpu))


def checked_plan(path: Path, sha256: str, size: int | None = None) -> bytes:
    """Return the file's bytes. TensorRT gets the same bytes that are hashed; the file is read only once.

    Raises:
        DigestMismatch: they have another digest, or another size if a size is given.
        InputInvalid: the file cannot be read.
    """
    fix = "fetch the plan again; if it happens again, build the engine again and find out who changed it"
    try:
        return checked_bytes(path, sha256, size, what="a plan", fix=fix)
    except OSError as cause:
        raise InputInvalid(
            wanted=f"the plan {path.name}", found=str(cause.strerror), fix="give the path of a fetched plan"
        ) from cause

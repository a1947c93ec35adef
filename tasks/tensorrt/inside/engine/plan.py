"""What is checked of a plan before TensorRT sees it: its bytes, and whether its record names this place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.domain.errors import InputInvalid, RecordInvalid, TargetUnavailable
from tasks.tensorrt.inside.checked import checked_bytes

_SCHEMA = "enginefarm.engine/1"
_NEXT_MAJOR = {(8, 10), (10, 11)}
_AMPERE = 8
_FLAVOURS = ("tensorrt", "tensorrt_rtx")


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a plan was built for, or where one is to run.

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
    """What a record says that matters where its plan is run.

    Attributes:
        sha256: digest of the plan.
        size: its bytes.
        target: what it was built for.
        plugins: `library` and `sha256` of each library with TensorRT plugins that it needs.
        compatibility: how far beyond `target` it was built to run; empty: no further.
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
        """Whether the plan holds a runtime for later versions, which who loads it must allow."""
        return bool(self.compatibility.get("version") and self.compatibility.get("lean_runtime"))


def record_beside(plan: Path) -> Path:
    """Return where the record of the plan lies: `resnet.plan.json` beside `resnet.plan`."""
    return plan.with_name(f"{plan.name}.json")


def read_plan_record(path: Path) -> PlanRecord:
    """Read the record at `path`, as the store holds it.

    Raises:
        RecordInvalid: it cannot be read, or is of another schema.
    """
    try:
        document = json.loads(path.read_bytes())
        if document["schema"] != _SCHEMA:
            raise ValueError(f"a document of the schema {document['schema']!r}")  # noqa: TRY301
        return _parse_record(document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordInvalid(
            wanted=f"the record of an engine in {path.name}",
            found=f"{type(error).__name__}: {error}",
            fix="fetch the engine again: `enginefarm engines fetch` writes the plan and its record",
        ) from error


def _parse_record(document: dict[str, Any]) -> PlanRecord:
    target, options, plan = document["target"], document["options"], document["plan"]
    if target["flavour"] not in _FLAVOURS:  # the name of what is imported
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


def check_place(record: PlanRecord, here: Place) -> None:
    """Refuse a place that the plan was not built for.

    Raises:
        TargetUnavailable: it says what to do.
    """
    wanted = record.target
    if (wanted.flavour, wanted.system) != (here.flavour, here.system) or not _takes_version(record, here):
        fix = f"use a toolchain with {wanted.flavour} {wanted.version}, or an engine for {here.version}"
    elif not _takes_gpu(record, here):
        fix = (
            f"run it on such a GPU, or build the release for {here.gpu}: `enginefarm engines list` shows "
            "what is there"
        )
    else:
        return
    raise TargetUnavailable(wanted=f"to run an engine that was built for {wanted}", found=str(here), fix=fix)


def _takes_version(record: PlanRecord, here: Place) -> bool:
    """Say whether TensorRT is the one: a plan loads only where all four parts of the version are the same.

    One with a runtime of its own also loads with later ones of the same major version, and of the next that
    NVIDIA names: https://docs.nvidia.com/deeplearning/tensorrt/latest/getting-started/support-matrix.html
    """
    built, current = (tuple(map(int, place.version.split("."))) for place in (record.target, here))
    later = built < current and (built[0] == current[0] or (built[0], current[0]) in _NEXT_MAJOR)
    return built == current or (later and record.carries_code)


def _takes_gpu(record: PlanRecord, here: Place) -> bool:
    """Say whether the GPU is one that the plan runs on."""
    known = set(here.compute_capabilities) <= set(record.target.compute_capabilities)
    level = record.compatibility.get("hardware", "none")
    if level == "ampere_plus":
        return all(int(capability.partition(".")[0]) >= _AMPERE for capability in here.compute_capabilities)
    return known and (level == "same_compute_capability" or record.target.gpu in (None, here.gpu))


def checked_plan(path: Path, sha256: str, size: int | None = None) -> bytes:
    """Return the file's bytes: what is hashed here is what TensorRT gets, not the file once more.

    Raises:
        DigestMismatch: they have another digest, or another size if a size is given.
        InputInvalid: the file cannot be read.
    """
    fix = "fetch the plan again; if it stays so, build the engine again and find out who changed it"
    try:
        return checked_bytes(path, sha256, size, what="a plan", fix=fix)
    except OSError as cause:
        raise InputInvalid(
            wanted=f"the plan {path.name}", found=str(cause.strerror), fix="give the path of a fetched plan"
        ) from cause

"""Targets and tensors as JSON for child processes."""

from __future__ import annotations

from typing import Any

from tasks.domain.compatibility import HardwareLevel, ReadBack
from tasks.domain.record import TensorSpec
from tasks.domain.target import (
    ComputeCapability,
    EngineTarget,
    Flavour,
    TensorRTVersion,
    ToolchainInfo,
)


def target_document(target: EngineTarget) -> dict[str, Any]:
    """Return `target` in the form in which the building child describes its own."""
    return {
        "flavour": target.flavour.value,
        "version": str(target.version),
        "gpu": target.gpu,
        "compute_capabilities": [str(capability) for capability in target.compute_capabilities],
        "os": target.os,
        "architecture": target.architecture,
    }


def read_target(document: dict[str, Any]) -> EngineTarget:
    """Parse what `target_document` or the building child wrote."""
    return EngineTarget(
        flavour=Flavour(document["flavour"]),
        version=TensorRTVersion.parse(document["version"]),
        gpu=document["gpu"],
        compute_capabilities=tuple(
            ComputeCapability.parse(text) for text in document["compute_capabilities"]
        ),
        os=document["os"],
        architecture=document["architecture"],
    )


def read_specs(documents: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    """Parse the inputs or outputs that the building child reported."""
    return tuple(
        TensorSpec(name=document["name"], dtype=document["dtype"], shape=tuple(document["shape"]))
        for document in documents
    )


def read_form(document: dict[str, Any] | None) -> ReadBack | None:
    """Parse what the building child read back from the finished plan."""
    if document is None:
        return None
    levels = {level.value: level for level in HardwareLevel}
    return ReadBack(hardware=levels.get(document["hardware"]), refittable=document["refittable"])


def read_info(document: dict[str, Any]) -> ToolchainInfo:
    """Parse what a child reported about its interpreter."""
    return ToolchainInfo(
        module=document["module"],
        python=document["python"],
        driver=document["driver"],
        cuda=document["cuda"],
    )

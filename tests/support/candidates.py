"""Engines and hosts for tests of what runs where."""

from __future__ import annotations

from typing import Any

from tasks.domain.candidate import Candidate
from tasks.domain.digest import BlobRef
from tasks.domain.gpu_models import GPU_MODELS
from tasks.domain.gpu_table import device_slug
from tasks.domain.host import Host, Wanted
from tasks.domain.request import Precision
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour, TensorRTVersion

L4, L40S, T4, H200 = "NVIDIA L4", "NVIDIA L40S", "Tesla T4", "NVIDIA H200"
COMPUTE = {gpu.name: gpu.compute for gpu in GPU_MODELS}
WANTED = Wanted(model="resnet", channel="production")


def version(text: str) -> TensorRTVersion:
    return TensorRTVersion.parse(text)


def capability(text: str) -> ComputeCapability:
    return ComputeCapability.parse(text)


def engine(
    gpu: str | None = L4, trt: str = "10.13.3.9", *, digit: str = "a", rtx: str = "", **change: Any
) -> Candidate:
    precision = change.pop("precision", Precision.FP16)
    place = {name: change.pop(name) for name in ("os", "architecture") if name in change}
    target = EngineTarget(
        flavour=Flavour.RTX if rtx else Flavour.TENSORRT,
        version=version(trt),
        gpu=None if rtx else gpu,
        compute_capabilities=tuple(map(capability, rtx.split())) if rtx else (COMPUTE[gpu or ""],),
        **{"os": "linux", "architecture": "x86_64", **place},
    )
    key = f"engines/resnet/7/{device_slug(target)}/{trt}/{precision}-{digit * 12}.json"
    return Candidate(
        **{
            "model": "resnet",
            "version": "7",
            "release": "s3://models/resnet/7",
            "model_digest": "d" * 64,
            "key": key,
            "record": BlobRef(sha256=digit * 64, size=9),
            "build_key": digit * 64,
            "plan": BlobRef(sha256=digit * 64, size=99),
            "target": target,
            "precision": precision,
            "created": "2026-11-01T00:00:00+00:00",
            **change,
        }
    )


def host(gpu: str = L4, trt: str = "10.13.3.9", **change: Any) -> Host:
    return Host(
        **{"gpu": gpu, "compute": COMPUTE[gpu], "flavour": Flavour.TENSORRT, **change}, version=version(trt)
    )

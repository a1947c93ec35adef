"""Gets the TensorRT engine that runs on this host, checked, in one call.

import enginefarm

path = enginefarm.fetch("resnet", channel="production")
with enginefarm.open("resnet") as engine:
    outputs = engine.run({"image": batch})
"""

from tasks.consumer.api import fetch, open, probe, release, resolve  # noqa: A004 (`enginefarm.open`)
from tasks.domain.errors import (
    DigestMismatch,
    DiskFull,
    FarmError,
    GpuUnavailable,
    NameAmbiguous,
    NoEngineFits,
    NotStored,
    RequestInvalid,
    StoreDenied,
    StoreUnreachable,
    ToolchainBroken,
)
from tasks.domain.host import Host
from tasks.domain.resolution import Choice, Reason, Resolution

__all__ = [
    "Choice",
    "DigestMismatch",
    "DiskFull",
    "FarmError",
    "GpuUnavailable",
    "Host",
    "NameAmbiguous",
    "NoEngineFits",
    "NotStored",
    "Reason",
    "RequestInvalid",
    "Resolution",
    "StoreDenied",
    "StoreUnreachable",
    "ToolchainBroken",
    "fetch",
    "open",
    "probe",
    "release",
    "resolve",
]

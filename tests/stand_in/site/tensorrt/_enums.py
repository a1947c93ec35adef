"""TensorRT's enumerations, with the members that both of the versions or only the newer one have."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from ._base import MAJOR


def _enum(name: str, both: str, newer: str = "", older: str = "") -> Any:
    extra = newer if MAJOR >= 10 else older
    return IntEnum(name, {member: number for number, member in enumerate(f"{both} {extra}".split())})


Severity = _enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")
DataType = _enum("DataType", "FLOAT HALF INT8 INT32 BOOL UINT8 FP8", "BF16 INT64 INT4 FP4 E8M0")
LayerType = _enum("LayerType", "QUANTIZE DEQUANTIZE IDENTITY")
TensorIOMode = _enum("TensorIOMode", "NONE INPUT OUTPUT")
TensorLocation = _enum("TensorLocation", "DEVICE HOST")
NetworkDefinitionCreationFlag = _enum("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", "STRONGLY_TYPED")
MemoryPoolType = _enum(
    "MemoryPoolType", "WORKSPACE DLA_MANAGED_SRAM DLA_LOCAL_DRAM DLA_GLOBAL_DRAM TACTIC_DRAM",
    "TACTIC_SHARED_MEMORY",
)  # fmt: skip
HardwareCompatibilityLevel = _enum(
    "HardwareCompatibilityLevel", "NONE AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY"
)
ProfilingVerbosity = _enum("ProfilingVerbosity", "LAYER_NAMES_ONLY NONE DETAILED")
LayerInformationFormat = _enum("LayerInformationFormat", "ONELINE JSON")
TacticSource = _enum("TacticSource", "CUBLAS CUBLAS_LT CUDNN EDGE_MASK_CONVOLUTIONS JIT_CONVOLUTIONS")
ErrorCode = _enum(
    "ErrorCode",
    "SUCCESS INTERNAL_ERROR MEM_ALLOC_FAILED MODEL_DESERIALIZE_FAILED INVALID_VALUE INVALID_GRAPH "
    "INVALID_NODE UNSUPPORTED_GRAPH UNSUPPORTED_NODE",
    "UNSUPPORTED_NODE_ATTR UNSUPPORTED_NODE_INPUT UNSUPPORTED_NODE_DATATYPE UNSUPPORTED_NODE_DYNAMIC "
    "UNSUPPORTED_NODE_SHAPE REFIT_FAILED",
)
BuilderFlag = _enum(
    "BuilderFlag",
    "FP16 INT8 DEBUG GPU_FALLBACK REFIT DISABLE_TIMING_CACHE TF32 SPARSE_WEIGHTS SAFETY_SCOPE "
    "OBEY_PRECISION_CONSTRAINTS PREFER_PRECISION_CONSTRAINTS DIRECT_IO REJECT_EMPTY_ALGORITHMS "
    "VERSION_COMPATIBLE EXCLUDE_LEAN_RUNTIME FP8",
    "ERROR_ON_TIMING_CACHE_MISS BF16 DISABLE_COMPILATION_CACHE STRIP_PLAN WEIGHTLESS REFIT_IDENTICAL "
    "WEIGHT_STREAMING INT4 REFIT_INDIVIDUAL STRICT_NANS MONITOR_MEMORY FP4 EDITABLE_TIMING_CACHE "
    "DISTRIBUTIVE_INDEPENDENCE",
    "STRICT_TYPES ENABLE_TACTIC_HEURISTIC",
)

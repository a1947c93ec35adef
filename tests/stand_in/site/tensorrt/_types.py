"""Element types: ONNX's, NumPy's and TensorRT's."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from ._base import MAJOR
from ._enums import DataType

_BY_ONNX: dict[int, str] = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.INT8: "INT8",
    TensorProto.UINT8: "UINT8",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.BOOL: "BOOL",
    TensorProto.FLOAT8E4M3FN: "FP8",
}
_NUMPY = {
    "FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "UINT8": np.uint8, "INT32": np.int32,
    "INT64": np.int64, "BOOL": np.bool_,
}  # fmt: skip


def data_type(onnx_type: int) -> Any:
    """Return TensorRT's type; None where there is none.

    Version 8 makes INT32 of INT64, and calls what a Q layer gives FP32.
    """
    name = _BY_ONNX.get(onnx_type, "")
    if MAJOR < 10:
        name = {"INT64": "INT32", "INT8": "FLOAT"}.get(name, name)
    return DataType.__members__.get(name)


def numpy_type(dtype: Any) -> np.dtype[Any]:
    """Return NumPy's type of a tensor that goes in or out."""
    return np.dtype(_NUMPY[dtype.name])

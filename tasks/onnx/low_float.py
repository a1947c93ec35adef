"""The 16-bit float types that a graph can compute in: their range, and conversion to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from tasks.domain.request import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class LowFloat:
    """A float type narrower than FP32.

    Attributes:
        name: as in precisions.
        onnx: its number in `TensorProto`.
        largest: its largest finite value.
        smallest: its smallest value above 0.
    """

    name: str
    onnx: int
    largest: float
    smallest: float

    @property
    def schema(self) -> str:
        """Its name in the definitions of ONNX operations."""
        return f"tensor({TensorProto.DataType.Name(self.onnx).lower()})"

    @property
    def mask(self) -> float:
        """The replacement for constants beyond the range, which are nearly always attention masks.

        Half of the range leaves room: the sum of two masks and a score is still finite. A Softmax of
        infinities would be NaN.
        """
        return self.largest / 2

    def beyond(self, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Say which values are finite in FP32 but beyond this type's range."""
        return np.asarray(np.isfinite(values) & (np.abs(values) > self.largest))

    def bounded(self, values: npt.NDArray[Any], limit: float) -> npt.NDArray[Any]:
        """Return `values` with those beyond the range replaced by `limit`, with their sign."""
        return np.where(self.beyond(values), np.copysign(limit, values), values).astype(values.dtype)

    def rounded(self, values: npt.NDArray[Any], *, limit: float | None = None) -> npt.NDArray[Any]:
        """Round to this type.

        Values beyond its range become `limit`, or its largest value; values other than zero do not become
        zero.
        """
        bounded = self.bounded(values, self.largest if limit is None else limit)
        tiny = (bounded != 0) & (np.abs(bounded) < self.smallest)
        dtype = helper.tensor_dtype_to_np_dtype(self.onnx)
        return np.asarray(np.where(tiny, np.copysign(self.smallest, bounded), bounded).astype(dtype))


FP16 = LowFloat(name="fp16", onnx=TensorProto.FLOAT16, largest=(2 - 2**-10) * 2.0**15, smallest=2.0**-24)
BF16 = LowFloat(name="bf16", onnx=TensorProto.BFLOAT16, largest=(2 - 2**-7) * 2.0**127, smallest=2.0**-133)
LOW_FLOATS = {Precision.FP16: FP16, Precision.BF16: BF16}

"""The float types of 16 bits that a graph can compute in: their range, and how values are put into them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from tasks.domain.request import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class LowFloat:
    """A float type that is narrower than FP32.

    Attributes:
        name: as precisions are written.
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
        """How the definitions of ONNX operations write it."""
        return f"tensor({TensorProto.DataType.Name(self.onnx).lower()})"

    @property
    def mask(self) -> float:
        """What stands for constants beyond the range: they are nearly always attention masks.

        Half of the range leaves room: two masks and a score can be added without becoming an infinity,
        whose Softmax is NaN.
        """
        return self.largest / 2

    def beyond(self, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Say which values are finite in FP32 and would be none here."""
        return np.asarray(np.isfinite(values) & (np.abs(values) > self.largest))

    def bounded(self, values: npt.NDArray[Any], limit: float) -> npt.NDArray[Any]:
        """Return `values` with those beyond the range at `limit`."""
        return np.where(self.beyond(values), np.copysign(limit, values), values).astype(values.dtype)

    def rounded(self, values: npt.NDArray[Any], *, limit: float | None = None) -> npt.NDArray[Any]:
        """Round to this type.

        What is beyond it becomes `limit`, or its largest value; what is not zero does not become zero.
        """
        held = self.bounded(values, self.largest if limit is None else limit)
        tiny = (held != 0) & (np.abs(held) < self.smallest)
        dtype = helper.tensor_dtype_to_np_dtype(self.onnx)
        return np.asarray(np.where(tiny, np.copysign(self.smallest, held), held).astype(dtype))


FP16 = LowFloat(name="fp16", onnx=TensorProto.FLOAT16, largest=(2 - 2**-10) * 2.0**15, smallest=2.0**-24)
BF16 = LowFloat(name="bf16", onnx=TensorProto.BFLOAT16, largest=(2 - 2**-7) * 2.0**127, smallest=2.0**-133)
LOW_FLOATS = {Precision.FP16: FP16, Precision.BF16: BF16}

"""A row of the table of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.domain.release import ModelFormat
from tasks.domain.request import ShapeRange

Dim = int | tuple[int, int, int]

FAILURE = "failure"
"""The file in a model's folder that says why it could not be made."""

BATCH: Dim = (1, 2, 3)
"""A batch at the smallest, best and largest shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooModel:
    """One model.

    Attributes:
        name: its name, and that of the function which makes it.
        builder: module below `tests/zoo/builders`.
        form: in which form the farm gets it.
        inputs: shapes by input; a dimension is a number, or three for the smallest, best and largest.
        signature: which signature to convert; None where there is one.
        refused: the error class that it must end with; empty where it must convert, match and build.
        reason: why it is refused, as a piece of the error's text.
        no_engine: why TensorRT-RTX builds no engine, as a piece of its words; empty where it must.
        only_fp32: why FP16 is not asked for; empty where it is.
        tolerance: largest accepted error in FP32, where the model's own noise is above the default.
        dtypes: element types by input, where they are not float32.
        needs: `hub` or `wheels` where more than the farm's own packages is needed.
    """

    name: str
    builder: str
    form: ModelFormat
    inputs: Mapping[str, tuple[Dim, ...]]
    signature: str | None = None
    refused: str = ""
    reason: str = ""
    needs: str = ""
    no_engine: str = ""
    only_fp32: str = ""
    tolerance: float | None = None
    dtypes: Mapping[str, str] = field(default_factory=dict)

    def shapes(self) -> dict[str, ShapeRange]:
        """Return the shapes as a request gives them."""
        return {
            name: ShapeRange(
                **{
                    corner: tuple(dim if isinstance(dim, int) else dim[index] for dim in dims)
                    for index, corner in enumerate(("min", "opt", "max"))
                }
            )
            for name, dims in self.inputs.items()
        }

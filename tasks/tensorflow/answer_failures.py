"""Why TensorFlow computed no answer, from its message, and what helps: other shapes, values or operations."""

from __future__ import annotations

import re
from collections.abc import Collection

from tasks.domain.errors import FarmError, OperationUnsupported, RequestInvalid, SamplesInvalid
from tasks.domain.layers import placed

NO_ANSWER = (OperationUnsupported, RequestInvalid, SamplesInvalid)
"""What `no_answer` returns."""

_LONGEST = 500
_NODE = re.compile(r"\[\[\{\{node ([^}]+)\}\}\]\]")
_NOT_SAID = re.compile(
    r"Graph execution error:|Detected at node.*|Node: .*|<stack traces? unavailable>|\[\[.*|\s*"
)
_NO_KERNEL = re.compile(
    r"only supports? (the )?(NHWC|NDHWC)|NHWC tensor format|No OpKernel|no kernel|Could not find device"
    r"|[Nn]ot implemented|[Uu]nimplemented|not (yet )?supported|Cast \S+ to \S+ is not",
)
_VALUES = re.compile(
    r"is not in \[|indices\S* .*out of|out of (range|bound)|[Aa]ssert|[Dd]ivi(de|sion) by (zero|0)"
    r"|must be (non-?negative|positive|>|<|in|within|between)|not (finite|invertible)|NaN|Inf ",
)
_SHAPES = re.compile(r"[Ss]hape|[Dd]imension|[Ss]ize|[Rr]ank|[Bb]roadcast|[Ii]ncompatible|elements|[Mm]atch")


def no_answer(kind: str, message: str, corner: str, sizes: str, as_sizes: Collection[str] = ()) -> FarmError:
    """Return the error for a signature that did not answer.

    Args:
        kind: the class of TensorFlow's error.
        message: its text.
        corner: the corner of the shapes.
        sizes: the inputs with their shapes, for people.
        as_sizes: inputs whose values are sizes of tensors, see `tasks.tensorflow.vocabulary`.
    """
    node = _NODE.search(message)
    lines = map(str.strip, message.splitlines())
    said = " ".join(line for line in lines if not _NOT_SAID.fullmatch(line))[:_LONGEST] or "no reason"
    texts = {
        "wanted": f"an answer of the model at the corner {corner}: {sizes}",
        "found": f"{kind}: {said}" + (f" ({placed(node[1])})" if node else ""),
    }
    if as_sizes:
        return _values_are_sizes(texts["found"], as_sizes)
    if kind == "UnimplementedError" or _NO_KERNEL.search(said):
        fix = "replace the operation with one that TensorFlow can compute on a CPU"
        return OperationUnsupported(**texts, fix=fix)
    if _VALUES.search(said):
        fix = "give `samples` in build.yaml, with values that the model accepts"
        return SamplesInvalid(**texts, fix=fix)
    if _SHAPES.search(said):
        fix = f"give shapes for {corner} in inputs or profiles of build.yaml that fit each other"
        return RequestInvalid(**texts, fix=fix)
    fix = "call the model's signature on these inputs; if it works with other inputs, give those as `samples`"
    return SamplesInvalid(**texts, fix=fix)


def _values_are_sizes(said: str, inputs: Collection[str]) -> OperationUnsupported:
    names = ", ".join(sorted(inputs))
    return OperationUnsupported(
        wanted="inputs whose values decide no size: sizes are planned before there are values",
        found=f"input {names}, whose values are sizes; {said}",
        fix=f"make {names} a constant of the model, or let the model read the size from the shape of another "
        "input",
    )

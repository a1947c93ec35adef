"""Operations on the values at which graphs go wrong without a word, and in an engine of TensorRT-RTX."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[5]
_MODULES = ("silent", "numbers", "beyond", "shapes", "sizes", "pictures", "rest", "lists")
Compared = dict[str, dict[str, Any]]

NOT_DETERMINED = {
    "floormod_uncounted": "the last bit of the number decides",
    "beyond_segment_max": "the order of rows decides whether NaN counts",
    "beyond_scatter_max": "likewise, and which of two zeros is the larger",
}
"""What is not TensorFlow's, because TensorFlow does not define it.

The manual (tf.math.floormod) defines the remainder by floor(x / y) * y + floormod(x, y) = x. From a quotient
of 2^24 on, floats are further apart than the divisor is long: the equation holds to rounding for each number
between 0 and the divisor, and TensorFlow's is that of the last bit of x. Ours lies between them, as another
case shows. TensorFlow 2.21's unsorted_segment_max of NaN, 1 and 2 is 2, and that of 1, 2 and NaN is NaN; its
tensor_scatter_nd_max is 2 in both orders. Ours is NaN.
"""

DIFFERENT: dict[str, str] = {}
"""What is not TensorFlow's, and nobody can see it in finite numbers."""

SIGNS = {
    "nn.relu6_float32": "the larger of two zeros: IEEE 754 leaves the sign open",
    **dict.fromkeys(
        ("reduce_sum_0", "reduce_mean_0", "reduce_mean_of_some"),
        "TensorFlow adds a single -0.0 to nothing, others to 0.0, and the sum of two is 0.0 if one is",
    ),
    "math.cumsum_-1": "TensorFlow adds the first number to 0.0, ONNX takes it as it is",
    "beyond_scatter_max": "the larger of two zeros",
}
"""Where a zero has another sign in the graph, as ONNX defines its operations."""

_SEGMENTS = "a number of segments that is constant or a size"
REFUSED = {
    "dilation2d": ("Dilation2D (node Dilation2D)", "replace Dilation2D by other operations"),
    "segment_sum_of_values": ("SegmentSum (node SegmentSum)", _SEGMENTS),
    "sparse_segment_sum_of_values": ("SparseSegmentSum (node SparseSegmentSum)", _SEGMENTS),
    "unsorted_segment_sum_of_values": ("UnsortedSegmentSum (node UnsortedSegmentSum)", _SEGMENTS),
    "array_written_by_input": ("TensorArrayV2Stack/TensorListStack", "array.stack()"),
    "array_gathered_after_a_loop": ("TensorListGather", "read rows of array.stack()"),
    "ragged_rows_by_input": ("node RaggedGather/RaggedGather", "r.to_tensor(shape=[None, LONGEST])"),
    "ragged_longest_unknown": ("RaggedToTensor", "r.to_tensor(shape=[None, LONGEST])"),
    "ragged_range": ("RaggedRange", "tf.sequence_mask(lengths, LONGEST)"),
    "diag_of_ratio": ("MatrixDiagV3 (node diag)", "give k as a number"),
    "bincount_of_least": ("DenseBincount (layer bincount, node bincount/DenseBincount)", "minlength=n"),
}
"""What has no ONNX form, with what the error says, and its way out."""

NOT_BUILT = {
    "take_by_input": "found input b, whose values are sizes or offsets",
    "boolean_mask": "depends on values",
    "where_indices": "depends on values",
    "repeat_by_input": "depends on values",
    "dynamic_partition": "depends on values",
    "unique": "depends on values",
    "unique_with_counts": "depends on values",
    "set_difference": "depends on values",
    "ctc_greedy": "depends on values",
    "suppression_not_padded": "strided_slice, whose size depends on values",
    "ragged_map": "take loops out of loops and branches",
    "suppression_padded_of_zero": "take loops out of loops and branches",
    **{
        f"suppression_{kind}": "TensorRT-RTX has no non-maximum suppression"
        for kind in ("v2", "v3", "v4", "v5", "combined")
    },
}
"""What TensorRT-RTX takes in no form, with what the error says."""


WITHOUT_A_CASE = {
    "only XLA runs it, not a plain CPU": ("SegmentMaxV2", "SegmentMinV2", "SegmentProdV2", "SegmentSumV2"),
    "only a GPU runs it": ("CudnnRNN",),
    "no function of this TensorFlow makes it": ("LSTMBlockCell", "TensorListResize"),
    "a placeholder of old files: the cases have Placeholder, which takes the same way": ("PlaceholderV2",),
    "of input pipelines, which preflight refuses": (
        "FIFOQueueV2",
        "QueueDequeueManyV2",
        "QueueDequeueUpToV2",
        "QueueDequeueV2",
    ),
    "of strings, which no engine takes": ("ReduceJoin",),
    "the cases have its stateless form, which takes the same way": ("While",),
    "preflight/sanitise.py prepares the file for it: see test_loops.py": ("Case", "StatelessCase"),
}
"""Operations that are translated but not compared here, by the reason."""


def _run(script: str, *arguments: Path | str) -> None:
    environment = os.environ | {"PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command: list[str | Path] = [sys.executable, _ROOT / "tests" / "support" / script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]


def _modules() -> list[Path]:
    return [_ROOT / "tests" / "assets" / "operators" / f"{module}.py" for module in _MODULES]


@pytest.fixture(scope="module")
def compare(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Compared]:
    """A function that compares what is in `tests/assets/operators`, and builds what converts."""

    def compared(*options: str) -> Compared:
        folder = tmp_path_factory.mktemp("operators")
        _run("operators.py", folder, *options, *_modules())
        _run("operator_builds.py", folder)
        builds = json.loads((folder / "builds.json").read_text())
        cases: Compared = json.loads((folder / "operators.json").read_text())
        return {name: case | {"engine": builds.get(name)} for name, case in cases.items()}

    return compared


@pytest.mark.slow
def test_what_was_once_wrong_is_that_of_tensorflow_and_builds(
    compare: Callable[..., Compared],
) -> None:
    cases = compare("--quick", "1")
    taken = {name: case for name, case in cases.items() if name not in REFUSED}
    assert len(taken) > 60
    assert {name: case for name, case in taken.items() if case.get("differences") != []} == {}
    assert {name: case["signs"] for name, case in taken.items() if case["signs"]} == {}
    assert {name: case["engine"] for name, case in taken.items() if case["engine"] != "built"} == {}
    for name in cases.keys() & REFUSED.keys():
        error = cases[name]["error"]
        assert error["class"] == "OperationUnsupported"
        reason, way_out = REFUSED[name]
        assert reason in error["found"]
        assert way_out in error["fix"]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_operation_is_that_of_tensorflow(compare: Callable[..., Compared]) -> None:
    cases = compare()
    assert len(cases) > 400
    errors = {name: case["error"] for name, case in cases.items() if "error" in case}
    assert errors.keys() == REFUSED.keys(), errors
    assert [name for name, (text, _) in REFUSED.items() if text not in errors[name]["found"]] == []
    different = {name: case["differences"] for name, case in cases.items() if case.get("differences")}
    assert different.keys() == NOT_DETERMINED.keys() | DIFFERENT.keys(), different
    signs = {name: case["signs"] for name, case in cases.items() if case.get("signs")}
    assert signs.keys() == SIGNS.keys(), signs
    refused = {name: case["engine"] for name, case in cases.items() if case["engine"] not in ("built", None)}
    assert refused.keys() == NOT_BUILT.keys(), refused
    assert [name for name, text in NOT_BUILT.items() if text not in refused[name]] == []


@pytest.mark.slow
def test_every_operation_that_is_translated_has_a_case_or_a_reason(tmp_path: Path) -> None:
    _run("operator_kinds.py", tmp_path / "kinds.json", *_modules())
    kinds = json.loads((tmp_path / "kinds.json").read_text())
    translated, in_cases = set(kinds["translated"]), set(kinds["in_cases"])
    excused = {name for names in WITHOUT_A_CASE.values() for name in names}
    assert len(translated) > 250
    assert translated - in_cases - excused == set()
    assert excused & in_cases == set(), "what has a case needs no reason"

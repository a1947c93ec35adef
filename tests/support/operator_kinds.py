"""Lists which operations of TensorFlow the farm translates, and which of them cases for `operators` contain.

Usage: operator_kinds.py FILE MODULE... Writes `translated` and `in_cases`, sorted, to FILE as JSON.
"""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorflow.python.framework import op_def_registry
from tf2onnx import handler

from tasks.tensorflow.preflight.graph_rules import NEVER_RUN, NOT_IN_AN_ENGINE, first_match
from tasks.tensorflow.rewrites.apply import DECIDED, FIRST
from tasks.tensorflow.rewrites.rules import RULES
from tests.support.operators import specs_of, traced


def _translated() -> set[str]:
    """Return the operations of TensorFlow for which tf2onnx or a rewrite has a form, without refused ones.

    tf2onnx also lists those of TensorFlow Lite, and names that it gives to nodes of its own.
    """
    opsets = handler.tf_op.get_opsets().values()
    handled = {name for versions in opsets for version in versions for name in version}
    return {name for name in handled | {*RULES, *FIRST, *DECIDED} if _comes_so_far(name)}


def _comes_so_far(name: str) -> bool:
    is_refused = first_match(name, NOT_IN_AN_ENGINE + NEVER_RUN) is not None
    return op_def_registry.get(name) is not None and (name == "LookupTableFindV2" or not is_refused)


def _kinds(graph: Any) -> Iterator[str]:
    definition = graph.as_graph_def()
    yield from (node.op for node in definition.node)
    for function in definition.library.function:
        yield from (node.op for node in function.node_def)


def main(target: Path, modules: list[str]) -> None:
    """Write both lists."""
    kinds: set[str] = set()
    for module in modules:
        for function, sets in runpy.run_path(module)["CASES"].values():
            kinds.update(_kinds(traced(function, specs_of(sets)).graph))
    target.write_text(json.dumps({"translated": sorted(_translated()), "in_cases": sorted(kinds)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

"""Compares and builds, in one process, what `convert_functions.py` left in a folder.

Usage: build_functions.py FOLDER. Writes `built.json`: for each case what onnxruntime answered against
TensorFlow, and whether TensorRT-RTX built an engine, or what it said instead.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tasks.domain.errors import FarmError
from tasks.onnx import compare_child, lower_child
from tasks.tensorrt.inside import build, probe

_MODULE, _CAPABILITY = "tensorrt_rtx", "8.9"


def _report(phase: str, fraction: float) -> None:
    del phase, fraction


def _engine(folder: Path, name: str, plan: dict[str, Any], target: dict[str, Any]) -> None:
    lowered = str(folder / name / "lowered.onnx")
    raw = str(folder / name / "model.onnx")
    lowering = {"raw": raw, "lowered": lowered, "precision": "fp32", "opset": 17, "one_file": 1 << 30}
    lower_child.main(lowering, _report)
    request = {
        "module": _MODULE, "target": target, "onnx": lowered, "plan": str(folder / f"{name}.plan"),
        "precision": "fp32", "shapes": plan["shapes"], "workspace_mib": 256, "optimization_level": 0,
        "gpu_index": None, "plugins": [],
    }  # fmt: skip
    build.main(request, _report)


def main(folder: Path) -> None:
    """Compare and build every converted case."""
    probed = probe.main({"module": _MODULE}, _report)
    target = {key: probed[key] for key in ("version", "os", "architecture")} | {
        "flavour": _MODULE, "gpu": None, "compute_capabilities": [_CAPABILITY],
    }  # fmt: skip
    answers: dict[str, Any] = {}
    for name, answer in json.loads((folder / "converted.json").read_text()).items():
        if "error" in answer:
            continue
        request = {
            "onnx": str(folder / name / "model.onnx"),
            "reference": str(folder / f"{name}.npz"),
            "actual": None,
        }
        comparisons = compare_child.main(request, _report)["comparisons"]
        answers[name] = {"comparisons": comparisons, "engine": "built"}
        try:
            _engine(folder, name, answer["plan"], target)
        except FarmError as error:
            answers[name]["engine"] = str(error)
    (folder / "built.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

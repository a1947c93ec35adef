"""Converts many small TensorFlow functions in one process, each as the farm's children do it.

Usage: convert_functions.py MODULE FOLDER [WITHOUT...]. MODULE is a file with `CASES`: name to (function, its
specs, shapes of every input at min, opt and max, or None). Without specs the function is called with a path
and writes a model itself, as a folder or beside it as `.keras` or `.h5`. `COMPARED_ONLY` names those of which
no engine is built, or is True. FOLDER gets a SavedModel, a graph and a reference for each, and
`converted.json` with the plan, or the error. Cases named WITHOUT are left out.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

# Keras imports it, if it is there, for pictures that nobody draws here: see tasks/children/entry.py.
sys.modules["matplotlib"] = None  # type: ignore[assignment]
import tensorflow as tf  # noqa: E402

from tasks.domain.errors import FarmError  # noqa: E402
from tasks.tensorflow import convert_child, export_child, plan_child  # noqa: E402
from tasks.tensorflow.preflight import child  # noqa: E402
from tests.support.seeds import seed_everything  # noqa: E402

_OPSET = 17


def _report(phase: str, fraction: float) -> None:
    del phase, fraction


def module_of(path: str) -> Any:
    """Return the file at `path` as a module, whose layers and weights are the same in every run."""
    seed_everything()
    spec = importlib.util.spec_from_file_location("cases", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def traced(function: Any, specs: list[Any]) -> Any:
    """Return `function` as a graph; a layer in it that was not built yet draws its weights here."""
    seed_everything()
    serve = tf.function(function, input_signature=specs, autograph=False)
    serve.get_concrete_function()
    return serve


def save(function: Any, specs: list[Any] | None, folder: Path) -> None:
    """Write a SavedModel whose only signature is `function`, with what it keeps in its attribute `holds`."""
    if specs is None:
        seed_everything()
        function(folder)
        return
    module = tf.Module()
    module.holds = getattr(function, "holds", None)
    module.serve = traced(function, specs)
    tf.saved_model.save(module, str(folder), signatures=module.serve.get_concrete_function())


def convert(folder: Path, name: str, shapes: dict[str, Any] | None) -> dict[str, Any]:
    """Check, plan and convert the SavedModel of `name`; return the plan."""
    sanitised = str(folder / f"{name}.sanitised")
    files = [folder / name, folder / f"{name}.keras", folder / f"{name}.h5"]
    path = next(file for file in files if file.exists())
    form = f"model{path.suffix}" if path.suffix else "saved_model"
    request = {"path": str(path), "format": form, "sanitised": sanitised}
    child.main(request, _report)
    if path.suffix:
        export_child.main({"path": str(path), "saved_model": sanitised}, _report)
    shared: dict[str, Any] = {"saved_model": sanitised, "samples": None}
    plan = plan_child.main(shared | {"signature": None, "shapes": shapes or {}, "profiles": []}, _report)
    targets = {"onnx": str(folder / name / "model.onnx"), "reference": str(folder / f"{name}.npz")}
    plan["seconds"] = convert_child.main(
        shared | targets | {"opset": _OPSET, "plan": plan, "plugin_ops": []}, _report
    )["seconds"]
    return plan


def main(module: str, folder: Path, without: Collection[str]) -> None:
    """Convert every case of `module` into `folder`, but for those `without`."""
    answers: dict[str, Any] = {}
    cases = module_of(module)
    compared_only = getattr(cases, "COMPARED_ONLY", ())
    for name, (function, specs, shapes) in cases.CASES.items():
        if name in without:
            continue
        started = time.monotonic()
        try:
            save(function, specs, folder / name)
            answers[name] = {"plan": convert(folder, name, shapes)}
        except FarmError as error:
            answers[name] = {"error": error.to_document()}
        answers[name]["total"] = time.monotonic() - started
        answers[name]["compared_only"] = compared_only is True or name in compared_only
        gc.freeze()  # a child converts one model: the conversion looks for its garbage among that of no other
    (folder / "converted.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve(), sys.argv[3:])

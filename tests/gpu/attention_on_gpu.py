"""Attention on a GPU, from two graphs: the one that tf2onnx's own command writes, and the farm's.

    python tests/gpu/attention_on_gpu.py --toolchain PYTHON --output FOLDER

PYTHON is an interpreter with TensorRT and pycuda. Three small models with Keras' MultiHeadAttention and
seeded weights (with a residual and a norm, alone, and over any number of tokens) are converted both ways at
opset 17. Each graph is built in FP32 and TF32 and run at batches of 1, 4 and 8; the error is the largest
difference to TensorFlow over its largest output. Writes `attention.json`; status 1 where an engine of the
farm's graph is off by more than the default tolerance.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnx

from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.release import ModelFormat
from tasks.domain.request import DEFAULT_TOLERANCES, Precision, ShapeRange
from tasks.domain.target import Flavour
from tasks.onnx.graph import GraphWanted, lower_graph
from tasks.tensorflow.models import (
    ConversionWanted,
    LocalModel,
    convert_saved_model,
    export_saved_model,
    preflight_model,
)
from tasks.tensorrt.engine import EngineJob, build_engine
from tasks.tensorrt.toolchain import Toolchain, ToolchainProbe, probe_toolchain
from tasks.tensorrt.verification import verify_engine

_OPSET = 17
_LIMITS = Limits(memory_mib=24576, seconds=300)
_SHAPES = {"small": (32, 64), "plain": (16, 32), "any_length": (20, 64)}
_EXPORT = """
import keras, sys
keras.utils.set_random_seed(7)
layers, name = keras.layers, sys.argv[1]
x = keras.Input({"small": (32, 64), "plain": (16, 32), "any_length": (None, 64)}[name], name="tokens")
y = layers.MultiHeadAttention(2 if name == "plain" else 4, 16)(x, x)
if name == "small":
    y = layers.LayerNormalization()(x + y)
if name == "any_length":
    y = layers.Dense(10)(y)
keras.Model(x, y).export(sys.argv[2], verbose=False)
"""


async def graphs(name: str, work: Path) -> tuple[dict[str, Path], Path]:
    """Return tf2onnx's graph and the farm's of one model, and TensorFlow's answers."""
    saved, raw = work / f"{name}-model", work / f"{name}-raw.onnx"
    for command in (
        ["-c", _EXPORT, name, saved],
        ["-m", "tf2onnx.convert", "--saved-model", saved, "--opset", str(_OPSET), "--output", raw],
    ):
        words = [sys.executable, *map(str, command)]
        await asyncio.to_thread(subprocess.run, words, check=True, capture_output=True)
    model = LocalModel(format=ModelFormat.SAVED_MODEL, path=saved)
    model = await preflight_model(model, work=Workspace(folder=work, limits=_LIMITS))
    exported = await export_saved_model(model, work=Workspace(folder=work, limits=_LIMITS))
    wanted = ConversionWanted(signature=None, shapes={"tokens": _range(name)}, opset=_OPSET, samples=None)
    converted = await convert_saved_model(exported, wanted, work=Workspace(folder=work, limits=_LIMITS))
    form = GraphWanted(precision=Precision.FP32, opset=_OPSET)
    lowered = await lower_graph(converted.onnx, form, work=Workspace(folder=work, limits=_LIMITS))
    return {"tf2onnx": raw, "enginefarm": lowered.onnx}, converted.reference


def _range(name: str) -> ShapeRange:
    shape = _SHAPES[name]
    return ShapeRange(min=(1, *shape), opt=(4, *shape), max=(8, *shape))


async def measure(name: str, toolchain: Toolchain, probe: ToolchainProbe, work: Path) -> dict[str, Any]:
    """Return the error of each engine by graph and precision, and how many nodes each graph has."""
    made, reference = await graphs(name, work)
    rows: dict[str, Any] = {}
    for way, path in made.items():
        rows[way] = {"nodes": len(onnx.load(path).graph.node)}
        for precision in (Precision.FP32, Precision.TF32):
            job = EngineJob(
                toolchain=toolchain, target=probe.targets()[0], onnx=path, precision=precision,
                shapes={"tokens": _range(name)}, workspace_mib=1024, optimization_level=3, gpu_index=0,
            )  # fmt: skip
            built = await build_engine(job, work=Workspace(folder=work, limits=_LIMITS))
            compared = await verify_engine(
                toolchain,
                built.plan,
                built.ref,
                reference,
                gpu_index=0,
                work=Workspace(folder=work, limits=_LIMITS),
            )
            rows[way][precision.value] = {row.corner: row.relative for row in compared}
    return rows


async def examine(interpreter: str, work: Path) -> dict[str, Any]:
    """Measure every model."""
    toolchain = Toolchain(interpreter=interpreter, flavour=Flavour.TENSORRT)
    probe = await probe_toolchain(toolchain, work=Workspace(folder=work, limits=_LIMITS))
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "gpu": probe.gpus[0].name,
        "tensorrt": str(probe.version),
        "errors": {name: await measure(name, toolchain, probe, work) for name in _SHAPES},
    }


def main() -> None:
    """Run everything and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toolchain", required=True)
    parser.add_argument("--output", required=True, type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(examine(options.toolchain, Path(folder)))
    text = json.dumps(figures, indent=2)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "attention.json").write_text(text + "\n", "utf-8")
    sys.stdout.write(text + "\n")
    off = [
        error
        for rows in figures["errors"].values()
        for precision in (Precision.FP32, Precision.TF32)
        for error in rows["enginefarm"][precision.value].values()
        if error > DEFAULT_TOLERANCES[precision]
    ]
    sys.exit(1 if off else 0)


if __name__ == "__main__":
    main()

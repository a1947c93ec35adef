"""A TensorRT plugin computes: a graph with an operation that only a plugin has, built, run and compared.

    python tests/gpu/plugins_on_gpu.py --toolchain PYTHON --library FILE --output FOLDER

PYTHON is an interpreter with TensorRT and pycuda, and FILE NVIDIA's own libnvinfer_plugin of that TensorRT,
which holds the plugin CustomGeluPluginDynamic. The graph, x -> MatMul -> plugin -> y, is built with the
library, named by its digest as a request names it; the engine runs at batch 1, 4 and 8 and is compared with
NumPy. The same build with another digest must be refused. Writes `plugins.json`; status 1 where something is
not so.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from tasks.children.plugin_domain import PLUGIN_DOMAIN
from tasks.children.reference import Corner, write_reference
from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.errors import FarmError
from tasks.domain.request import Precision, ShapeRange
from tasks.domain.target import Flavour
from tasks.tensorrt.engine import EngineJob, build_engine
from tasks.tensorrt.plugins import PluginFile
from tasks.tensorrt.toolchain import Toolchain, probe_toolchain
from tasks.tensorrt.verification import verify_engine

_WIDTH = 16
_BATCHES = {"min": 1, "opt": 4, "max": 8}
_TOLERANCE = 1e-5
_LIMITS = Limits(memory_mib=16384, seconds=300)


def gelu(h: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return what the plugin computes: GELU by its tanh form."""
    return np.asarray(
        h * (0.5 + 0.5 * np.tanh(h * (0.035677408136300125 * h * h + 0.7978845608028654))), np.float32
    )


def write_case(folder: Path) -> tuple[Path, Path]:
    """Write the graph and what NumPy answers for it."""
    draw = np.random.default_rng(5)
    kernel = draw.standard_normal((_WIDTH, _WIDTH)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "kernel"], ["h"]),
        helper.make_node("CustomGeluPluginDynamic", ["h"], ["y"], domain=PLUGIN_DOMAIN, type_id=0),
    ]
    graph = helper.make_graph(
        nodes,
        "leaky",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", _WIDTH])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", _WIDTH])],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(PLUGIN_DOMAIN, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "graph.onnx")
    corners = []
    for name, batch in _BATCHES.items():
        x = draw.standard_normal((batch, _WIDTH)).astype(np.float32)
        h = x @ kernel
        corners.append(Corner(name, {"x": x}, {"y": gelu(h)}, {"y": 1e-7}))
    write_reference(folder / "reference.npz", corners)
    return folder / "graph.onnx", folder / "reference.npz"


async def examine(toolchain: Toolchain, plugin: PluginFile, work: Path) -> dict[str, Any]:
    """Build, run and compare; return the figures."""
    graph, reference = write_case(work)
    probe = await probe_toolchain(toolchain, work=Workspace(folder=work, limits=_LIMITS))
    job = EngineJob(
        toolchain=toolchain,
        target=probe.targets()[0],
        onnx=graph,
        precision=Precision.FP32,
        shapes={"x": ShapeRange(**{corner: (batch, _WIDTH) for corner, batch in _BATCHES.items()})},
        workspace_mib=64,
        optimization_level=3,
        gpu_index=0,
        plugins=(plugin,),
    )
    built = await build_engine(job, work=Workspace(folder=work, limits=_LIMITS))
    rows = await verify_engine(
        toolchain, built.plan, built.ref, reference,
        plugins=built.plugins, gpu_index=0, work=Workspace(folder=work, limits=_LIMITS),
    )  # fmt: skip
    refused = ""
    try:
        another = replace(job, plugins=(replace(plugin, sha256="0" * 64),))
        await build_engine(another, work=Workspace(folder=work, limits=_LIMITS))
    except FarmError as error:
        refused = f"{type(error).__name__}: {error}"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "gpu": probe.gpus[0].name,
        "tensorrt": str(probe.version),
        "library": {"name": plugin.path.name, "sha256": plugin.sha256},
        "relative_errors": {row.corner: row.relative for row in rows},
        "another digest": refused,
    }


def main() -> None:
    """Run everything and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toolchain", required=True)
    parser.add_argument("--library", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    options = parser.parse_args()
    toolchain = Toolchain(interpreter=options.toolchain, flavour=Flavour.TENSORRT)
    library: Path = options.library
    plugin = PluginFile(path=library, sha256=hashlib.sha256(library.read_bytes()).hexdigest())
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(examine(toolchain, plugin, Path(folder)))
    text = json.dumps(figures, indent=2)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "plugins.json").write_text(text + "\n", "utf-8")
    sys.stdout.write(text + "\n")
    errors = figures["relative_errors"]
    sound = set(errors) == set(_BATCHES) and max(errors.values()) < _TOLERANCE
    sys.exit(0 if sound and figures["another digest"].startswith("PluginRefused") else 1)


if __name__ == "__main__":
    main()

"""Small well-formed inputs to start from, one folder per target."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py

from tasks.tensorflow.preflight.child import parse_saved_model

_REQUESTS = (
    "",
    "precisions: [fp32, fp16]\ntargets: [l4]\ninputs: {x: {min: [1, 28], opt: [8, 28], max: [32, 28]}}\n",
    "signature: serving_default\ntolerances: {fp16: 1e-2}\nsamples: samples.npz\nworkspace_mib: 512\n",
    "a: &x [1]\nb: *x\nc: !!python/object/apply:os.system ['true']\n",
)
_CONFIGS: tuple[Any, ...] = (
    {
        "class_name": "Sequential",
        "module": "keras",
        "registered_name": None,
        "config": {"layers": [{"class_name": "Dense", "module": "keras.layers", "config": {"name": "d"}}]},
    },
    {"class_name": "Lambda", "config": {"name": "l", "function": ["4wEA", None, None]}},
    {"class_name": "function", "module": "os", "config": "system", "registered_name": "a>b"},
)


def saved_models() -> Iterable[bytes]:
    """Yield models of a few nodes: one that passes, and ones with every kind of object and call."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "saved_model.pb").write_bytes(b"")
        for op in ("MatMul", "ReadFile", "StatefulPartitionedCall"):
            model = parse_saved_model(folder)
            _fill(model.meta_graphs.add(), op)
            yield model.SerializeToString()


def _fill(graph: Any, op: str) -> None:
    graph.meta_info_def.tags.append("serve")
    graph.graph_def.node.add(name="x", op="Placeholder")
    call = graph.graph_def.node.add(name="y", op="StatefulPartitionedCall", input=["x"])
    call.attr["f"].func.name = "serve"
    graph.graph_def.node.add(name="w", op="Const").attr["value"].tensor.tensor_shape.dim.add(size=4)
    function = graph.graph_def.library.function.add()
    function.signature.name = "serve"
    function.node_def.add(name="inner", op=op).attr["f"].func.name = "serve"
    for side in (
        graph.signature_def["serving_default"].inputs,
        graph.signature_def["serving_default"].outputs,
    ):
        info = side["y"]
        info.name, info.dtype = "y:0", 1
        info.tensor_shape.dim.add(size=-1)
    root, signatures, bare = (graph.object_graph_def.nodes.add() for _ in range(3))
    root.children.add(node_id=1, local_name="signatures")
    signatures.children.add(node_id=2, local_name="serving_default")
    bare.bare_concrete_function.concrete_function_name = "serve"
    graph.saver_def.restore_op_name, graph.saver_def.filename_tensor_name = "y", "x:0"


def _tar(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("m/saved_model.pb", "m/variables/variables.index"):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return buffer.getvalue()


def _weights() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers/dense/vars/0"] = [1.0, 2.0]
    return buffer.getvalue()


def write_seeds(root: Path) -> None:
    """Write the seeds of every target below `root`."""
    models = list(saved_models())
    configs = [json.dumps(config).encode() for config in _CONFIGS]
    weights = _weights()
    seeds = {
        "saved_model": models,
        "tar": [_tar(b"x"), _tar(models[0])],
        "zip": [_zip({"m/saved_model.pb": b"x", "m/variables/": b""})],
        "keras": [_zip({"config.json": config, "model.weights.h5": weights}) for config in configs],
        "config": configs,
        "request": [text.encode() for text in _REQUESTS],
    }
    for target, texts in seeds.items():
        folder = root / target
        folder.mkdir(parents=True, exist_ok=True)
        for index, data in enumerate(texts):
            (folder / f"seed-{index}").write_bytes(data)

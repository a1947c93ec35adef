"""Builds every model of this folder twice; prints, as JSON, their names and those whose weights differ.

Usage: build_twice.py FOLDER. What models are there is read from the files, so a new one is looked at, too.
"""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc"

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

from tests.assets import build_tensorflow_models
from tests.assets.convert_functions import module_of, save, traced

_HERE = Path(__file__).parent


def _constants(function: Any) -> Iterator[Any]:
    """Yield what a concrete function holds: its variables, and constants in its graph and those it calls."""
    yield from (variable.numpy() for variable in function.variables)
    graph = function.graph.as_graph_def()
    for nodes in (graph.node, *(inner.node_def for inner in graph.library.function)):
        for node in nodes:
            if node.op == "Const" and node.attr["value"].tensor.dtype == tf.float32.as_datatype_enum:
                yield tf.make_ndarray(node.attr["value"].tensor)


def _saved(path: Path) -> Iterator[Any]:
    """Yield the weights in a model that was saved at `path`."""
    if path.is_dir():
        variables = tf.train.load_checkpoint(str(path / "variables/variables"))
        names = sorted(variables.get_variable_to_shape_map())
        yield from (variables.get_tensor(name) for name in names if name != "_CHECKPOINTABLE_OBJECT_GRAPH")
        return
    # Keras 2 wrote HDF5 under both names.
    packed = zipfile.is_zipfile(path)
    archive = zipfile.ZipFile(path).read("model.weights.h5") if packed else path.read_bytes()
    weights: list[Any] = []
    with h5py.File(io.BytesIO(archive)) as file:
        file.visititems(lambda _, item: weights.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    yield from weights


def _digest(weights: Iterator[Any]) -> str:
    """Return one digest of all `weights`, in whatever order they come."""
    each = sorted(hashlib.sha256(np.ascontiguousarray(weight).tobytes()).digest() for weight in weights)
    return hashlib.sha256(b"".join(each)).hexdigest()


def _functions(module: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each case of a file for convert_functions.py, with the digest of its weights."""
    for name, (function, specs, _) in module_of(str(module)).CASES.items():
        if specs is None:
            save(function, None, folder / name)
            (path,) = [path for path in (folder / name, *folder.glob(f"{name}.*")) if path.exists()]
            yield f"{module.stem}: {name}", _digest(_saved(path))
        else:
            graph = traced(function, specs).get_concrete_function()
            yield f"{module.stem}: {name}", _digest(_constants(graph))


def _all(folder: Path) -> dict[str, str]:
    """Return the digest of every model's weights, by its name."""
    digests: dict[str, str] = {}
    for module in sorted(_HERE.glob("*.py")):
        if "\nCASES: dict" in module.read_text("utf-8"):
            target = folder / module.stem
            target.mkdir(parents=True)
            digests.update(_functions(module, target))
    models = folder / "models"
    models.mkdir()
    build_tensorflow_models.main(models)
    return digests | {path.name: _digest(_saved(path)) for path in sorted(models.iterdir())}


def main(folder: Path) -> None:
    """Build all of them twice below `folder`."""
    first = _all(folder / "first")
    keras.utils.set_random_seed(9)  # as if other models had been built before
    second = _all(folder / "second")
    differ = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    sys.stdout.write(json.dumps({"models": sorted(first), "differ": differ}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Child: a Keras file becomes a SavedModel whose tensors keep the model's own names."""

from __future__ import annotations

import re
import shutil
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tasks.domain.errors import FarmError, ModelRefused, ModelUnreadable
from tasks.tensorflow.input_names import written_name
from tasks.tensorflow.keras_files import is_legacy, write_loaded_by
from tasks.tensorflow.keras_library import KerasLibrary
from tasks.tensorflow.preflight.graph_check import check_graph
from tasks.tensorflow.preflight.sanitise import GRAPH_FILE, write_sanitised
from tasks.tensorflow.signatures import serving_graph

_NOT_OF_KERAS = re.compile(r"Unknown \w+( function)?:|Could not locate (class|function)")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Load the Keras file at `path` and write a sanitised SavedModel to `saved_model`."""
    path, target = Path(request["path"]), Path(request["saved_model"])
    report("load", 0.0)
    library = _library(path)
    model = _load(library, path)
    report("export", 0.5)
    raw = target.with_name(f"{target.name}.raw")
    _export(library, model, path, raw)
    saved_model = saved_model_pb2.SavedModel.FromString((raw / GRAPH_FILE).read_bytes())
    check_graph(serving_graph(saved_model))
    write_sanitised(raw, saved_model, target)
    write_loaded_by(target, library.name, path)
    shutil.rmtree(raw)  # hard links below the target keep its data
    return {}


def _library(path: Path) -> KerasLibrary:
    """Return the Keras that reads `path` in the way that the Keras that wrote it did."""
    if is_legacy(path):
        from tasks.tensorflow.keras2_child import LIBRARY  # noqa: PLC0415 (only one of the two is needed)

        return LIBRARY
    from tasks.tensorflow.keras3_child import LIBRARY as CURRENT  # noqa: PLC0415

    return CURRENT


def _load(library: KerasLibrary, path: Path) -> Any:
    try:
        model = library.load(path)
    except (MemoryError, FarmError):
        raise
    except Exception as error:
        # Keras raises anything from TypeError to KeyError for unknown layers and damaged weights.
        raise ModelUnreadable(
            wanted=f"a model that {library.name} loads from {path.name}",
            found=f"{type(error).__name__}: {_plain(str(error))[:500]}",
            fix=_other_form(path, str(error)),
        ) from error
    if not getattr(model, "inputs", None):
        raise ModelUnreadable(
            wanted=f"a model with declared inputs in {path.name}",
            found="a model that was saved before it knew its input shapes",
            fix="give it an Input layer or call it once before saving, or upload a SavedModel",
        )
    return model


def _other_form(path: Path, problem: str) -> str:
    """Return another form in which the model can be uploaded."""
    saving = (
        "model.save(FOLDER) with the Keras that wrote the file" if is_legacy(path) else "model.export(FOLDER)"
    )
    if _NOT_OF_KERAS.search(problem):
        return f"upload a SavedModel ({saving}), which contains the computation of classes that Keras lacks"
    if is_legacy(path):
        return f"upload a SavedModel ({saving})"
    return f"save it with a current Keras, or upload a SavedModel ({saving})"


def _export(library: KerasLibrary, model: Any, path: Path, target: Path) -> None:
    names = _unique([tensor.name for tensor in model.inputs])
    specs = [
        tf.TensorSpec(tensor.shape, _outside(tensor.dtype), name=written_name(name))
        for tensor, name in zip(model.inputs, names, strict=True)
    ]
    structure = model.input if len(specs) > 1 or isinstance(getattr(model, "input", None), dict) else None

    def serve(*arguments: Any) -> dict[str, Any]:
        pairs = zip(arguments, model.inputs, strict=True)
        tensors = [tf.cast(tensor, declared.dtype) for tensor, declared in pairs]
        fed = tensors[0] if structure is None else library.pack(structure, tensors)
        outputs = _named_outputs(model, model(fed, training=False), library.flatten)
        return {name: tf.cast(value, _outside(value.dtype)) for name, value in outputs.items()}

    try:
        library.write(model, serve, specs, target)
    except MemoryError:
        raise
    except Exception as error:
        layer = _failing_layer(library, error)
        raise ModelRefused(
            wanted=f"a model in {path.name} that Keras can export",
            found=f"{type(error).__name__}{layer and f' in layer {layer}'}: {_plain(str(error))[:500]}",
            fix=f"give every dimension that {layer or 'the failing layer'} needs a fixed size "
            "(keras.Input(shape=...)), or export a SavedModel yourself (model.export)",
        ) from error


def _outside(dtype: Any) -> Any:
    """Return the type at the signature's border: FP32 for BF16, which NumPy lacks and FP32 holds exactly."""
    return tf.float32 if tf.as_dtype(dtype) == tf.bfloat16 else tf.as_dtype(dtype)


def _failing_layer(library: KerasLibrary, error: BaseException) -> str:
    """Return name and class of the innermost layer that `error` passed through; empty if there is none."""
    layers = []
    for frame, _ in traceback.walk_tb(error.__traceback__):
        owner = frame.f_locals.get("self")
        if isinstance(owner, library.layer) and not isinstance(owner, library.model):
            layers.append(f"{getattr(owner, 'name', '')} ({type(owner).__name__})")
    return layers[-1] if layers else ""


def _plain(message: str) -> str:
    """Return `message` on one line and without Keras' terminal colours."""
    return " ".join(_COLOURS.sub("", message).split())


def _named_outputs(model: Any, result: Any, flatten: Callable[[Any], list[Any]]) -> dict[str, Any]:
    if isinstance(result, dict):
        return dict(_leaves(result))
    flat = flatten(result)
    names = list(getattr(model, "output_names", None) or [])
    if len(names) != len(flat):
        last = model.layers[-1].name
        names = [last] if len(flat) == 1 else [f"{last}_{index}" for index in range(len(flat))]
    return dict(zip(_unique(names), flat, strict=True))


def _leaves(result: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the tensors of nested dictionaries and lists with their paths, such as `boxes/0`."""
    if isinstance(result, dict):
        pairs = [(str(key), value) for key, value in result.items()]
    elif isinstance(result, (list, tuple)):
        pairs = [(str(index), value) for index, value in enumerate(result)]
    else:
        yield name, result
        return
    for key, value in pairs:
        yield from _leaves(value, f"{name}/{key}" if name else key)


def _unique(names: Sequence[str]) -> list[str]:
    """Return `names` with repetitions numbered: `a, a` becomes `a, a_1`."""
    unique: list[str] = []
    for name in names:
        candidate, count = name, 0
        while candidate in unique:
            count += 1
            candidate = f"{name}_{count}"
        unique.append(candidate)
    return unique

"""Child: Keras 2, which reads what Keras 2 wrote.

Keras 3 reads some of these files as well, but gives the same words another meaning (`hard_sigmoid`, the slope
of LeakyReLU). So a file of Keras 2 is loaded by Keras 2 itself, which is maintained as tf-keras.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from tasks.tensorflow.keras2_versions_child import classes_of, serve_as_in_inference
from tasks.tensorflow.keras_library import KerasLibrary


def _load(path: Path) -> Any:
    tf.debugging.disable_traceback_filtering()  # the frames that it hides tell which layer failed
    serve_as_in_inference()
    return tf_keras.models.load_model(path, classes_of(path), compile=False, safe_mode=True)


def _write(model: Any, serve: Callable[..., Any], specs: Sequence[Any], target: Path) -> None:
    archive = tf_keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", serve, input_signature=specs)
    archive.write_out(str(target))


LIBRARY = KerasLibrary(
    name=f"tf-keras {tf_keras.__version__}",
    load=_load,
    write=_write,
    layer=tf_keras.layers.Layer,
    model=tf_keras.Model,
    pack=tf.nest.pack_sequence_as,
    flatten=tf.nest.flatten,
)

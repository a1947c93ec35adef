"""Child: Keras 3, which reads what Keras 3 wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from tasks.tensorflow.keras_library import KerasLibrary


def _load(path: Path) -> Any:
    keras.config.disable_traceback_filtering()  # the frames that it hides tell which layer failed
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _write(model: Any, serve: Callable[..., Any], specs: Sequence[Any], target: Path) -> None:
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", serve, input_signature=specs)
    archive.write_out(str(target), verbose=False)


LIBRARY = KerasLibrary(
    name=f"Keras {keras.__version__}",
    load=_load,
    write=_write,
    layer=keras.Layer,
    model=keras.Model,
    pack=keras.tree.pack_sequence_as,
    flatten=keras.tree.flatten,
)

"""Makes models of the table, each in a folder of its own: the model as a release has it, and its samples.

    python tests/zoo/make.py FOLDER --hub DIR --wheels DIR NAME...

Runs in a child process: it loads TensorFlow, and what it makes may be large.
"""

# mypy: disable-error-code="misc"

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import keras
import numpy as np
import tensorflow as tf

from tasks.domain.release import ModelFormat
from tests.zoo.models import MODELS
from tests.zoo.row import FAILURE, ZooModel


def write(made: Any, form: ModelFormat, target: Path) -> None:
    """Write what a builder returned: a Keras model, a module with signatures, or a file that exists."""
    if isinstance(made, Path):
        (shutil.copytree if made.is_dir() else shutil.copyfile)(made, target)
    elif form in {ModelFormat.KERAS, ModelFormat.H5}:
        made.save(target)
    elif form is ModelFormat.SAVED_MODEL:
        tf.saved_model.save(made, str(target), signatures=getattr(made, "signatures_of_mine", None))
    else:
        write(made, ModelFormat.SAVED_MODEL, target.parent / "unpacked")
        kind = "gztar" if form is ModelFormat.SAVED_MODEL_TAR else "zip"
        shutil.make_archive(str(target.parent / "saved_model"), kind, target.parent / "unpacked")


def make(model: ZooModel, folder: Path, wheels: Path | None) -> None:
    """Make one model in `folder`."""
    module = importlib.import_module(f"tests.zoo.builders.{model.builder}")
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    made = module.build(model.name, wheels) if model.needs == "wheels" else module.build(model.name)
    made, samples = made if isinstance(made, tuple) else (made, None)
    write(made, model.form, folder / model.form.value)
    if samples:
        np.savez(folder / "samples.npz", **samples)


def main() -> None:
    """Make the models that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--hub", type=Path)
    parser.add_argument("--wheels", type=Path)
    options = parser.parse_args()
    if options.hub:
        sys.path.append(str(options.hub))
    for name in options.names:
        model = MODELS[name]
        folder = options.folder / name
        folder.mkdir()
        try:
            make(model, folder, options.wheels)
        except Exception:  # noqa: BLE001 (the others are made all the same)
            (folder / FAILURE).write_text(traceback.format_exc(), "utf-8")


if __name__ == "__main__":
    main()

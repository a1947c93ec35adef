"""Writes what an old Keras saves, and what it answers. Python 3.6 runs this file.

Usage: python write.py FOLDER, in an environment with that Keras (README.md beside this file says which).
`FOLDER/VERSION.zip` has, for each kind of input in `layers.py`, one model with an output for each layer, and the
models of `forms.py`; for each of them the inputs and the answers.
"""

import io
import os
import sys
import tempfile
import zipfile

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from forms import FORMS, SAVED_MODELS
from layers import KINDS, UNSAVED

try:
    import keras  # a package of its own, as which it began and ended
except ImportError:
    from tensorflow import keras

VERSION = keras.__version__
OF_TENSORFLOW_2 = tuple(map(int, VERSION.split("."))) > (2, 3, 1)


class Layers:
    """The layers of this Keras; some began as experiments."""

    def __getattr__(self, name):
        try:
            return getattr(keras.layers, name)
        except AttributeError:
            return getattr(keras.layers.experimental.preprocessing, name)


L = Layers()


def every_layer(shape, dtype, cases):
    """Return the model and the names of its outputs, in their order; layers that this Keras lacks are left out."""
    x, outputs, lacking = L.Input(shape, dtype=dtype, name="x"), [], []
    for name in sorted(set(cases) - set(UNSAVED.get(VERSION, ()))):
        try:
            outputs.append((name, cases[name](L, x)))
        except (AttributeError, TypeError, ValueError) as error:
            lacking.append("{} ({})".format(name, str(error)[:60].replace("\n", " ")))
    print("  lacks", ", ".join(lacking))
    return keras.models.Model(x, [tensor for _, tensor in outputs]), [name for name, _ in outputs]


def set_weights(model, rng):
    """Give every weight of `model` a value that no other has; variances are positive."""
    for layer in model.layers:
        kind = type(layer).__name__
        if kind in ("Normalization", "IntegerLookup", "Discretization"):
            continue  # what they hold is their configuration
        values = [rng.normal(0, 0.4, value.shape).astype(value.dtype) for value in layer.get_weights()]
        if kind == "BatchNormalization":
            values[-1] = rng.uniform(0.5, 1.5, values[-1].shape).astype(values[-1].dtype)
        if kind in ("Sequential", "Functional", "Model"):
            set_weights(layer, rng)
        elif values:
            layer.set_weights(values)


def drawn(shape, dtype, rng):
    """Return three rows for an input: with zeros that a mask leaves out, and with large values."""
    shape = [3] + [6 if size is None else size for size in shape]
    if "int" in dtype:
        x = rng.randint(1, 20, shape).astype(dtype)
        x[0, -2:], x[1, 2] = 0, 0
        return x
    x = rng.normal(0, 2, shape).astype(dtype)
    if len(shape) == 3:
        x[0, -2:], x[1, 2] = 0, 0
    x[2] *= 4
    return x


def main(folder):
    if OF_TENSORFLOW_2:
        import tensorflow as tf

        # Processors have no fused form of grouped convolutions.
        tf.config.optimizer.set_experimental_options({"remapping": False})
    target = os.path.join(folder, VERSION + ".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for number, (kind, (shape, dtype, cases)) in enumerate(sorted(KINDS.items())):
            print(kind)
            model, names = every_layer(shape, dtype, cases)
            add(packed, kind, model, names, np.random.RandomState(number), model)
        for number, (name, build) in enumerate(sorted(FORMS.items())):
            try:
                built = build(keras, L)
            except Exception as error:  # an old Keras has fewer forms
                print("  lacks", name, str(error)[:80])
                continue
            model, answering = built if isinstance(built, tuple) else (built, built)
            names = [str(place) for place in range(len(model.outputs))]
            add(packed, name, model, names, np.random.RandomState(number), answering)
    print(target, os.path.getsize(target))


def add(packed, kind, model, names, rng, answering):
    """Add one model, in each format that this Keras has, and its answers."""
    set_weights(model, rng)
    if answering is not model:
        with tempfile.TemporaryDirectory() as work:
            model.save_weights(os.path.join(work, "weights.h5"))
            answering.load_weights(os.path.join(work, "weights.h5"))
    ids = any(isinstance(layer, L.Embedding) for layer in model.layers)
    inputs = [drawn([size for size in list(map(as_int, tensor.shape))[1:]], "int32" if ids else "float32", rng)
              for tensor in model.inputs]  # fmt: skip
    answers = answering.predict(inputs if len(inputs) > 1 else inputs[0])
    answers = answers if isinstance(answers, list) else [answers]
    arrays = {"in.{}".format(number): value for number, value in enumerate(inputs)}
    arrays.update({"out.{}".format(number): value for number, value in enumerate(answers)})
    arrays["names"] = np.array(names)
    text = io.BytesIO()
    np.savez(text, **arrays)
    packed.writestr(kind + ".npz", text.getvalue())
    with tempfile.TemporaryDirectory() as work:
        if kind in SAVED_MODELS and OF_TENSORFLOW_2:
            folder = os.path.join(work, kind + ".saved_model")
            model.save(folder, save_format="tf")
            for place, _, files in os.walk(folder):
                for file in files:
                    path = os.path.join(place, file)
                    packed.write(path, os.path.relpath(path, work))
        for ending in (".h5", ".keras"):
            if ending == ".keras" and sys.version_info < (3, 10) and kind != "shared":
                continue  # another name for `.h5` before Keras 2.12
            path = os.path.join(work, kind + ending)
            try:
                model.save(path)
            except TypeError as error:
                print("  lacks", kind + ending, error)
                continue
            packed.write(path, kind + ending)


def as_int(size):
    size = getattr(size, "value", size)
    return None if size is None else int(size)


main(sys.argv[1])

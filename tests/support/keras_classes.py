"""Prints the names of all classes of the installed Keras and tf_keras that a layer can be, or have.

python tests/support/keras_classes.py
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any

import keras
import tf_keras

_AREAS = (
    "activations", "constraints", "dtype_policies", "initializers", "layers", "losses", "metrics",
    "mixed_precision", "models", "ops", "optimizers", "quantizers", "random", "regularizers",
)  # fmt: skip
_LEFT_OUT = ("_test", ".jax", ".torch", ".openvino", "testing", "benchmark")


def names(package: ModuleType, bases: tuple[Any, ...]) -> set[str]:
    """Return the names of the classes below `package.src` that are of `bases`, or exported beside them."""
    for module in pkgutil.walk_packages(package.src.__path__, f"{package.src.__name__}."):
        if not any(part in module.name for part in _LEFT_OUT):
            with suppress(Exception):  # it needs what is not installed
                importlib.import_module(module.name)
    modules = [module for name, module in sys.modules.items() if name.startswith(package.src.__name__)]
    classes = [item for module in modules for item in vars(module).values() if inspect.isclass(item)]
    parts = {item.__name__ for item in classes if issubclass(item, bases)}
    return {name for name in parts | exported(package) if name[:1].isupper()}


def exported(package: ModuleType) -> set[str]:
    """Return the names of the classes that the areas of `package` export."""
    areas = [area for name in _AREAS if (area := getattr(package, name, None)) is not None]
    return {name for area in areas for name, item in vars(area).items() if inspect.isclass(item)}


def main() -> None:
    """Print the names as JSON."""
    of_keras = names(
        keras,
        (
            keras.src.ops.operation.Operation, keras.Initializer, keras.Regularizer,
            keras.constraints.Constraint,
            keras.Loss, keras.Metric, keras.Optimizer, keras.optimizers.schedules.LearningRateSchedule,
            keras.DTypePolicy, keras.Quantizer, keras.random.SeedGenerator,
        ),
    )  # fmt: skip
    of_tf_keras = names(
        tf_keras,
        (
            tf_keras.layers.Layer, tf_keras.initializers.Initializer, tf_keras.regularizers.Regularizer,
            tf_keras.constraints.Constraint, tf_keras.losses.Loss, tf_keras.optimizers.Optimizer,
            tf_keras.optimizers.legacy.Optimizer, tf_keras.optimizers.schedules.LearningRateSchedule,
            tf_keras.mixed_precision.Policy,
        ),
    )  # fmt: skip
    sys.stdout.write(json.dumps(sorted(of_keras | of_tf_keras)) + "\n")


if __name__ == "__main__":
    main()

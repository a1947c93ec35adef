"""The models of the sweep: how each is made, at which shapes it is compared, and what must come out.

Knows no TensorFlow. What a model is, is a function below `builders/`; `make.py` runs it in a child process.
"""

from __future__ import annotations

from tests.zoo.large import APPLICATIONS, BACKBONES, TRAINED
from tests.zoo.row import ZooModel
from tests.zoo.small import SMALL

MODELS: dict[str, ZooModel] = {row.name: row for row in (*APPLICATIONS, *TRAINED, *BACKBONES, *SMALL)}

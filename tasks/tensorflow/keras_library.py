"""What the export needs from Keras 2 or Keras 3, whichever reads the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class _Write(Protocol):
    def __call__(self, model: Any, serve: Callable[..., Any], specs: Sequence[Any], target: Path) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasLibrary:
    """Keras 2 or Keras 3.

    Attributes:
        name: its name and version, for people.
        load: returns the model of a file.
        write: writes the function `serve` of a model as the signature of a SavedModel.
        layer: its class of layers.
        model: its class of models.
        pack: puts a list of tensors into the structure of the first argument.
        flatten: the inverse of `pack`.
    """

    name: str
    load: Callable[[Path], Any]
    write: _Write
    layer: type
    model: type
    pack: Callable[[Any, Sequence[Any]], Any]
    flatten: Callable[[Any], list[Any]]

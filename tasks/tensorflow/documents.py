"""Tensors and shapes from the JSON in which children pass them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.domain.record import TensorSpec
from tasks.domain.request import ShapeRange


def specs_of(documents: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    """Return the tensors that `documents` describe."""
    return tuple(TensorSpec(**document | {"shape": tuple(document["shape"])}) for document in documents)


def shapes_of(documents: Mapping[str, dict[str, list[int]]]) -> dict[str, ShapeRange]:
    """Return the shapes that `documents` describe, by input."""
    return {
        name: ShapeRange(**{corner: tuple(dims) for corner, dims in document.items()})
        for name, document in documents.items()
    }

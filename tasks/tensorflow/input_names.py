"""Input names that are not Python identifiers, which TensorFlow does not write into a SavedModel.

A Keras model may call its inputs `my input`, `größe` or `class`. The farm writes them as hexadecimal
digits and reads them back, so that requests, samples and engines use the model's own names.
"""

from __future__ import annotations

from collections.abc import Container
from keyword import iskeyword

_MARK = "enginefarm_name_"


def written_name(name: str) -> str:
    """Return the name of the input `name` in a SavedModel that the farm writes."""
    plain = name.isascii() and name.isidentifier() and not iskeyword(name)
    return name if plain else _MARK + name.encode().hex()


def read_name(written: str) -> str:
    """Return the name of the input that a SavedModel calls `written`."""
    try:
        name = bytes.fromhex(written.removeprefix(_MARK)).decode() if written.startswith(_MARK) else written
    except ValueError:  # not written by the farm
        return written
    return name if written_name(name) == written else written


def name_among(names: Container[str], name: str) -> str:
    """Return the input `name` as `names`, those of a loaded signature, contain it."""
    return name if name in names else written_name(name)

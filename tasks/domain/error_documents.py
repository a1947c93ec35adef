"""Errors as the documents in which they cross processes and hosts, and the list of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.domain import farm_errors
from tasks.domain.errors import CellsFailed, FarmError, UnrecognizedError

_AROUND = farm_errors.__name__  # imported so that its classes are there, whoever asks


def error_from_document(document: Mapping[str, Any]) -> FarmError:
    """Return the error that `FarmError.to_document` described, here or on a host of another version.

    One of a class that this version does not know keeps its texts, exit code and flags.

    Raises:
        KeyError, TypeError: it is no such document.
    """
    error = _plain_error(document)
    if isinstance(error, CellsFailed):
        error.cells = {str(cell): _plain_error(one) for cell, one in dict(document.get("cells", {})).items()}
    return error


def _plain_error(document: Mapping[str, Any]) -> FarmError:
    texts = {name: document[name] for name in ("wanted", "found", "fix")}
    if not all(isinstance(text, str) for text in (document["class"], *texts.values())):
        raise TypeError("an error is described by texts")
    cls = {cls.__name__: cls for cls in all_errors()}.get(document["class"])
    return UnrecognizedError(**texts, document=document) if cls is None else cls(**texts)


def all_errors() -> list[type[FarmError]]:
    """Return every concrete error class of this version, by exit code."""
    found: list[type[FarmError]] = [FarmError]
    for cls in found:  # which grows meanwhile
        found += cls.__subclasses__()
    concrete = (cls for cls in found if not cls.__subclasses__() and cls is not UnrecognizedError)
    return sorted(concrete, key=lambda cls: cls.exit_code)

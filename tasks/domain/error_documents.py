"""Errors out of the documents that `FarmError.to_document` returns, and the list of all classes of errors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tasks.domain.errors import CellsFailed, FarmError


class UnrecognizedError(FarmError):
    """An error of a newer host, whose class is unknown here. It keeps its texts, exit code and flags."""

    def __init__(self, *, document: Mapping[str, Any] = MappingProxyType({}), **texts: str) -> None:
        super().__init__(**texts)
        code, name = document.get("exit_code"), document.get("class")
        self._class_name = name if isinstance(name, str) and name.isidentifier() else type(self).__name__
        if type(code) is int and 0 < code < 256:  # noqa: PLR2004 (what a process can end with)
            self.exit_code = code
        self.retryable = document.get("retryable") is True
        self.about_request = document.get("about_request") is True

    @property
    def class_name(self) -> str:
        """The name that the newer host wrote."""
        return self._class_name


def error_from_document(document: Mapping[str, Any]) -> FarmError:
    """Return the error of a `to_document`; raise KeyError or TypeError if `document` is none."""
    error = _plain_error(document)
    if isinstance(error, CellsFailed):
        cells = dict(document.get("cells", {}))
        error.cells = {str(cell): _plain_error(part) for cell, part in cells.items()}
    return error


def _plain_error(document: Mapping[str, Any]) -> FarmError:
    texts = {name: document[name] for name in ("wanted", "found", "fix")}
    if not all(isinstance(text, str) for text in (document["class"], *texts.values())):
        raise TypeError("an error is described by texts")
    cls = {cls.__name__: cls for cls in all_errors()}.get(document["class"])
    return UnrecognizedError(**texts, document=document) if cls is None else cls(**texts)


def all_errors() -> list[type[FarmError]]:
    """Return every concrete error class of this version, by exit code."""
    classes: list[type[FarmError]] = [FarmError]
    for cls in classes:  # which grows meanwhile
        classes += cls.__subclasses__()
    concrete = (cls for cls in classes if not cls.__subclasses__() and cls is not UnrecognizedError)
    return sorted(concrete, key=lambda cls: cls.exit_code)

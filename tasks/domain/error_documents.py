"""Errors as the documents that child processes leave, and the list of all of them."""

from __future__ import annotations

from tasks.domain import farm_errors
from tasks.domain.errors import ChildFailed, FarmError

_AROUND = farm_errors.__name__  # imported so that its classes are there, whoever asks


def error_from_document(document: dict[str, str]) -> FarmError:
    """Return the error that a child process described with `FarmError.to_document`."""
    cls = {cls.__name__: cls for cls in all_errors()}.get(document["class"], ChildFailed)
    return cls(wanted=document["wanted"], found=document["found"], fix=document["fix"])


def all_errors() -> list[type[FarmError]]:
    """Return every concrete error class, by exit code."""
    found: list[type[FarmError]] = [FarmError]
    for cls in found:  # which grows meanwhile
        found += cls.__subclasses__()
    return sorted((cls for cls in found if not cls.__subclasses__()), key=lambda cls: cls.exit_code)

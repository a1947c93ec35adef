"""The names that are allowed in a release, and those that make its model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from tasks.domain.errors import ArchiveRefused, ReleaseIncomplete
from tasks.domain.printable import printable_name
from tasks.domain.release import REQUEST_FILE, ModelFormat

_LONGEST_PART = 255
_SHOWN = 10
_GRAPH_FILE = "saved_model.pb"
_ENDINGS = {
    ".keras": ModelFormat.KERAS,
    ".h5": ModelFormat.H5,
    ".hdf5": ModelFormat.H5,
    ".tar.gz": ModelFormat.SAVED_MODEL_TAR,
    ".tgz": ModelFormat.SAVED_MODEL_TAR,
    ".zip": ModelFormat.SAVED_MODEL_ZIP,
    ".onnx": ModelFormat.ONNX,
}


def check_paths(paths: Iterable[str], *, place: str) -> None:
    """Refuse paths that would be written outside a folder, or cannot be written.

    Args:
        paths: names below the release's folder, with slashes.
        place: the release, for errors.

    Raises:
        ArchiveRefused: a path is absolute, has `..`, an empty part, a backslash or a control character,
            is too long, or is both a file and a folder.
    """
    distinct = set(paths)
    for path in sorted(distinct):
        problem = _problem(path) or _file_and_folder(path, distinct)
        if problem:
            raise ArchiveRefused(
                wanted=f"names in {place} that can be files below one folder",
                found=f"{path!r}: {problem}",
                fix="remove or rename it; if it is in S3 already, publish a new version",
            )


def _problem(path: str) -> str | None:
    if not path.isprintable() or "\\" in path:
        return "control characters and backslashes are not allowed"
    for part in path.split("/"):
        if part in {"", ".", ".."}:
            return f"{part!r} is not a name of a file or folder"
        if len(part.encode()) > _LONGEST_PART:
            return f"a name has at most {_LONGEST_PART} bytes"
    return None


def _file_and_folder(path: str, files: set[str]) -> str | None:
    parents = (str(parent) for parent in PurePosixPath(path).parents)
    return next((f"{parent!r} is a file, too" for parent in parents if parent in files), None)


def model_format(paths: Iterable[str], *, place: str) -> ModelFormat:
    """Return the form of the only model among `paths`, which also contain the request file.

    Raises:
        ReleaseIncomplete: no model, several, or no request file.
    """
    names = set(paths)
    if REQUEST_FILE not in names:
        raise request_file_missing(place, names)
    forms = [form for form in ModelFormat if _holds(form, names)]
    if len(forms) == 1:
        return forms[0]
    *others, last = map(_shown_form, ModelFormat)
    raise ReleaseIncomplete(
        wanted=f"one of {', '.join(others)} or {last} in {place}",
        found=f"{' and '.join(forms)} together" if forms else _list_names(names),
        fix=((_renaming(names) if not forms else "") or "leave exactly one model there, named like this")
        + "; if it is in S3 already, publish a new version",
    )


def _shown_form(form: ModelFormat) -> str:
    return f"{form}/" if form is ModelFormat.SAVED_MODEL else form


def _renaming(paths: set[str]) -> str:
    """Return what to rename so that the folder has a model; empty if that is not clear."""
    renames = set[tuple[str, str]]()
    for path in paths:
        folder, _, name = path.rpartition("/")
        forms = [form for ending, form in _ENDINGS.items() if not folder and name.endswith(ending)]
        renames |= {(path, _shown_form(form)) for form in forms}
        if name == _GRAPH_FILE:
            renames.add((folder.split("/")[0], _shown_form(ModelFormat.SAVED_MODEL)))
    if len(renames) != 1:
        return ""
    ((actual, wanted),) = renames
    if not actual:
        return f"move {_GRAPH_FILE}, with variables/ and its other files, into a folder {wanted}"
    return f"rename {printable_name(actual)} to {wanted}"


def request_file_missing(place: str, paths: Iterable[str]) -> ReleaseIncomplete:
    """Return the error for a release without its request file."""
    return ReleaseIncomplete(
        wanted=f"{REQUEST_FILE} in {place}",
        found=_list_names(paths),
        fix=f"upload {REQUEST_FILE} last: it marks the release as complete (an empty file builds "
        "the defaults); if the upload is still running, wait for it",
    )


def _holds(form: ModelFormat, paths: set[str]) -> bool:
    if form is ModelFormat.SAVED_MODEL:
        return any(path.startswith(f"{form}/") for path in paths)
    return form in paths


def _list_names(paths: Iterable[str]) -> str:
    """List the names at the top, folders with a slash."""
    top = sorted({printable_name(path.split("/")[0]) + ("/" if "/" in path else "") for path in paths})
    more = f" and {len(top) - _SHOWN} more" if len(top) > _SHOWN else ""
    return ", ".join(top[:_SHOWN]) + more if top else "nothing"

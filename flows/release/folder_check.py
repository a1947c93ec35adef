"""What can be said of a release before anything is uploaded: without S3, TensorFlow or TensorRT."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.children.file_kinds import check_model_file, kind_of_file, refuse_lfs_pointers
from tasks.domain.cells import check_request
from tasks.domain.devices import capabilities_of, impossible_precisions, similar_devices, unknown_devices
from tasks.domain.errors import RequestInvalid, SamplesInvalid
from tasks.domain.file_kind import LFS_POINTER
from tasks.domain.printable import printable_name
from tasks.domain.release import REQUEST_FILE, ModelFormat
from tasks.domain.request import ALL_TARGETS, BuildRequest
from tasks.store.names import model_format, request_file_missing
from tasks.store.publishing import local_files
from tasks.store.request_file import parse_request, read_bounded
from tasks.tensorflow.preflight.npz import check_npz

_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFolder:
    """A folder that may be published.

    Attributes:
        folder: where it is.
        files: its files by path, with slashes.
        format: the form of its model; None if the model is in S3 already.
        request: what its `build.yaml` asks for.
        notes: what may be wrong, for people.
    """

    folder: Path
    files: Mapping[str, Path]
    format: ModelFormat | None
    request: BuildRequest
    notes: tuple[str, ...]


def check_folder(
    folder: Path, *, offered: Callable[[], Collection[str]] = tuple, published: Collection[str] = ()
) -> CheckedFolder:
    """Check what `folder` holds.

    Args:
        folder: with a model and a `build.yaml`.
        offered: returns what agents or this host offer; asked if a target is not in the table of GPUs.
        published: files that the release has in S3 already; `folder` need not hold them.

    Raises:
        ReleaseIncomplete: no model, several, or no `build.yaml`.
        RequestInvalid: `build.yaml` has a wrong key or value, or names a file or device that is not there.
        SamplesInvalid: the samples are no `.npz`, or lack an input that `build.yaml` names.
        ModelUnreadable: a file is a Git LFS pointer, or another kind of file than its name says.
        ArchiveRefused: links, devices, or names that no release may hold.
    """
    files = local_files(folder)
    if REQUEST_FILE not in files:
        raise request_file_missing(str(folder), files)
    request = parse_request(read_bounded(files[REQUEST_FILE]), source=str(files[REQUEST_FILE]))
    form = None if published else model_format(files, place=str(folder))
    if form is not None:
        _check_model(files, form)
    _check_samples(request, files, {*files, *published})
    check_request(request)
    notes = _check_targets(request, offered)
    return CheckedFolder(folder=folder, files=files, format=form, request=request, notes=notes)


def _check_model(files: Mapping[str, Path], form: ModelFormat) -> None:
    if form is ModelFormat.SAVED_MODEL:
        refuse_lfs_pointers({path: file for path, file in files.items() if path.startswith(f"{form}/")})
    else:
        check_model_file(files[form], form)


def _check_samples(request: BuildRequest, files: Mapping[str, Path], known: Collection[str]) -> None:
    """Refuse a sample file that is not there, cannot be read or lacks an input."""
    name = request.samples
    if name is None:
        return
    if name not in known:
        near = difflib.get_close_matches(name, [path for path in known if path.endswith(".npz")], 1)
        raise RequestInvalid(
            wanted=f"the sample file {name!r} that {REQUEST_FILE} names",
            found=f"a folder with {', '.join(sorted(map(printable_name, known))[:_SHOWN])}",
            fix=(f"did you mean {near[0]}? Otherwise " if near else "")
            + "put the file there, or leave out `samples`",
        )
    if name not in files:  # it is in S3, and the conversion reads it
        return
    arrays = _arrays_of(files[name], name)
    inputs = {*request.inputs, *(each for profile in request.profiles for each in profile)}
    if lacking := sorted(inputs - arrays):
        raise SamplesInvalid(
            wanted=f"an array {lacking[0]!r} in {name}: `inputs` in {REQUEST_FILE} names this input",
            found=f"arrays {', '.join(sorted(arrays)) or 'none'}",
            fix="give each input an array of its name, first dimension the batch, or correct `inputs`",
        )


def _arrays_of(path: Path, name: str) -> set[str]:
    try:
        return set(check_npz(path))
    except ValueError as error:
        raise SamplesInvalid(
            wanted=f"a readable .npz in {name}",
            found=kind if (kind := kind_of_file(path)) == LFS_POINTER else str(error),
            fix="write it with numpy.savez(file, **{input: array})",
        ) from error


def _check_targets(request: BuildRequest, offered: Callable[[], Collection[str]]) -> tuple[str, ...]:
    """Refuse targets that nothing can be built for; return which of them only a host can tell."""
    unlisted = [each for each in request.targets if each != ALL_TARGETS and not capabilities_of(each)]
    if unlisted:
        available = offered()
        unlisted = [device for device in unlisted if device not in available]
    unknown = unknown_devices(unlisted)
    impossible = impossible_precisions(request.targets, request.precisions)
    if unknown or impossible:
        cells = [f"{cell}: {reason}" for cell, reason in impossible.items()]
        fixes = [*unknown.values(), *(["leave out cells that are impossible"] if impossible else [])]
        raise RequestInvalid(
            wanted=f"targets in {REQUEST_FILE} that engines can be built for",
            found="; ".join([*unknown, *cells]),
            fix="; ".join(fixes) + " (`enginefarm targets` lists all)",
        )
    return tuple(map(_only_a_host_can_tell, unlisted))


def _only_a_host_can_tell(device: str) -> str:
    near = similar_devices(device)
    guess = f"; did you mean {near[0]}?" if near else ""
    return f"{device} is not in the table of GPUs, so only a host that has it can build for it{guess}"

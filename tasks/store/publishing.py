"""Publishes releases, once each. Their request may be replaced; its former versions are kept.

The model, the samples and all other files of a release never change. `build.yaml` is replaced by
compare-and-swap (`tasks.store.request_history`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.children.progress import report_progress
from tasks.domain.errors import ArchiveRefused, RequestInvalid
from tasks.domain.release import REQUEST_FILE, ReleaseRef, former_request_number
from tasks.store.listing import Listed
from tasks.store.names import check_paths, model_format
from tasks.store.releases import release_objects
from tasks.store.request_history import replace_request_file
from tasks.store.s3 import s3_errors
from tasks.store.transfer import Address, file_ref, put_if_absent, stored_ref

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_READ_AT_ONCE = 1 << 20
_MIB = 1 << 20
_NOT_QUITE = 0.999  # the request file is still to be written


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What publishing a folder uploads.

    Attributes:
        ref: the release.
        new: files to upload, by path; the request file last.
        present: the number of files that S3 already has with the same bytes.
        replaces: the request file in S3 that will be replaced; None if none will.
    """

    ref: ReleaseRef
    new: Mapping[str, Path]
    present: int
    replaces: Listed | None = None


def local_files(folder: Path) -> dict[str, Path]:
    """Return the files below `folder` by path, with slashes.

    Raises:
        RequestInvalid: it is not a folder.
        ArchiveRefused: it contains links or devices, or names that are not allowed in a release.
    """
    if not folder.is_dir():
        raise RequestInvalid(
            wanted=f"a folder {folder} with a model and a {REQUEST_FILE}",
            found="a file" if folder.exists() else "nothing of that name",
            fix="give the folder that holds both",
        )
    present = list(folder.rglob("*"))
    for path in present:
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise ArchiveRefused(
                wanted=f"only files and folders in {folder}",
                found=f"{path} is a link or a device",
                fix="replace each link by a copy of its target",
            )
    files = {path.relative_to(folder).as_posix(): path for path in present if path.is_file()}
    check_paths(files, place=str(folder))
    return {path: file for path, file in files.items() if former_request_number(path) is None}


def plan_upload(client: S3Client, ref: ReleaseRef, folder: Path, *, replace_request: bool = False) -> Upload:
    """Return what to upload so that the release at `ref` equals `folder`. Writes nothing.

    Args:
        client: S3 client.
        ref: the release.
        folder: its files; to replace the request, the changed files are enough.
        replace_request: whether a `build.yaml` in S3 may be replaced, and files may be added to the release.

    Raises:
        RequestInvalid: the release has other files, or another request that must not be replaced.
        ReleaseIncomplete: no model, several, or no `build.yaml`.
        ArchiveRefused: as `local_files`.
        FarmError: as `s3_errors`.
    """
    files, present = local_files(folder), release_objects(client, ref)
    complete = REQUEST_FILE in present
    if not (complete and replace_request):
        model_format(files, place=str(folder))
    if not complete and (strange := sorted(present.keys() - files.keys())):
        raise _occupied(ref, f"{strange[0]!r}, which {folder} does not have")
    both = files.keys() & present.keys()
    changed = {path for path in both if not _is_same(client, ref, files[path], present[path])}
    if models := sorted(changed - {REQUEST_FILE}):
        raise _occupied(ref, f"{models[0]!r} with other bytes")
    new = {path: file for path, file in files.items() if path not in both or path in changed}
    if complete and new and not replace_request:
        raise _complete(ref, sorted(new), folder)
    model_format(files.keys() | present.keys(), place=ref.url)
    order = sorted(new, key=lambda path: (path == REQUEST_FILE, path))
    return Upload(
        ref=ref,
        new={path: new[path] for path in order},
        present=len(both - changed),
        replaces=present[REQUEST_FILE] if REQUEST_FILE in changed else None,
    )


def publish_release(
    client: S3Client, ref: ReleaseRef, folder: Path, *, replace_request: bool = False
) -> Upload:
    """Upload the files of `folder` as the release `ref`, `build.yaml` last; return what was uploaded.

    Idempotent: an interrupted upload can be repeated. Files in S3 must equal those of `folder`.

    Raises:
        RequestInvalid: as `plan_upload`, or somebody else published at the same time.
        FarmError: as `plan_upload`.
    """
    upload = plan_upload(client, ref, folder, replace_request=replace_request)
    meter = _Meter(total=sum(file.stat().st_size for file in upload.new.values()))
    for path, file in upload.new.items():
        meter.begin(path)
        if path == REQUEST_FILE and upload.replaces is not None:
            replace_request_file(client, ref, file, upload.replaces)
            continue
        address = Address(bucket=ref.bucket, key=f"{ref.key}{path}")
        mine = file_ref(file)
        meter.size = mine.size
        if not put_if_absent(client, address, file, mine, sent=meter.sent):
            with s3_errors(f"to read {address.url}"):
                standing = stored_ref(client, address)
            if standing != mine:
                raise _occupied(ref, f"{path!r} with other bytes")
    report_progress("publish", REQUEST_FILE, 1.0)
    return upload


class _Meter:
    """Reports bytes, rate and the time that is left of an upload of several files."""

    def __init__(self, *, total: int) -> None:
        self._total, self._before, self._path = total, 0, ""
        self._started = time.monotonic()
        self.size = 0

    def begin(self, path: str) -> None:
        """The next file is `path`; the one before is done."""
        self._before, self._path, self.size = self._before + self.size, path, 0
        self.sent(0)

    def sent(self, size: int) -> None:
        """Of the file, `size` bytes are on their way."""
        done = self._before + size
        seconds = max(time.monotonic() - self._started, 1e-3)
        text = f"{self._path}: {upload_text(done, self._total, seconds)}"
        report_progress("publish", text, min(done / max(self._total, 1), _NOT_QUITE))


def upload_text(done: int, total: int, seconds: float) -> str:
    """Return how far an upload is that has taken `seconds`: bytes, rate and the time that is left."""
    text = f"{done / _MIB:.1f} of {total / _MIB:.1f} MiB"
    if not done:
        return text
    rate = done / seconds
    return f"{text}, {rate / _MIB:.1f} MiB/s, {(total - done) / rate:.0f} s left"


def _is_same(client: S3Client, ref: ReleaseRef, file: Path, listed: Listed) -> bool:
    """Return whether `file` equals the listed object, which is only downloaded if its ETag is not an MD5."""
    if file.stat().st_size != listed.size:
        return False
    if listed.etag == _md5(file):
        return True
    address = Address(bucket=ref.bucket, key=listed.key)
    with s3_errors(f"to read {address.url}"):
        return stored_ref(client, address) == file_ref(file)


def _md5(file: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as data:
        while chunk := data.read(_READ_AT_ONCE):
            digest.update(chunk)
    return digest.hexdigest()


def _occupied(ref: ReleaseRef, existing: str) -> RequestInvalid:
    return RequestInvalid(
        wanted=f"nothing else at {ref.url}: the files of a release never change",
        found=existing,
        fix="publish under a new version",
    )


def _complete(ref: ReleaseRef, new: list[str], folder: Path) -> RequestInvalid:
    """Return the error for a published release to which `new` would be added, or in which it would change."""
    return RequestInvalid(
        wanted=f"a release at {ref.url} that is not published yet, or the same files",
        found=f"a complete release, and {', '.join(new)} in {folder}, new or with other bytes",
        fix=f"to correct its request: `enginefarm publish {folder} {ref.url} --replace-request`, which keeps "
        "the former one; publish a changed model as a new version",
    )

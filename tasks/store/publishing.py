"""Publishes releases, once each. Their request may be replaced; its former versions are kept.

The model, the samples and all other files of a release never change. `build.yaml` is replaced by
compare-and-swap, after its former version is kept as `requests/<number>.yaml` beside it. If two people
replace it at the same time, one is refused, so no request is lost.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.children.progress import report_progress
from tasks.domain.errors import ArchiveRefused, NotStored, RequestInvalid
from tasks.domain.release import REQUEST_FILE, ReleaseRef, former_request_number, former_request_path
from tasks.store.listing import Listed, pages
from tasks.store.names import check_paths, model_format
from tasks.store.releases import read_request_file, release_objects, request_address
from tasks.store.s3 import s3_errors
from tasks.store.transfer import (
    Address,
    file_ref,
    put_if_absent,
    put_if_unchanged,
    read_small,
    stored_ref,
)

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_LARGEST_REQUEST = 1 << 20
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestVersion:
    """A version of a release's request file.

    Attributes:
        number: 1 for the oldest version; the current one has the highest.
        key: its key in S3.
        modified: when it was written, in UTC; for a former version, when it was replaced.
        size: number of bytes.
    """

    number: int
    key: str
    modified: datetime
    size: int


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
            _replace_request(client, ref, file, upload.replaces)
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


def _replace_request(client: S3Client, ref: ReleaseRef, file: Path, former: Listed) -> None:
    """Keep the request file that is in S3, then replace it by `file`, unless it changed meanwhile.

    Raises:
        RequestInvalid: it changed.
        FarmError: as `s3_errors`.
    """
    data = read_request_file(client, ref)
    kept = _former_versions(client, ref)
    last = kept[-1] if kept else None
    if last is None or _read_version(client, ref, last) != data:  # else an earlier attempt kept it
        path = former_request_path(last.number + 1 if last else 1)
        if not put_if_absent(client, Address(bucket=ref.bucket, key=f"{ref.key}{path}"), data):
            kept = _former_versions(client, ref)
            if not kept or _read_version(client, ref, kept[-1]) != data:
                raise _replaced_by_another(ref)
    if not put_if_unchanged(client, request_address(ref), file, etag=former.etag):
        raise _replaced_by_another(ref)


def _replaced_by_another(ref: ReleaseRef) -> RequestInvalid:
    return RequestInvalid(
        wanted=f"to replace {request_address(ref).url} as it was read",
        found="that somebody else replaced it at the same time",
        fix=f"look at the current version (`enginefarm requests {ref.url}`), then publish again",
    )


def request_versions(client: S3Client, ref: ReleaseRef) -> tuple[RequestVersion, ...]:
    """Return the versions of the release's request file, the current one last.

    Raises:
        FarmError: as `read_request_file`.
    """
    read_request_file(client, ref)  # raises if there is none
    former = _former_versions(client, ref)
    number = former[-1].number + 1 if former else 1
    current = release_objects(client, ref)[REQUEST_FILE]
    return (*former, _version(number, current))


def read_request_version(client: S3Client, ref: ReleaseRef, number: int) -> bytes:
    """Return version `number` of the release's request file.

    Raises:
        NotStored: there is no such version.
        FarmError: as `s3_errors`.
    """
    versions = request_versions(client, ref)
    for version in versions:
        if version.number == number:
            return _read_version(client, ref, version)
    raise NotStored(
        wanted=f"version {number} of the request of {ref.url}",
        found=f"versions {', '.join(str(version.number) for version in versions)}",
        fix=f"`enginefarm requests {ref.url}` lists them",
    )


def _former_versions(client: S3Client, ref: ReleaseRef) -> list[RequestVersion]:
    return sorted(_listed_versions(client, ref), key=lambda version: version.number)


def _listed_versions(client: S3Client, ref: ReleaseRef) -> Iterator[RequestVersion]:
    for page in pages(client, ref.bucket, f"{ref.key}requests/"):
        for listed in page:
            number = former_request_number(listed.key.removeprefix(ref.key))
            if number is not None:
                yield _version(number, listed)


def _version(number: int, listed: Listed) -> RequestVersion:
    return RequestVersion(number=number, key=listed.key, modified=listed.modified, size=listed.size)


def _read_version(client: S3Client, ref: ReleaseRef, version: RequestVersion) -> bytes:
    address = Address(bucket=ref.bucket, key=version.key)
    data = read_small(client, address, most=_LARGEST_REQUEST, refusal=RequestInvalid)
    if data is None:
        raise NotStored(
            wanted=address.url,
            found="that it was deleted meanwhile",
            fix="restore it, or list the versions again",
        )
    return data


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

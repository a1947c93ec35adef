"""Releases in S3: read without trust, written once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from tasks.children.disk import require_space
from tasks.children.progress import report_progress
from tasks.domain.digest import BlobRef
from tasks.domain.errors import ArchiveRefused, ReleaseIncomplete, RequestInvalid
from tasks.domain.release import REQUEST_FILE, Release, ReleaseFile, ReleaseRef
from tasks.store.listing import Listed, pages
from tasks.store.names import check_paths, model_format, request_file_missing
from tasks.store.s3 import is_missing, is_precondition_failed, s3_errors
from tasks.store.transfer import Address, download, file_ref, put_if_absent, read_small, stored_ref

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_MOST_OBJECTS = 10_000
_LARGEST_REQUEST = 1 << 20
_PROGRESS_STEP = 0.01


def read_request_text(client: S3Client, ref: ReleaseRef) -> str:
    """Return the text of the release's `build.yaml`.

    Raises:
        ReleaseIncomplete: there is none.
        RequestInvalid: it is larger than 1 MiB, or not UTF-8.
        NotStored: there is no such bucket.
        FarmError: as `s3_errors`.
    """
    address = Address(bucket=ref.bucket, key=f"{ref.key}{REQUEST_FILE}")
    data = read_small(client, address, most=_LARGEST_REQUEST, refusal=RequestInvalid)
    if data is None:
        raise request_file_missing(ref.url, _some_paths(client, ref))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestInvalid(
            wanted=f"UTF-8 text in {address.url}",
            found=str(error),
            fix=f"publish a new version with a {REQUEST_FILE} written in an editor",
        ) from error


def _some_paths(client: S3Client, ref: ReleaseRef) -> list[str]:
    page = next(pages(client, ref.bucket, ref.key))
    return [listed.key.removeprefix(ref.key) for listed in page]


def fetch_release(client: S3Client, ref: ReleaseRef, into: Path) -> Release:
    """Download every object of the release at `ref` into the folder `into`, hashing on the way.

    Each object is read in the version that was listed first, so that the files belong together.

    Raises:
        ReleaseIncomplete: no model, several, no `build.yaml`, or an object changed meanwhile.
        ArchiveRefused: a name that is no safe file name, or more than 10,000 objects.
        DiskFull: the disk of `into` is too small.
        FarmError: as `s3_errors`.
    """
    objects = _release_objects(client, ref)
    check_paths(objects, place=ref.url)
    form = model_format(objects, place=ref.url)
    into.mkdir(parents=True, exist_ok=True)
    total = sum(listed.size for listed in objects.values())
    require_space(f"{ref.url} in {into}", total, into)
    files, done, tell = [], 0, _teller(total)
    for path, listed in sorted(objects.items()):
        files.append(_fetch_file(client, ref, into / path, listed, _offset(tell, path, done)))
        done += listed.size
    report_progress("fetch", REQUEST_FILE, 1.0)
    return Release(ref=ref, format=form, files=tuple(files))


def _release_objects(client: S3Client, ref: ReleaseRef) -> dict[str, Listed]:
    """Return what the release holds by path; the empty objects with which consoles mark folders stay out."""
    objects: dict[str, Listed] = {}
    for page in pages(client, ref.bucket, ref.key):
        for listed in page:
            if not (listed.key.endswith("/") and listed.size == 0):
                objects[listed.key.removeprefix(ref.key)] = listed
        if len(objects) > _MOST_OBJECTS:
            raise ArchiveRefused(
                wanted=f"at most {_MOST_OBJECTS} objects in {ref.url}",
                found="more",
                fix="publish the model alone; s3://bucket/prefix/model/version is one version of one model",
            )
    return objects


def _teller(total: int) -> Callable[[str, int], None]:
    """Return what reports progress over the whole release, at most once per hundredth."""
    last = -1.0

    def tell(path: str, received: int) -> None:
        nonlocal last
        fraction = min(received / total, 1.0) if total else 0.0
        if fraction - last >= _PROGRESS_STEP:
            last = fraction
            report_progress("fetch", path, fraction)

    return tell


def _offset(tell: Callable[[str, int], None], path: str, done: int) -> Callable[[int], None]:
    return lambda received: tell(path, done + received)


def _fetch_file(
    client: S3Client, ref: ReleaseRef, path: Path, listed: Listed, received: Callable[[int], None]
) -> ReleaseFile:
    address = Address(bucket=ref.bucket, key=listed.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    received(0)
    with s3_errors(f"to read {address.url}", folder=path.parent):
        try:
            got = download(client, address, path, etag=listed.etag, received=received)
        except ClientError as error:
            if is_precondition_failed(error) or is_missing(error):
                raise _changed(ref, address) from error
            raise
    if got.ref.size != listed.size:
        raise _changed(ref, address)
    return ReleaseFile(
        path=listed.key.removeprefix(ref.key),
        sha256=got.ref.sha256,
        size=got.ref.size,
        etag=got.etag,
        version_id=got.version_id,
    )


def _changed(ref: ReleaseRef, address: Address) -> ReleaseIncomplete:
    return ReleaseIncomplete(
        wanted=f"{ref.url} to stay as it is",
        found=f"{address.url} changed or went away while the release was read",
        fix="wait until its upload has ended; publish changes as a new version",
    )


def publish_release(client: S3Client, ref: ReleaseRef, folder: Path) -> None:
    """Upload the files of `folder` as the release `ref`, `build.yaml` last. Nothing is ever overwritten.

    An upload that was cut off can be repeated: what is there already must be what `folder` holds.

    Raises:
        RequestInvalid: the release is there, or its folder in S3 holds something else.
        ReleaseIncomplete: `folder` has no model, several, or no `build.yaml`.
        ArchiveRefused: `folder` holds links, or a name that no release may hold.
        FarmError: as `s3_errors`.
    """
    files = _local_files(folder)
    check_paths(files, place=str(folder))
    model_format(files, place=str(folder))
    present = _release_objects(client, ref)
    if REQUEST_FILE in present:
        raise _already_there(ref, f"{REQUEST_FILE} of an earlier upload")
    if strange := sorted(present.keys() - files.keys()):
        raise _already_there(ref, f"{strange[0]!r}, which {folder} does not hold")
    order = sorted(files, key=lambda path: (path == REQUEST_FILE, path))
    for number, path in enumerate(order):
        report_progress("publish", path, number / len(order))
        address = Address(bucket=ref.bucket, key=f"{ref.key}{path}")
        mine = file_ref(files[path])
        if not put_if_absent(client, address, files[path], mine) and _standing(client, address) != mine:
            raise _already_there(ref, f"{path!r} with other bytes")
    report_progress("publish", REQUEST_FILE, 1.0)


def _standing(client: S3Client, address: Address) -> BlobRef:
    with s3_errors(f"to read {address.url}"):
        return stored_ref(client, address)


def _local_files(folder: Path) -> dict[str, Path]:
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise ArchiveRefused(
                wanted=f"only files and folders in {folder}",
                found=f"{path} is a link or a device",
                fix="copy what the link points to in its place",
            )
    return files


def _already_there(ref: ReleaseRef, existing: str) -> RequestInvalid:
    return RequestInvalid(
        wanted=f"nothing at {ref.url}: a release never changes",
        found=existing,
        fix="publish under a new version",
    )

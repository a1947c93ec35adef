"""Reads untrusted releases from S3. `tasks.store.publishing` writes them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from tasks.children.disk import require_space
from tasks.children.progress import report_progress
from tasks.domain.errors import ArchiveRefused, ReleaseIncomplete, RequestInvalid
from tasks.domain.printable import printable_name
from tasks.domain.release import REQUEST_FILE, Release, ReleaseFile, ReleaseRef, former_request_number
from tasks.domain.request import BuildRequest
from tasks.store.listing import Listed, pages
from tasks.store.names import check_paths, model_format, request_file_missing
from tasks.store.request_file import parse_request
from tasks.store.s3 import is_missing, is_precondition_failed, s3_errors
from tasks.store.transfer import Address, download, read_small

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_MOST_OBJECTS = 10_000
_LARGEST_REQUEST = 1 << 20
_PROGRESS_STEP = 0.01


def request_address(ref: ReleaseRef) -> Address:
    """Return the address of the release's request file."""
    return Address(bucket=ref.bucket, key=f"{ref.key}{REQUEST_FILE}")


def how_to_correct(ref: ReleaseRef) -> str:
    """Return how to correct the request of a release that is in S3 already."""
    return f"then `enginefarm publish FOLDER {ref.url} --replace-request`: the model is not uploaded again"


def read_request_file(client: S3Client, ref: ReleaseRef) -> bytes:
    """Return the bytes of the release's `build.yaml`.

    Raises:
        ReleaseIncomplete: there is none.
        RequestInvalid: it is larger than 1 MiB.
        NotStored: there is no such bucket.
        FarmError: as `s3_errors`.
    """
    data = read_small(client, request_address(ref), most=_LARGEST_REQUEST, refusal=RequestInvalid)
    if data is None:
        raise request_file_missing(ref.url, _some_paths(client, ref))
    return data


def read_request(client: S3Client, ref: ReleaseRef) -> BuildRequest:
    """Return what the release's `build.yaml` asks for.

    Raises:
        RequestInvalid: it has a wrong key or value.
        FarmError: as `read_request_file`.
    """
    return request_in(ref, read_request_file(client, ref))


def request_in(ref: ReleaseRef, data: bytes) -> BuildRequest:
    """Return what `data`, the request file of the release at `ref`, asks for.

    Raises:
        RequestInvalid: it has a wrong key or value; the error says how to correct it.
    """
    try:
        return parse_request(data, source=request_address(ref).url)
    except RequestInvalid as error:
        fix = f"{error.fix}; {how_to_correct(ref)}"
        raise RequestInvalid(wanted=error.wanted, found=error.found, fix=fix) from error


def check_sample_file(ref: ReleaseRef, request: BuildRequest, paths: Collection[str]) -> None:
    """Refuse a request with a sample file that is not among `paths`, the release's files.

    Raises:
        RequestInvalid: it names one.
    """
    if request.samples is not None and request.samples not in paths:
        raise RequestInvalid(
            wanted=f"the sample file {request.samples!r} that {REQUEST_FILE} names",
            found=f"a release of {', '.join(map(printable_name, paths))}",
            fix=f"put the file into FOLDER beside {REQUEST_FILE}, or correct `samples` there; "
            f"{how_to_correct(ref)}",
        )


def _some_paths(client: S3Client, ref: ReleaseRef) -> list[str]:
    page = next(pages(client, ref.bucket, ref.key))
    return [listed.key.removeprefix(ref.key) for listed in page]


def fetch_release(client: S3Client, ref: ReleaseRef, into: Path) -> Release:
    """Download every object of the release at `ref` into the folder `into`, hashing on the way.

    Each object is read in the listed version, so that the files belong together. The request file may be
    replaced at any time, so its current version is read; its former versions are left out.

    Raises:
        ReleaseIncomplete: no model, several, no `build.yaml`, or an object changed during the download.
        ArchiveRefused: a name is not a safe file name, or there are more than 10,000 objects.
        DiskFull: the disk of `into` is too small.
        FarmError: as `s3_errors`.
    """
    objects = release_objects(client, ref)
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


def release_objects(client: S3Client, ref: ReleaseRef) -> dict[str, Listed]:
    """Return the objects of the release, by path.

    Without former versions of the request file, and without the empty objects by which consoles mark folders.

    Raises:
        ArchiveRefused: more than 10,000 objects.
        FarmError: as `s3_errors`.
    """
    objects: dict[str, Listed] = {}
    for page in pages(client, ref.bucket, ref.key):
        for listed in page:
            path = listed.key.removeprefix(ref.key)
            if former_request_number(path) is None and not (listed.key.endswith("/") and listed.size == 0):
                objects[path] = listed
        if len(objects) > _MOST_OBJECTS:
            raise ArchiveRefused(
                wanted=f"at most {_MOST_OBJECTS} objects in {ref.url}",
                found="more",
                fix="publish only the model; s3://bucket/prefix/model/version is one version of one model",
            )
    return objects


def _teller(total: int) -> Callable[[str, int], None]:
    """Return a function that reports progress over the whole release, at most once per hundredth."""
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
    fixed = address != request_address(ref)
    path.parent.mkdir(parents=True, exist_ok=True)
    received(0)
    with s3_errors(f"to read {address.url}", folder=path.parent):
        try:
            got = download(client, address, path, etag=listed.etag if fixed else None, received=received)
        except ClientError as error:
            if is_precondition_failed(error) or is_missing(error):
                raise _changed(ref, address) from error
            raise
    if fixed and got.ref.size != listed.size:
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
        wanted=f"{ref.url} to stay unchanged",
        found=f"{address.url} changed or disappeared while the release was read",
        fix="wait until its upload has ended, then build again; publish a changed model as a new version",
    )

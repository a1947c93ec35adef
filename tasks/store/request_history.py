"""The versions of a release's request: all that were replaced are kept as `requests/<number>.yaml` beside it.

`enginefarm publish --replace-request` replaces `build.yaml` by compare-and-swap. If two people do so at the
same time, one is refused, so no request is lost. People also upload `build.yaml` by other programs, which
keep nothing. So every run keeps the request that it builds from, unless that is the last one kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.domain.errors import NotStored, RequestInvalid
from tasks.domain.release import REQUEST_FILE, ReleaseRef, former_request_number, former_request_path
from tasks.store.conditional import prove_if_match
from tasks.store.listing import Listed, pages
from tasks.store.releases import read_request_file, release_objects, request_address
from tasks.store.transfer import Address, put_if_absent, put_if_unchanged, read_small

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_LARGEST_REQUEST = 1 << 20
_ROUNDS = 3  # each is lost only to another run that keeps the request of the same release


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestVersion:
    """A version of a release's request file.

    Attributes:
        number: 1 for the oldest version; the current one has the highest.
        key: its key in S3.
        modified: when it was written, in UTC; for a former version, when it was kept.
        size: number of bytes.
    """

    number: int
    key: str
    modified: datetime
    size: int


def keep_request(client: S3Client, ref: ReleaseRef, data: bytes) -> Address:
    """Keep `data`, the request of the release at `ref`, unless it is the last one kept; return its address.

    If it is replaced at the same time, its place among the versions may be later than it was; none is lost.

    Raises:
        RequestInvalid: others kept requests during each attempt.
        FarmError: as `s3_errors`.
    """
    for _ in range(_ROUNDS):
        kept = _kept_versions(client, ref)
        last = kept[-1] if kept else None
        if last is not None and _read_version(client, ref, last) == data:
            return Address(bucket=ref.bucket, key=last.key)
        path = former_request_path(last.number + 1 if last else 1)
        address = Address(bucket=ref.bucket, key=f"{ref.key}{path}")
        if put_if_absent(client, address, data):
            return address
    raise _replaced_by_another(ref)


def replace_request_file(client: S3Client, ref: ReleaseRef, file: Path, former: Listed) -> None:
    """Keep the request file that is in S3, then replace it by `file`, unless it changed meanwhile.

    Raises:
        RequestInvalid: it changed.
        StoreUnsafe: the server ignores the condition, so another's request could be lost.
        FarmError: as `s3_errors`.
    """
    data = read_request_file(client, ref)
    prove_if_match(client, keep_request(client, ref, data), data)
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
    data = read_request_file(client, ref)
    kept = _kept_versions(client, ref)
    if kept and _read_version(client, ref, kept[-1]) == data:
        kept.pop()  # the current one, which a run kept
    number = kept[-1].number + 1 if kept else 1
    return (*kept, _version(number, release_objects(client, ref)[REQUEST_FILE]))


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


def _kept_versions(client: S3Client, ref: ReleaseRef) -> list[RequestVersion]:
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

"""Requests of consumers in the store. Consumers write them: Python 3.10, boto3 alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import ClientError

from tasks.domain.errors import RecordInvalid
from tasks.domain.wanted import ROOT, WantedEngine
from tasks.store.listing import Listed, pages
from tasks.store.s3 import is_missing, s3_errors
from tasks.store.transfer import Address, read_small

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_LARGEST = 1 << 12


class Place(Protocol):
    """What of a store is needed here."""

    @property
    def client(self) -> S3Client:
        """The S3 client."""

    @property
    def bucket(self) -> str:
        """The bucket."""

    def address(self, key: str) -> Address:
        """Return the address of `key`, which is relative to the store's root."""


def ask_for(place: Place, wanted: WantedEngine) -> None:
    """Ask the farm for an engine.

    Raises:
        FarmError: as `s3_errors`.
    """
    address = place.address(wanted.key)
    with s3_errors(f"to ask for an engine at {address.url}"):
        place.client.put_object(
            Bucket=address.bucket, Key=address.key, Body=wanted.to_json(), ContentType="application/json"
        )


def asked_for(place: Place) -> Iterator[Listed]:
    """Yield the objects with requests.

    Raises:
        FarmError: as `s3_errors`.
    """
    for page in pages(place.client, place.bucket, place.address(ROOT).key):
        yield from page


def read_wanted(place: Place, listed: Listed) -> bytes | None:
    """Return the content of a request; None if it is gone.

    Raises:
        RecordInvalid: it is too large for one.
        FarmError: as `s3_errors`.
    """
    address = Address(bucket=place.bucket, key=listed.key)
    return read_small(place.client, address, most=_LARGEST, refusal=RecordInvalid)


def remove_wanted(place: Place, listed: Listed) -> None:
    """Remove a request, unless somebody has replaced it since it was listed; a replaced one is new.

    Raises:
        FarmError: as `s3_errors`.
    """
    address = Address(bucket=place.bucket, key=listed.key)
    with s3_errors(f"to remove {address.url}"):
        try:
            now = place.client.head_object(Bucket=address.bucket, Key=address.key)
        except ClientError as error:
            if is_missing(error):
                return
            raise
        if now["ETag"].strip('"') == listed.etag:
            place.client.delete_object(Bucket=address.bucket, Key=address.key)

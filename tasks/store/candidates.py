"""Engines among which a consumer chooses, read from their records. Consumers: Python 3.10, boto3 alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from tasks.domain.candidate import Candidate, CandidateError, candidate_of_record
from tasks.domain.errors import RecordInvalid
from tasks.store.listing import pages
from tasks.store.readers import reading_threads
from tasks.store.transfer import Address, read_small

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_LARGEST_RECORD = 16 << 20
_READERS = 8
_LOG = logging.getLogger(__name__)


class Place(Protocol):
    """Where a store is in S3."""

    @property
    def client(self) -> S3Client:
        """The S3 client; several threads may use it."""

    @property
    def bucket(self) -> str:
        """The bucket."""

    @property
    def url(self) -> str:
        """The store's URL."""

    def address(self, key: str) -> Address:
        """Return the address of `key`, which is relative to the store's root."""


def stored_candidates(place: Place, model: str, version: str) -> list[Candidate]:
    """Return the engines of a release by their records. An unreadable record is left out, with a warning.

    Raises:
        FarmError: as `s3_errors`.
    """
    return list(_candidates(place, f"engines/{model}/{version}/"))


def _candidates(place: Place, below: str) -> Iterator[Candidate]:
    root = place.address("").key
    with reading_threads(_READERS) as readers:
        for page in pages(place.client, place.bucket, f"{root}{below}"):
            keys = [listed.key.removeprefix(root) for listed in page if listed.key.endswith(".json")]
            for candidate in readers.map(lambda key: stored_candidate(place, key), keys):
                if candidate is not None:
                    yield candidate


def stored_candidate(place: Place, key: str) -> Candidate | None:
    """Return the engine of the record at `key`; None if there is none, or it cannot be read, with a warning.

    Raises:
        FarmError: as `s3_errors`.
    """
    address = place.address(key)
    try:
        data = read_small(place.client, address, most=_LARGEST_RECORD, refusal=RecordInvalid)
        candidate = None if data is None else candidate_of_record(data)
    except (CandidateError, RecordInvalid) as error:
        _LOG.warning("left out %s: %s", address.url, error)
        return None
    if candidate is not None and candidate.key != key:
        _LOG.warning("left out %s: it is the record of %s", address.url, candidate.key)
        return None
    return candidate

"""Which agents exist, in the store: one small document for each work pool, which its agents rewrite."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from tasks.domain.errors import NotStored, RecordInvalid
from tasks.domain.offer import Announcement
from tasks.store.listing import pages
from tasks.store.records import record_from_json, record_to_json
from tasks.store.s3 import s3_errors
from tasks.store.store import Store
from tasks.store.transfer import read_small

_LOG = logging.getLogger(__name__)
_ROOT = "targets/"
_LARGEST = 1 << 20


def announce(store: Store, announcement: Announcement) -> None:
    """Write `announcement` over what the pool's agents wrote before.

    Raises:
        FarmError: as `s3_errors`.
    """
    address = store.address(announcement.key)
    with s3_errors(f"to write {address.url}"):
        store.client.put_object(
            Bucket=address.bucket,
            Key=address.key,
            Body=record_to_json(announcement),
            ContentType="application/json",
        )


def announcements(store: Store) -> Iterator[Announcement]:
    """Yield what agents announced, by the names of their pools; what cannot be read is left out and logged.

    Raises:
        FarmError: as `s3_errors`.
    """
    root = store.address("").key
    for page in pages(store.client, store.bucket, f"{root}{_ROOT}"):
        for listed in page:
            found = _read(store, listed.key.removeprefix(root))
            if found is not None:
                yield found


def withdraw(store: Store, pool: str) -> None:
    """Take the announcement of `pool` back: nothing more is asked of it, until an agent of it starts.

    Raises:
        NotStored: there is none.
        FarmError: as `s3_errors`.
    """
    if pool not in {one.pool for one in announcements(store)}:
        raise NotStored(
            wanted=f"agents of the pool {pool} in {store.url}",
            found="no announcement of them",
            fix="`enginefarm status` shows the pools",
        )
    address = store.address(f"{_ROOT}{pool}.json")
    with s3_errors(f"to delete {address.url}"):
        store.client.delete_object(Bucket=address.bucket, Key=address.key)


def _read(store: Store, key: str) -> Announcement | None:
    address = store.address(key)
    try:
        body = read_small(store.client, address, most=_LARGEST, refusal=RecordInvalid)
        if body is None:
            return None
        found = record_from_json(body, Announcement, source=address.url)
        _check(found, key)
    except RecordInvalid as error:
        _LOG.warning("%s", error)
        return None
    return found


def _check(found: Announcement, key: str) -> None:
    if found.key != key:
        raise RecordInvalid(
            wanted=f"the announcement of {key}",
            found=f"that of {found.pool}",
            fix="delete what was put there by hand: an agent writes its own when it starts",
        )

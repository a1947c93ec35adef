"""Which agents exist, in the store: one small document for each work pool, which its agents rewrite."""

from __future__ import annotations

import logging

from tasks.domain.errors import NotStored, RecordInvalid
from tasks.domain.offer import Announcement
from tasks.store.records import Document, record_to_json
from tasks.store.s3 import s3_errors
from tasks.store.store import Store

_LOG = logging.getLogger(__name__)


def announce(store: Store, announcement: Announcement) -> None:
    """Write `announcement` over what the pool's agents wrote before; keys that are not known here stay.

    Raises:
        RecordInvalid: a newer version of enginefarm wrote what is there.
        FarmError: as `s3_errors`.
    """
    address = store.address(announcement.key)
    former = _former(store, announcement.key)
    with s3_errors(f"to write {address.url}"):
        store.client.put_object(
            Bucket=address.bucket,
            Key=address.key,
            Body=record_to_json(announcement, over=former),
            ContentType="application/json",
        )


def _former(store: Store, key: str) -> Document[Announcement] | None:
    try:
        return store.find_document(key, Announcement)
    except RecordInvalid as error:
        if error.newer:
            raise
        _LOG.warning("it is replaced: %s", error)
        return None


def announced_pools(store: Store) -> frozenset[str]:
    """Return the pools that agents announced, also if a newer version of enginefarm announced them.

    Raises:
        FarmError: as `s3_errors`.
    """
    return frozenset(
        key.removeprefix(Announcement.ROOT).removesuffix(".json")
        for key, document in store.look_through(Announcement)
        if not isinstance(document, RecordInvalid) or document.newer
    )


def withdraw(store: Store, pool: str) -> None:
    """Take the announcement of `pool` back: nothing more is asked of it, until an agent of it starts.

    Raises:
        NotStored: there is none.
        RecordInvalid: what is there cannot be read.
        FarmError: as `s3_errors`.
    """
    key = f"{Announcement.ROOT}{pool}.json"
    if store.find(key, Announcement) is None:
        raise NotStored(
            wanted=f"agents of the pool {pool} in {store.url}",
            found="no announcement of them",
            fix="`enginefarm status` shows the pools",
        )
    address = store.address(key)
    with s3_errors(f"to delete {address.url}"):
        store.client.delete_object(Bucket=address.bucket, Key=address.key)

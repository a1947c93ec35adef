"""The agents' announcements in the store: one small document for each work pool, which its agents rewrite."""

from __future__ import annotations

import logging

from tasks.domain.errors import NotStored, RecordInvalid
from tasks.domain.offer import Announcement
from tasks.store.records import Document, record_to_json
from tasks.store.s3 import s3_errors
from tasks.store.store import Store

_LOG = logging.getLogger(__name__)


def announce(store: Store, announcement: Announcement) -> None:
    """Write `announcement` over the pool's previous one; keys that are unknown here are kept.

    Raises:
        RecordInvalid: a newer version of enginefarm wrote the previous one.
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
        _LOG.warning("replaced an unreadable announcement: %s", error)
        return None


def announced_pools(store: Store) -> frozenset[str]:
    """Return the pools that agents announced, even those announced by a newer version of enginefarm.

    Raises:
        FarmError: as `s3_errors`.
    """
    return frozenset(
        key.removeprefix(Announcement.ROOT).removesuffix(".json")
        for key, document in store.look_through(Announcement)
        if not isinstance(document, RecordInvalid) or document.newer
    )


def withdraw(store: Store, pool: str) -> None:
    """Withdraw the announcement of `pool`: nothing is built for it until one of its agents starts.

    NotStored: there is none.
        NotStored: there is none.
        RecordInvalid: the announcement cannot be read.
        FarmError: as `s3_errors`.
    """
    key = f"{Announcement.ROOT}{pool}.json"
    if store.find(key, Announcement) is None:
        raise NotStored(
            wanted=f"agents of the pool {pool} in {store.url}",
            found="no announcement of any",
            fix="`enginefarm status` shows the pools",
        )
    address = store.address(key)
    with s3_errors(f"to delete {address.url}"):
        store.client.delete_object(Bucket=address.bucket, Key=address.key)

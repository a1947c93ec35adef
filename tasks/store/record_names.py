"""Looks up records by their short names. It lists keys and reads no record."""

from __future__ import annotations

from enum import StrEnum

from tasks.domain.errors import NameAmbiguous, NotStored
from tasks.domain.record_names import FEWEST_DIGITS, is_short_name, keys_named, release_named, short_names
from tasks.store.listing import pages
from tasks.store.store import Store

_SHOWN_KEYS = 10


class RecordRoot(StrEnum):
    """Records with short names, by their folder in the store."""

    ENGINES = "engines"
    QUARANTINE = "quarantine"
    TIMING = "timing"


def names_in(store: Store, root: RecordRoot) -> dict[str, str]:
    """Return the short name of each record below `root`, by its key.

    Raises:
        FarmError: as `s3_errors`.
    """
    return short_names(_keys(store, f"{root}/"))


def key_named(store: Store, root: RecordRoot, name: str) -> str:
    """Return the key of the record below `root` with the short name `name`; `name` may also be a key.

    Raises:
        NotStored: no record has that name.
        NameAmbiguous: several records have that name; the error lists their keys.
        FarmError: as `s3_errors`.
    """
    if not is_short_name(name):
        return name
    keys = keys_named(name, _keys(store, f"{root}/{release_named(name)}"))
    if len(keys) == 1:
        return keys[0]
    wanted = f"the record {name} in {store.url}/{root}/"
    if not keys:
        raise NotStored(
            wanted=wanted,
            found="no record whose digest starts with it",
            fix=f"`enginefarm {root} list` shows names and keys; a name has {FEWEST_DIGITS} digits or more",
        )
    more = [f"and {len(keys) - _SHOWN_KEYS} more"] if len(keys) > _SHOWN_KEYS else []
    raise NameAmbiguous(
        wanted=wanted,
        found="\n".join([f"{len(keys)} records:", *keys[:_SHOWN_KEYS], *more]),
        fix="give more digits, VERSION/ or MODEL/VERSION/ before the digits, or a whole key",
    )


def _keys(store: Store, below: str) -> list[str]:
    root = store.address("").key
    listing = pages(store.client, store.bucket, f"{root}{below}")
    return [listed.key.removeprefix(root) for page in listing for listed in page]

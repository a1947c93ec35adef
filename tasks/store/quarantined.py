"""What lies in quarantine."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from tasks.domain.errors import RecordInvalid
from tasks.domain.quarantine import QuarantineRecord
from tasks.store.listing import pages
from tasks.store.store import Store

_LOG = logging.getLogger(__name__)


def quarantined(
    store: Store, *, model: str | None = None, version: str | None = None
) -> Iterator[QuarantineRecord]:
    """Yield what lies in quarantine by key; of one model or version only, if named.

    A record that cannot be read is left out, and a warning in the log names it.

    Raises:
        FarmError: as `s3_errors`.
    """
    root = f"{store.prefix}/" if store.prefix else ""
    for page in pages(store.client, store.bucket, f"{root}quarantine/" + (f"{model}/" if model else "")):
        for listed in page:
            try:
                record = store.find(listed.key.removeprefix(root), QuarantineRecord)
            except RecordInvalid as error:
                _LOG.warning("left out: %s", error)
                continue
            if record is not None and version in (None, record.version):
                yield record

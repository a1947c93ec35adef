"""Where records belong: at the key that their own contents make."""

from __future__ import annotations

from tasks.domain.errors import RecordInvalid
from tasks.domain.keys import conversion_record_key, engine_key
from tasks.domain.quarantine import QuarantineRecord, quarantine_key
from tasks.domain.record import ConversionRecord, EngineRecord


def check_key(record: EngineRecord | ConversionRecord | QuarantineRecord, key: str, url: str) -> None:
    """Refuse `record` at `key`, which lies at `url`, where its contents make another key.

    Raises:
        RecordInvalid: they do, or the record names another model or key than its release and contents.
    """
    if isinstance(record, ConversionRecord):
        _same(conversion_record_key(record.key), key, url)
        return
    own = quarantine_key(record) if isinstance(record, QuarantineRecord) else _engine_key(record)
    ref = record.release.ref
    _same(own, key, url)
    _same(record.key, key, url)
    _same(f"{record.model} {record.version}", f"{ref.model} {ref.version}", url)


def _engine_key(record: EngineRecord) -> str:
    return engine_key(
        release=record.release,
        target=record.target,
        precision=record.options.precision,
        build_digest=record.build_key,
    )


def _same(found: str, wanted: str, url: str) -> None:
    if found != wanted:
        raise RecordInvalid(
            wanted=f"a record of {wanted} in {url}",
            found=found,
            fix="delete what was put there by hand, and build again: the farm writes no such record",
        )

"""Documents as other versions of enginefarm write them: earlier commits, and versions yet to come."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from tasks.store.records import Record, record_to_json
from tasks.store.store import Store

_ROOT = Path(__file__).parents[1] / "assets" / "records"
COMMITS = sorted(folder.name for folder in _ROOT.iterdir() if folder.is_dir())
UNKNOWN = "of_a_later_version"


def files_of(commit: str) -> dict[str, bytes]:
    """Return what `commit` wrote into a store, by key."""
    folder = _ROOT / commit
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def upload(store: Store, files: Mapping[str, bytes]) -> None:
    for key, data in files.items():
        address = store.address(key)
        store.client.put_object(Bucket=address.bucket, Key=address.key, Body=data)


def bytes_at(store: Store, key: str) -> bytes:
    address = store.address(key)
    return store.client.get_object(Bucket=address.bucket, Key=address.key)["Body"].read()


def document_of(record: Record) -> dict[str, Any]:
    """Return today's document of `record`."""
    return dict(json.loads(record_to_json(record)))


def later_document(record: Record) -> dict[str, Any]:
    """Return the document of `record` with a key at every level that today's version does not know."""
    document = document_of(record)
    _extend(document, record)
    return document


def _extend(document: Any, value: Any) -> None:
    if is_dataclass(value):
        document[UNKNOWN] = {"answer": 42}
        for field in fields(value):
            _extend(document[field.name], getattr(value, field.name))
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            _extend(document[str(name)], inner)
    elif isinstance(value, tuple):
        for item, inner in zip(document, value, strict=True):
            _extend(item, inner)


def unknown_keys(document: Any, place: str = "") -> list[str]:
    """Return where in `document` there is a key that today's version does not know."""
    if isinstance(document, list):
        return [
            unknown
            for index, item in enumerate(document)
            for unknown in unknown_keys(item, f"{place}[{index}]")
        ]
    if not isinstance(document, dict):
        return []
    here = [place or "."] if UNKNOWN in document else []
    return here + [
        unknown for key, value in document.items() for unknown in unknown_keys(value, f"{place}.{key}")
    ]


def next_major(data: bytes) -> bytes:
    """Return a document of the next major version of the same schema, which has another form."""
    return json.dumps({"schema": json.loads(data)["schema"].replace("/1", "/2"), "content": []}).encode()

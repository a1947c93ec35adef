"""Records as JSON documents. What is read is exactly what was written, or an error."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any, NoReturn, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from tasks.domain.errors import RecordInvalid
from tasks.domain.offer import Announcement
from tasks.domain.printable import printable
from tasks.domain.quarantine import QuarantineRecord
from tasks.domain.record import ConversionRecord, EngineRecord
from tasks.domain.timing import TimingRecord

Record = EngineRecord | ConversionRecord | QuarantineRecord | TimingRecord | Announcement
R = TypeVar("R", EngineRecord, ConversionRecord, QuarantineRecord, TimingRecord, Announcement)

_ADAPTERS: dict[type, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in get_args(Record)}
_SCHEMAS: dict[type, str] = {
    kind: next(str(field.default) for field in fields(kind) if field.name == "schema") for kind in _ADAPTERS
}
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SHOWN_ERRORS = 5


def record_to_json(record: Record) -> bytes:
    """Return the UTF-8 JSON document of `record`, indented for people, ending in a line feed.

    Raises:
        RecordInvalid: a figure is NaN or infinite, or a value has no JSON form.
    """
    adapter = _ADAPTERS[type(record)]
    try:
        # Read-only mappings are no `dict`; what else is not as declared shows when it is read back.
        document = adapter.dump_python(record, mode="json", fallback=dict, warnings="none")
        data = (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
        if adapter.validate_json(data, strict=True) != record:
            raise ValueError("a value that changes when it is written and read back")  # noqa: TRY301
    except (ValueError, TypeError, PydanticSerializationError) as error:
        raise RecordInvalid(
            wanted=f"to write the record {record.key} as JSON",
            found=str(error),
            fix="a record holds finite numbers and texts: report this with the record's model",
        ) from error
    return data


def engine_record_from_json(data: bytes) -> EngineRecord:
    """Read what `record_to_json` wrote.

    Raises:
        RecordInvalid: the document is no engine record of a schema that this version reads.
    """
    return record_from_json(data, EngineRecord, source="an engine record")


def conversion_record_from_json(data: bytes) -> ConversionRecord:
    """Read what `record_to_json` wrote.

    Raises:
        RecordInvalid: the document is no conversion record of a schema that this version reads.
    """
    return record_from_json(data, ConversionRecord, source="a conversion record")


def record_schema() -> dict[str, Any]:
    """Return the JSON Schema of an engine record, for readers that are not written in Python."""
    schema = _ADAPTERS[EngineRecord].json_schema(mode="serialization")
    # It has a default in Python alone: no document goes without.
    return {"$schema": _DRAFT} | schema | {"required": ["schema", *schema["required"]]}


def record_from_json(data: bytes, kind: type[R], *, source: str) -> R:
    """Read a record of `kind`; `source` names the document in errors.

    Raises:
        RecordInvalid: the document is no record of that kind and of a schema that this version reads.
    """
    adapter, schema = _ADAPTERS[kind], _SCHEMAS[kind]
    try:
        document = json.loads(data, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise _invalid(source, f"no JSON document: {error}") from error
    found = document.get("schema") if isinstance(document, dict) else None
    if found != schema:
        raise RecordInvalid(
            wanted=f"{source} with schema {schema}",
            found=f"schema {found!r}" if found is not None else "a document without a schema",
            fix="update the farm if the record is newer; otherwise something else lies at its key",
        )
    try:
        record: R = adapter.validate_json(data, strict=True)
    except ValidationError as error:
        shown = error.errors(include_url=False, include_input=False)[:_SHOWN_ERRORS]
        places = (f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in shown)
        raise _invalid(source, printable("; ".join(places))) from error
    return record


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("an object has a key twice")
    return document


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _invalid(source: str, found: str) -> RecordInvalid:
    return RecordInvalid(
        wanted=f"{source} that can be read",
        found=found,
        fix="delete the record and build again: the farm never writes one like this",
    )

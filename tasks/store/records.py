"""Records as JSON documents, and their keys.

During an upgrade, the hosts of a farm have different versions of enginefarm. So a reader ignores unknown
keys, at every level, and refuses a newer major version of the schema with the advice to update this host.
Code that rewrites or copies a record keeps unknown keys.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, fields
from typing import Any, Generic, NoReturn, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError

from tasks.domain.errors import RecordInvalid
from tasks.domain.hashed_release import HashedRelease
from tasks.domain.keys import conversion_record_key, engine_key
from tasks.domain.offer import Announcement
from tasks.domain.printable import printable
from tasks.domain.quarantine import QuarantineRecord, quarantine_key
from tasks.domain.record import ConversionRecord, EngineRecord
from tasks.domain.recorded_key import recorded_build_key
from tasks.domain.timing import TimingRecord

Record = EngineRecord | ConversionRecord | QuarantineRecord | TimingRecord | Announcement | HashedRelease
R = TypeVar("R", bound=Record)

_ADAPTERS: dict[type, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in get_args(Record)}
_SCHEMAS: dict[type, str] = {
    kind: next(str(field.default) for field in fields(kind) if field.name == "schema") for kind in _ADAPTERS
}
_OF_CONVERSION = {
    "onnx": "onnx", "weights": "weights", "reference": "reference", "graph_verification": "verification",
    "quantisation": "quantisation",
}  # fmt: skip
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SHOWN_ERRORS = 5
_NEW_VALUES = {"enum", "literal_error"}
UPDATE = "update enginefarm on this host: a newer version wrote this"
"""The fix of each error about a correct record that this version cannot read."""
_RESTORE = (
    "restore the object from a backup or from the bucket's versions: the farm never writes one like this"
)
_REPLACED: dict[type, str] = {  # these are rewritten regularly
    TimingRecord: "nothing: the next build for this GPU and TensorRT replaces it",
    Announcement: "start an agent of this pool: it replaces the announcement",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document(Generic[R]):
    """A record, and the document that it was read from.

    Attributes:
        record: what this version understands of the document.
        data: the document's bytes, with keys that this version does not know.
    """

    record: R
    data: bytes


def record_to_json(record: Record, *, over: Document[Any] | None = None) -> bytes:
    """Return the UTF-8 JSON document of `record`, indented for people, with a line feed at the end.

    Args:
        record: the record to write.
        over: the document that `record` replaces or was copied from; for an engine, that of its conversion.
            Its keys that this version does not know are kept, at every level.

    Raises:
        RecordInvalid: a figure is NaN or infinite, or a value has no JSON form.
    """
    adapter = _ADAPTERS[type(record)]
    try:
        document = _dump(record)
        if over is not None:
            _keep_unknown(document, *_as_part_of(record, json.loads(over.data), _dump(over.record)))
        data = (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
        if adapter.validate_json(data, strict=True, extra="ignore") != record:
            raise ValueError("a value that changes when it is written and read back")  # noqa: TRY301
    except (ValueError, TypeError, PydanticSerializationError) as error:
        raise RecordInvalid(
            wanted=f"to write the record {record.key} as JSON",
            found=str(error),
            fix="a record may contain only finite numbers and texts: report this with the record's model",
        ) from error
    _check_build_key(record, document, record.key)
    return data


def _dump(record: Record) -> Any:
    # Read-only mappings are not `dict`; any other undeclared type shows when the document is read back.
    return _ADAPTERS[type(record)].dump_python(record, mode="json", fallback=dict, warnings="none")


def _as_part_of(record: Record, *documents: Any) -> tuple[Any, ...]:
    """Return `documents` where `record` has them: an engine repeats parts of its conversion."""
    if not isinstance(record, EngineRecord) or documents[0].get("schema") != _SCHEMAS[ConversionRecord]:
        return documents
    return tuple({name: document.get(of) for name, of in _OF_CONVERSION.items()} for document in documents)


def _keep_unknown(document: Any, former: Any, understood: Any) -> None:
    """Add to `document` the keys of `former` that `understood`, which is `former` as it was read, lacks.

    Names in a mapping, for example the packages in `tools`, are understood, so they do not count as keys
    here. An item of a list keeps its keys if it stays the same.
    """
    if isinstance(former, dict) and isinstance(understood, dict) and isinstance(document, dict):
        for key, value in former.items():
            if key not in understood:
                document.setdefault(key, value)
            elif key in document:
                _keep_unknown(document[key], value, understood[key])
    elif isinstance(former, list) and isinstance(understood, list) and isinstance(document, list):
        for item, before, read in zip(document, former, understood, strict=False):
            if item == read:
                _keep_unknown(item, before, read)


def engine_record_from_json(data: bytes) -> EngineRecord:
    """Parse what `record_to_json` wrote.

    Raises:
        RecordInvalid: the document is not an engine record with a schema that this version reads.
    """
    return record_from_json(data, EngineRecord, source="an engine record")


def record_schema() -> dict[str, Any]:
    """Return the JSON Schema of an engine record, for readers in other languages than Python."""
    schema: dict[str, Any] = _open(_ADAPTERS[EngineRecord].json_schema(mode="serialization"))
    # It has a default only in Python: every document has it.
    return {"$schema": _DRAFT} | schema | {"required": ["schema", *schema["required"]]}


def _open(schema: Any) -> Any:
    """Return `schema` without the ban on further keys, which some classes have as parts of a request."""
    if isinstance(schema, list):
        return [_open(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _open(value) for key, value in schema.items() if (key, value) != ("additionalProperties", False)
    }


def record_from_json(data: bytes, kind: type[R], *, source: str) -> R:
    """Parse a record of `kind`; `source` names the document in errors. Unknown keys are ignored.

    Raises:
        RecordInvalid: the document is not a record of that kind with a schema that this version reads.
    """
    try:
        document = json.loads(data, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise _damaged(source, kind, f"not a JSON document: {error}") from error
    _check_schema(document, kind, source)
    try:
        record: R = _ADAPTERS[kind].validate_json(data, strict=True, extra="ignore")
    except ValidationError as error:
        raise _unreadable(source, kind, error.errors(include_url=False)) from error
    _check_build_key(record, document, source)
    return record


def _check_build_key(record: Record, document: dict[str, Any], source: str) -> None:
    """Refuse an engine whose release, options, opset, tools and target do not make its build key.

    The key of a record from before it had `opset` cannot be recomputed.
    """
    if not isinstance(record, EngineRecord) or recorded_build_key(document) in (None, record.build_key):
        return
    raise RecordInvalid(
        wanted=f"{source} with the build key that its contents make",
        found=f"the build key {record.build_key} of other contents",
        fix=f"{_RESTORE}; find out who changed it",
    )


def _check_schema(document: Any, kind: type[R], source: str) -> None:
    wanted, schema = _SCHEMAS[kind], document.get("schema") if isinstance(document, dict) else None
    if schema == wanted:
        return
    name, _, major = wanted.partition("/")
    match = re.fullmatch(rf"{re.escape(name)}/(\d{{1,9}})", schema) if isinstance(schema, str) else None
    newer = match is not None and int(match[1]) > int(major)
    error = RecordInvalid(
        wanted=f"{source} with schema {wanted}",
        found="a document without a schema" if schema is None else f"schema {schema!r}",
        fix=UPDATE if newer else "find out who wrote it: the farm writes no such document at this key",
    )
    error.newer = newer
    raise error


def _unreadable(source: str, kind: type[R], errors: list[ErrorDetails]) -> RecordInvalid:
    """Return the error for a document. Values outside this version's lists are from a later version."""
    problem = printable("; ".join(map(_place_of_error, errors[:_SHOWN_ERRORS])))
    if not any(error["type"] in _NEW_VALUES for error in errors):
        return _damaged(source, kind, problem)
    invalid = RecordInvalid(wanted=f"{source} with values that this version knows", found=problem, fix=UPDATE)
    invalid.newer = True
    return invalid


def _place_of_error(error: ErrorDetails) -> str:
    value = f" {error['input']!r}:" if error["type"] in _NEW_VALUES else ""
    return f"{'.'.join(str(part) for part in error['loc'])}:{value} {error['msg']}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("an object has a key twice")
    return document


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _damaged(source: str, kind: type[R], problem: str) -> RecordInvalid:
    fix = _REPLACED.get(kind, _RESTORE)
    return RecordInvalid(wanted=f"{source} that can be read", found=problem, fix=fix)


def check_key(record: Record, key: str, url: str) -> None:
    """Refuse `record` at `key`, whose URL is `url`, if its contents belong at another key.

    Raises:
        RecordInvalid: they do, or the record's model or key differ from its release and contents.
    """
    keys = _keys_of(record)
    if key not in keys:
        raise _misplaced(type(record), keys[0], key, url)
    if isinstance(record, EngineRecord | QuarantineRecord):
        ref = record.release.ref
        named, made_from = f"{record.model} {record.version}", f"{ref.model} {ref.version}"
        if named != made_from:
            raise _misplaced(type(record), named, made_from, url)
    if not isinstance(record, ConversionRecord) and record.key != key:
        raise _misplaced(type(record), record.key, key, url)


def _keys_of(record: Record) -> tuple[str, ...]:
    """Return the possible keys of `record`, made from its contents."""
    match record:
        case ConversionRecord():
            return (conversion_record_key(record.key),)
        case QuarantineRecord():
            return (quarantine_key(record),)
        case TimingRecord():
            made_for = record.made_for
            # From before CUDA was part of it: the key was made of a field that this version does not read.
            recorded = made_for.recorded(record.cache.sha256)
            return (made_for.shared, recorded) if made_for.cuda else (record.key,)
        case Announcement() | HashedRelease():
            return (record.key,)
        case EngineRecord():
            key = engine_key(
                release=record.release,
                target=record.target,
                precision=record.options.precision,
                build_digest=record.build_key,
            )
            return (key,)


def _misplaced(kind: type, actual: str, wanted: str, url: str) -> RecordInvalid:
    restore = "find out who wrote it: the farm writes no such record. Restore the object from a backup"
    return RecordInvalid(
        wanted=f"a record of {wanted} in {url}", found=actual, fix=_REPLACED.get(kind, restore)
    )

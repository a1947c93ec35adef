"""Parses notifications of S3 servers of any kind: which objects were created.

Nothing here contacts a server. A notification is only a hint: the agent looks at the object itself before it
starts anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from tasks.domain.printable import printable_name
from tasks.domain.release import REQUEST_FILE
from tasks.domain.release_place import CreatedObject

_TEST_EVENT = "s3:TestEvent"
_CREATED = "ObjectCreated:"
_EVENT_BRIDGE, _CREATED_ON_EVENT_BRIDGE = "aws.s3", "Object Created"
_SHOWN = 200


def _quoted(key: str) -> str:
    """Decode a key that is URL-encoded as in web forms: `+` is a space; slashes may be encoded or not."""
    return unquote_plus(key, errors="strict")


def _plain(key: str) -> str:
    return key


_READ_KEY: Mapping[str, Callable[[str], str]] = {"aws:s3": _quoted, "minio:s3": _quoted, "ceph:s3": _plain}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """The content of one message.

    Attributes:
        created: the request files that were created, in the message's order, without other objects.
        unreadable: why parts of the message cannot be read, for people; empty if all parts can.
    """

    created: tuple[CreatedObject, ...] = ()
    unreadable: tuple[str, ...] = ()


def read_notification(body: str) -> Notification:
    """Read the body of a message: records of AWS, MinIO or Ceph, an event of EventBridge, or a test event.

    Never raises for malformed content: the result says what cannot be read. Messages that AWS's notification
    service (SNS) forwarded are read, too.
    """
    document = _parse_json(body)
    if isinstance(document, dict) and document.get("Type") == "Notification":
        document = _parse_json(document.get("Message"))
    if not isinstance(document, dict):
        return Notification(unreadable=(f"no JSON object: {_shown(body)}",))
    if document.get("Event") == _TEST_EVENT:
        return Notification()
    created, unreadable = [], []
    for record in _event_records(document):
        try:
            created_object = _object_of(record)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            unreadable.append(
                f"{type(error).__name__} ({_shown(str(error))}) in {_shown(json.dumps(record))}"
            )
        else:
            if created_object is not None and created_object.key.split("/")[-1] == REQUEST_FILE:
                created.append(created_object)
    return Notification(created=tuple(dict.fromkeys(created)), unreadable=tuple(unreadable))


def _parse_json(text: object) -> Any:
    """Return the JSON document in `text`; None if there is none."""
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _event_records(document: dict[str, Any]) -> Iterator[Any]:
    """Yield the records of a document, one per object; a document without records is itself one."""
    records = document.get("Records")
    if isinstance(records, list):
        yield from records
    else:
        yield document


def _object_of(record: Any) -> CreatedObject | None:
    """Return the object that was created; None if the record reports something else.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: the record has no known form.
    """
    if not isinstance(record, dict):
        raise TypeError("no JSON object")
    read_key: Callable[[str], str]
    if record.get("source") == _EVENT_BRIDGE:
        place, read_key = record["detail"], _plain
        is_created = record["detail-type"] == _CREATED_ON_EVENT_BRIDGE
    else:
        # Ceph and MinIO put `s3:` in front of the name, as their configuration does.
        is_created = record["eventName"].removeprefix("s3:").startswith(_CREATED)
        place, read_key = record["s3"], _reader(record["eventSource"])
    if not is_created:
        return None
    bucket, key = place["bucket"]["name"], place["object"]["key"]
    if not (isinstance(bucket, str) and bucket and isinstance(key, str) and key):
        raise ValueError("no names for the bucket and the object")
    created = CreatedObject(bucket=bucket, key=read_key(key))
    created.url.encode()  # half of a surrogate pair is no name
    return created


def _reader(source: object) -> Callable[[str], str]:
    if not isinstance(source, str) or source not in _READ_KEY:
        raise ValueError(f"it is unknown how {source!r} encodes keys")
    return _READ_KEY[source]


def _shown(text: str) -> str:
    return printable_name(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")

"""What a farm has written down, for tests that look for secrets in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import pairwise

from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

from tasks.store.s3 import s3_client

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "SECRET-of-the-access-key-0001",
    "AWS_SESSION_TOKEN": "SECRET-of-the-session-0002",
    "PREFECT_API_AUTH_STRING": "operator:SECRET-of-the-server-0003",
}
"""What processes are told. The servers of tests ask for no password and take every signature."""

MARK = b"SECRET-of-the-"
_AROUND = 150


def secrets_in(written: Iterable[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    """Return the surroundings of every secret, by the place where it stands."""
    return {place: _around(data) for place, data in written if MARK in data}


def _around(data: bytes) -> list[bytes]:
    return [before[-_AROUND:] + MARK + after[:20] for before, after in pairwise(data.split(MARK))]


def all_of_server() -> Iterator[tuple[str, bytes]]:
    """Yield every value in the database of the session's Prefect server: runs, states, events, logs, all."""
    file = str(PREFECT_API_DATABASE_CONNECTION_URL.value()).partition("///")[2]
    database = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)
    database.text_factory = bytes
    try:
        tables = database.execute("select name from sqlite_master where type = 'table'").fetchall()
        for table in (row[0].decode() for row in tables):
            cursor = database.execute(f'select * from "{table}"')  # noqa: S608 (its own names)
            names = [column[0] for column in cursor.description]
            for row in cursor:
                for name, value in zip(names, row, strict=True):
                    if isinstance(value, bytes):
                        yield f"{table}.{name}", value
    finally:
        database.close()


def all_of_store(bucket: str) -> Iterator[tuple[str, bytes]]:
    """Yield every object of a bucket with its key."""
    client = s3_client()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            yield entry["Key"], client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()

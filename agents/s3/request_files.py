"""Request files in S3, for everything that starts builds: where they are, and the priority they ask for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tasks.domain.errors import FarmError
from tasks.domain.priority import Priority
from tasks.domain.release import REQUEST_FILE, ReleaseRef
from tasks.domain.release_place import CreatedObject, ReleasePlace
from tasks.store.listing import Listed, pages
from tasks.store.releases import read_request
from tasks.store.s3 import s3_client, s3_errors


def content_of(created: CreatedObject) -> str:
    """Return S3's identifier of the object's content: its version, or its ETag if it has no version.

    Raises:
        FarmError: as `s3_errors`.
    """
    with s3_errors(f"to look at {created.url}"):
        answer = s3_client().head_object(Bucket=created.bucket, Key=created.key)
    version = answer.get("VersionId", "null")
    # If versioning is suspended, every new content is version "null".
    return version if version != "null" else answer["ETag"].strip('"')


def priority_of(release: ReleaseRef) -> Priority:
    """Return the priority that the request of `release` asks for; the default if the request is invalid.

    Raises:
        FarmError: as `s3_errors`.
    """
    try:
        return read_request(s3_client(), release).priority
    except FarmError as error:
        if not error.about_request:
            raise
        return Priority.DEFAULT  # the run will report what is wrong, where people look


def request_files(
    place: ReleasePlace, since: datetime, *, at_page: Callable[[], None] = lambda: None
) -> list[Listed]:
    """Return the request files below `place` that were written after `since`.

    Args:
        place: where to look.
        since: with a time zone.
        at_page: called for each thousand objects.

    Raises:
        FarmError: as `s3_errors`.
    """
    files = []
    for page in pages(s3_client(), place.bucket, place.root):
        at_page()
        files += [
            listed for listed in page if listed.key.endswith(f"/{REQUEST_FILE}") and listed.modified >= since
        ]
    return files

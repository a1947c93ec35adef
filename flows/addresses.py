"""URLs as people type them."""

from __future__ import annotations

from flows.settings import settings
from tasks.domain.errors import RequestInvalid
from tasks.domain.release import ReleaseRef
from tasks.domain.release_place import ReleasePlace
from tasks.store.store import Store


def release_at(url: str) -> ReleaseRef:
    """Return the release at `url`.

    Raises:
        RequestInvalid: the URL has another form.
    """
    try:
        return ReleaseRef.from_url(url)
    except ValueError as error:
        raise RequestInvalid(
            wanted="a release as s3://BUCKET/PREFIX/MODEL/VERSION",
            found=str(error),
            fix="give the folder that holds build.yaml",
        ) from error


def place_at(url: str) -> ReleasePlace:
    """Return the place of releases at `url`.

    Raises:
        RequestInvalid: the URL has another form.
    """
    try:
        return ReleasePlace.from_url(url)
    except ValueError as error:
        raise RequestInvalid(
            wanted="a place of releases as s3://BUCKET/PREFIX",
            found=str(error),
            fix="give the folder above the models: releases are <model>/<version>/ below it",
        ) from error


def store_at(url: str | None) -> Store:
    """Return the store at `url`, or the one that the settings name.

    Raises:
        RequestInvalid: neither names one.
    """
    url = url or settings().store
    if url is None:
        raise RequestInvalid(
            wanted="the URL of a store",
            found="neither --store nor ENGINEFARM_STORE",
            fix="give --store s3://BUCKET",
        )
    return Store.connect(url)

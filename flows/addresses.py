"""URLs of releases, places and stores, as people type them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from flows.settings import settings
from tasks.domain.errors import RequestInvalid
from tasks.domain.release import REQUEST_FILE, ReleaseRef
from tasks.domain.release_place import ReleasePlace
from tasks.store.store import Store

T = TypeVar("T")


def release_at(url: str) -> ReleaseRef:
    """Return the release at `url`, which may also be that of its `build.yaml`.

    Raises:
        RequestInvalid: it is not the URL of a release.
    """
    wanted, fix = (
        "a release as s3://BUCKET/PREFIX/MODEL/VERSION",
        f"give the folder that contains {REQUEST_FILE}",
    )
    if Path(url).is_dir():
        fix = f"`enginefarm publish {url} s3://BUCKET/PREFIX/MODEL/VERSION` makes a release of it"
    return _parsed(ReleaseRef.from_url, url.removesuffix(f"/{REQUEST_FILE}"), wanted=wanted, fix=fix)


def place_at(url: str) -> ReleasePlace:
    """Return the place of releases at `url`.

    Raises:
        RequestInvalid: it is not the URL of a place.
    """
    fix = "give the folder above the models: releases are <model>/<version>/ below it"
    return _parsed(ReleasePlace.from_url, url, wanted="a place of releases as s3://BUCKET/PREFIX", fix=fix)


def _parsed(parse: Callable[[str], T], url: str, *, wanted: str, fix: str) -> T:
    try:
        return parse(url)
    except ValueError as error:
        raise RequestInvalid(wanted=wanted, found=str(error), fix=fix) from error


def store_at(url: str | None) -> Store:
    """Return the store at `url`, or the store of the settings.

    Raises:
        RequestInvalid: neither names a store.
    """
    url = url or settings().store
    if url is None:
        raise RequestInvalid(
            wanted="the URL of a store",
            found="neither --store nor ENGINEFARM_STORE",
            fix="give --store s3://BUCKET",
        )
    return Store.connect(url)

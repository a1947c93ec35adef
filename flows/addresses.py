"""URLs as people type them."""

from __future__ import annotations

from tasks.domain.errors import RequestInvalid
from tasks.domain.release import ReleaseRef


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

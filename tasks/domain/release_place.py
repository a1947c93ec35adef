"""Places of releases in S3, and the release of an object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tasks.domain.release import REQUEST_FILE, ReleaseRef


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedObject:
    """An object that a notification reports as created.

    Attributes:
        bucket: its bucket.
        key: its full key, as S3's API takes it.
    """

    bucket: str
    key: str

    @property
    def url(self) -> str:
        """The object's URL."""
        return f"s3://{self.bucket}/{self.key}"


class LocationUnknown(Exception):
    """A request file is outside the places of releases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePlace:
    """A place of releases: `s3://bucket/prefix`, or a whole bucket.

    Attributes:
        bucket: the bucket.
        prefix: what precedes the model in every key, without slashes at its ends; may be empty.
    """

    bucket: str
    prefix: str

    @classmethod
    def from_url(cls, url: str) -> ReleasePlace:
        """Read `s3://bucket` or `s3://bucket/prefix`, with or without a last slash.

        Raises:
            ValueError: it is not the URL of a place.
        """
        scheme, _, rest = url.partition("://")
        bucket, *prefix = rest.removesuffix("/").split("/")
        if scheme != "s3" or not bucket or "" in prefix:
            raise ValueError(f"a place of releases has the form s3://bucket/prefix, not {url!r}")
        return cls(bucket=bucket, prefix="/".join(prefix))

    @property
    def root(self) -> str:
        """The common start of all keys below it: the prefix with a slash, or nothing."""
        return f"{self.prefix}/" if self.prefix else ""

    @property
    def url(self) -> str:
        """The place's URL."""
        return f"s3://{self.bucket}/{self.prefix}"

    def release_of(self, created: CreatedObject) -> ReleaseRef | None:
        """Return the release whose request file is `created`; None if `created` is outside the place.

        Raises:
            ValueError: a folder has a name that no model or version can have.
        """
        if created.bucket != self.bucket or not created.key.startswith(self.root):
            return None
        match created.key.removeprefix(self.root).split("/"):
            case [model, version, name] if name == REQUEST_FILE:
                return ReleaseRef(bucket=self.bucket, prefix=self.prefix, model=model, version=version)
        return None


def release_of(created: CreatedObject, places: Iterable[ReleasePlace]) -> ReleaseRef:
    """Return the release whose request file is `created`.

    Its key must be <model>/<version>/build.yaml right below one of `places`: a file of that name deeper down
    may be part of a model.

    Raises:
        LocationUnknown: it is elsewhere, or a folder has a name that no model or version can have.
    """
    allowed = tuple(places)
    for place in allowed:
        try:
            release = place.release_of(created)
        except ValueError as error:
            raise LocationUnknown(f"{created.url}: {error}") from error
        if release is not None:
            return release
    names = ", ".join(place.url for place in allowed)
    raise LocationUnknown(f"{created.url} is not <model>/<version>/{REQUEST_FILE} right below {names}")

"""What a host that could read a release found there: the digests of its files, and its request.

Hosts that build engines never see releases. They hold an order against this record in the store, because an
order is only the parameters of a flow run, which anybody can choose who can create runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tasks.domain.digest import document_digest
from tasks.domain.release import Release


def hashed_release_key(release: Release) -> str:
    """Return the key of the record of `release`, relative to the store's root; each byte has a part in it."""
    ref = release.ref
    files = [[file.path, file.sha256, file.size, file.etag, file.version_id] for file in release.files]
    place = [ref.bucket, ref.prefix, ref.model, ref.version, release.format]
    digest = document_digest({"kind": "release/1", "place": place, "files": files})
    return f"{HashedRelease.ROOT}{digest[:2]}/{digest}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedRelease:
    """A release, as `build-release` downloaded and hashed it.

    Attributes:
        release: its place and its files with their digests.
        request: the text of its `build.yaml`, which is one of the files.
    """

    ROOT: ClassVar[str] = "hashed/"

    schema: Literal["enginefarm.release/1"] = "enginefarm.release/1"
    release: Release
    request: str

    @property
    def key(self) -> str:
        """Its key, relative to the store's root."""
        return hashed_release_key(self.release)

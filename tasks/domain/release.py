"""A release: one version of a model in S3. Its files never change, but its request may be replaced."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar

from tasks.domain.digest import model_digest
from tasks.domain.text_enum import StrEnum

REQUEST_FILE = "build.yaml"
_FORMER_REQUEST = re.compile(r"requests/([1-9][0-9]{0,8})\.yaml")
_BUCKET = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
_PREFIX = r"^([^/]+(/[^/]+)*)?$"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
_NAMES = "letters, digits, '.', '_' and '-', at most 128, the first a letter or digit"
_URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]+)/(?P<key>.+?)/?")


class ModelFormat(StrEnum):
    """The forms of a model in a release; the value is the file or folder name."""

    KERAS = "model.keras"
    H5 = "model.h5"
    SAVED_MODEL = "saved_model"
    SAVED_MODEL_TAR = "saved_model.tar.gz"
    SAVED_MODEL_ZIP = "saved_model.zip"
    ONNX = "model.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRef:
    """The place of a release: `s3://bucket/prefix/model/version/`.

    Attributes:
        bucket: S3 bucket.
        prefix: what precedes the model in every key, without slashes at its ends; may be empty.
        model: name of the model.
        version: name of the version.

    The field's metadata is for forms, which show and check it; `__post_init__` checks everywhere.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    bucket: str = field(
        metadata={
            "description": "S3 bucket that holds the release.",
            "pattern": _BUCKET,
            "examples": ["my-bucket"],
        }
    )
    prefix: str = field(
        default="",
        metadata={
            "description": "Folders above the model, without slashes at the ends. Empty: the bucket's top.",
            "pattern": _PREFIX,
            "examples": ["models"],
        },
    )
    model: str = field(
        metadata={"description": f"Name of the model: {_NAMES}.", "pattern": _NAME, "examples": ["resnet"]}
    )
    version: str = field(
        metadata={"description": f"Name of the version: {_NAMES}.", "pattern": _NAME, "examples": ["7"]}
    )

    def __post_init__(self) -> None:
        for name in (self.model, self.version):
            if not _fits(_NAME, name):
                raise ValueError(f"{name!r} is not a name of a model or version: {_NAMES}")
        if not _fits(_BUCKET, self.bucket):
            raise ValueError(
                f"{self.bucket!r} is not a bucket: 3 to 63 lowercase letters, digits, '.' and '-'"
            )
        if not _fits(_PREFIX, self.prefix) or {".", ".."} & set(self.prefix.split("/")):
            raise ValueError(
                f"{self.prefix!r} is not a prefix: names with single slashes between, no '.' or '..'"
            )

    @classmethod
    def from_url(cls, url: str) -> ReleaseRef:
        """Read `s3://bucket/prefix/model/version`, with or without a last slash.

        Raises:
            ValueError: it is not the URL of a release.
        """
        match = _URL.fullmatch(url)
        parts = match["key"].split("/") if match else []
        if match is None or len(parts) < 2:  # noqa: PLR2004 (model and version)
            raise ValueError(f"a release has the form s3://bucket/prefix/model/version, not {url!r}")
        *prefix, model, version = parts
        return cls(bucket=match["bucket"], prefix="/".join(prefix), model=model, version=version)

    @property
    def key(self) -> str:
        """The key of the release's folder, ending in a slash."""
        return "/".join(part for part in (self.prefix, self.model, self.version) if part) + "/"

    @property
    def url(self) -> str:
        """The release's URL."""
        return f"s3://{self.bucket}/{self.key}"


def former_request_path(number: int) -> str:
    """Return the path of the former version `number` of the request file, below the release's folder."""
    return f"requests/{number}.yaml"


def former_request_number(path: str) -> int | None:
    """Return the number of the former request file at `path`, below the folder; None if it is none."""
    match = _FORMER_REQUEST.fullmatch(path)
    return int(match[1]) if match else None


def _fits(pattern: str, text: str) -> bool:
    return "\n" not in text and re.match(pattern, text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFile:
    """One object of a release, as it was read.

    Attributes:
        path: name below the release's folder.
        sha256: digest of the bytes that were read.
        size: number of bytes.
        etag: S3's entity tag at that moment, unquoted.
        version_id: S3's version of the object; None if the bucket keeps no versions.
    """

    path: str
    sha256: str
    size: int
    etag: str
    version_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release, as it was read.

    Attributes:
        ref: its place in S3.
        format: the form of its model.
        files: every object that was read, by path; including the request file.
    """

    ref: ReleaseRef
    format: ModelFormat
    files: tuple[ReleaseFile, ...]

    @property
    def model_digest(self) -> str:
        """Digest of the model's bytes, including every weight file; without the request file."""
        return model_digest(self.format, {file.path: file.sha256 for file in self.files})

    def digest_of(self, path: str | None) -> str | None:
        """Return the SHA-256 of the file at `path`; None if `path` is None.

        Raises:
            KeyError: the release has no such file.
        """
        if path is None:
            return None
        return {file.path: file.sha256 for file in self.files}[path]

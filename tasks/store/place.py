"""Where a store is in S3. Consumers need no more of it: Python 3.10, boto3 alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tasks.domain.errors import RequestInvalid
from tasks.store.s3 import s3_client
from tasks.store.transfer import Address

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

P = TypeVar("P", bound="StorePlace")

_URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[!-~]*?))?/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePlace:
    """A place in S3 for engines and what they were made from.

    Attributes:
        client: the S3 client; several threads may use it.
        bucket: the bucket.
        prefix: what precedes every key, without slashes at its ends; may be empty.
    """

    client: S3Client
    bucket: str
    prefix: str

    @classmethod
    def connect(cls: type[P], url: str) -> P:  # noqa: PYI019 (Python 3.10 has no Self)
        """Return the store at `s3://bucket` or `s3://bucket/prefix`. Makes no call.

        Raises:
            RequestInvalid: it is not the URL of a store, or the AWS settings cannot be used.
        """
        match = _URL.fullmatch(url)
        prefix = (match["prefix"] or "") if match else ""
        if match is None or (prefix and {"", ".", ".."} & set(prefix.split("/"))):
            raise RequestInvalid(
                wanted="a store of the form s3://bucket or s3://bucket/prefix",
                found=repr(url),
                fix="correct the URL of the store; the prefix has printable ASCII without spaces",
            )
        return cls(client=s3_client(), bucket=match["bucket"], prefix=prefix)

    @property
    def url(self) -> str:
        """The store's URL."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def address(self, key: str) -> Address:
        """Return the address of `key`, which is relative to the store's root."""
        return Address(bucket=self.bucket, key=f"{self.prefix}/{key}" if self.prefix else key)

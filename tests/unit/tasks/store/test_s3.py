"""The one place where S3's errors become the farm's."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from botocore import exceptions as boto
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.errors import (
    ArchiveRefused,
    DigestMismatch,
    DiskFull,
    FarmError,
    NotStored,
    RequestInvalid,
    StoreDenied,
    StoreUnreachable,
)
from tasks.store.s3 import s3_errors


def _answer(status: int, code: str) -> boto.ClientError:
    response: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(response, "GetObject")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (boto.NoCredentialsError(), StoreDenied),
        (boto.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), StoreDenied),
        (_answer(403, "AccessDenied"), StoreDenied),
        (_answer(403, "403"), StoreDenied),
        (_answer(403, "InvalidAccessKeyId"), StoreDenied),
        (_answer(403, "SignatureDoesNotMatch"), StoreDenied),
        (_answer(403, "RequestTimeTooSkewed"), StoreDenied),
        (_answer(400, "ExpiredToken"), StoreDenied),
        (_answer(301, "PermanentRedirect"), StoreDenied),
        (boto.EndpointConnectionError(endpoint_url="http://x"), StoreUnreachable),
        (boto.ConnectTimeoutError(endpoint_url="http://x"), StoreUnreachable),
        (boto.ReadTimeoutError(endpoint_url="http://x"), StoreUnreachable),
        (boto.ConnectionClosedError(endpoint_url="http://x"), StoreUnreachable),
        (boto.SSLError(endpoint_url="https://x", error=OSError("certificate")), StoreUnreachable),
        (boto.ResponseStreamingError(error="reset"), StoreUnreachable),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), StoreUnreachable),
        (_answer(500, "InternalError"), StoreUnreachable),
        (_answer(503, "SlowDown"), StoreUnreachable),
        (_answer(429, "TooManyRequests"), StoreUnreachable),
        (_answer(400, "RequestTimeout"), StoreUnreachable),
        (_answer(404, "NoSuchBucket"), NotStored),
        (_answer(404, "NoSuchKey"), NotStored),
        (_answer(404, "404"), NotStored),
        (_answer(400, "BadDigest"), DigestMismatch),
        (_answer(400, "XAmzContentSHA256Mismatch"), DigestMismatch),
        (boto.ParamValidationError(report="bucket"), RequestInvalid),
        (boto.ProfileNotFound(profile="p"), RequestInvalid),
        (OSError(errno.ENOSPC, "No space left on device"), DiskFull),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), DiskFull),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value)[:60],
)
def test_each_failure_has_its_name(error: Exception, expected: type[FarmError]) -> None:
    with pytest.raises(FarmError) as caught, s3_errors("to read s3://b/k"):
        raise error
    assert type(caught.value) is expected
    assert caught.value.wanted == "to read s3://b/k"
    assert caught.value.found
    assert caught.value.fix
    assert caught.value.__cause__ is error


def test_other_errors_pass_through() -> None:
    own = ArchiveRefused(wanted="w", found="f", fix="x")
    for error in (PermissionError(errno.EACCES, "no"), ValueError("v"), own):
        with pytest.raises(type(error)) as caught, s3_errors("to read"):
            raise error
        assert caught.value is error


@given(status=st.integers(300, 599), code=st.text())
def test_whatever_a_server_answers_has_a_name(status: int, code: str) -> None:
    with pytest.raises(FarmError), s3_errors("to read"):
        raise _answer(status, code)

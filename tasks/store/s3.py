"""The S3 client, and the translation of its errors into the farm's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError

from tasks.children.disk import disk_full, is_no_space
from tasks.domain.errors import (
    DigestMismatch,
    FarmError,
    NotStored,
    RequestInvalid,
    StoreDenied,
    StoreUnreachable,
    StoreUnsafe,
)
from tasks.store.deadlines import set_deadlines

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_ALWAYS_SENT = frozenset({"ETag", "ContentLength", "LastModified", "Size"})
_NO_ANSWER = (HTTPClientError, BotoConnectionError, IncompleteReadError)
_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    SSOError,
)
# S3 sends these with status 400, or without their usual status.
_DENIED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
_BUSY = {"SlowDown", "RequestTimeout", "Throttling", "ServiceUnavailable", "InternalError"}
_DAMAGED = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
_NOT_FOUND, _CONFLICT, _CHANGED, _NO_RANGE, _TOO_MANY, _SERVER = 404, 409, 412, 416, 429, 500


def s3_client() -> S3Client:
    """Return a client with the credentials of the environment; `AWS_ENDPOINT_URL` names the server.

    Makes no call. Calls fail after about 12 s if the endpoint refuses connections, and after some minutes if
    its answers drip. Creating a client takes a quarter of a second, so the same environment gets the same
    client; several threads may use it.

    Raises:
        RequestInvalid: an `AWS_…` variable or a configuration file cannot be used.
    """
    return _client_for(tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))))


@lru_cache(maxsize=4)
def _client_for(environment: tuple[tuple[str, str], ...]) -> S3Client:
    del environment  # boto3 reads it itself
    config = Config(
        signature_version="s3v4",
        connect_timeout=3,
        read_timeout=20,
        retries={"mode": "standard", "total_max_attempts": 3},
        # We send and check SHA-256 ourselves; older S3 servers refuse the trailers of the default.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        # A separate session: threads must not share the default one while it makes clients.
        return set_deadlines(boto3.session.Session().client("s3", config=config))
    except (BotoCoreError, ValueError) as error:
        raise RequestInvalid(
            wanted="an S3 client as the environment describes it",
            found=str(error),
            fix="correct AWS_ENDPOINT_URL and the other AWS_ variables, or ~/.aws/config",
        ) from error


@contextmanager
def s3_errors(wanted: str, *, folder: Path | None = None) -> Iterator[None]:
    """Raise the farm's errors in place of botocore's.

    Args:
        wanted: what the call does, for people.
        folder: the local folder that it writes to; None: the system's folder for temporary files.

    Raises:
        StoreDenied: there are no credentials, or S3 refuses them or the call.
        StoreUnreachable: no answer in time, a broken connection, or a busy or broken server.
        NotStored: no such bucket or key.
        DigestMismatch: the server received other bytes than announced.
        DiskFull: the local disk is full.
        RequestInvalid: a bucket or key that no S3 server accepts.
        StoreUnsafe: the answer lacks what S3 always sends.
    """
    try:
        yield
    except ClientError as error:
        raise _from_answer(wanted, error) from error
    except (BotoCoreError, *_NO_ANSWER) as error:
        raise _from_client(wanted, error) from error
    except KeyError as error:
        if error.args[0] not in _ALWAYS_SENT:
            raise
        raise StoreUnsafe(
            wanted=f"{wanted}, and an answer with {error.args[0]}, which S3 always sends",
            found="an answer without it",
            fix="reach the S3 server without the proxy that removes it, or use another server",
        ) from error
    except OSError as error:
        if not is_no_space(error):
            raise
        raise disk_full(wanted, str(error), folder or Path(tempfile.gettempdir())) from error


def is_conflict(error: ClientError) -> bool:
    """Return whether the call met another conditional write to the same key, and can be retried."""
    return _status(error) == _CONFLICT


def is_precondition_failed(error: ClientError) -> bool:
    """Return whether a condition of the call did not hold."""
    return _status(error) == _CHANGED


def is_refused_write(error: ClientError) -> bool:
    """Return whether the condition of a write did not hold, or it met another write."""
    gone = is_missing(error) and not is_missing_bucket(error)
    return is_precondition_failed(error) or is_conflict(error) or gone


def is_range_refused(error: Exception) -> bool:
    """Return whether S3 refused a range because the object ends before it."""
    return isinstance(error, ClientError) and _status(error) == _NO_RANGE


def is_missing(error: ClientError) -> bool:
    """Return whether there is no such object, or no such bucket."""
    return _status(error) == _NOT_FOUND


def is_missing_bucket(error: ClientError) -> bool:
    """Return whether there is no such bucket. HEAD calls cannot tell: their responses have no body."""
    return _code(error) == "NoSuchBucket"


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def _endpoint() -> str:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    return next((os.environ[name] for name in names if os.environ.get(name)), "not set: AWS")


def _from_client(wanted: str, error: Exception) -> FarmError:
    """Return the error if there was no response."""
    message = str(error)
    if isinstance(error, _NO_CREDENTIALS):
        fix = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the host a role"
        return StoreDenied(wanted=wanted, found=message, fix=fix)
    if isinstance(error, _NO_ANSWER):
        fix = f"start the S3 server, or correct AWS_ENDPOINT_URL (now {_endpoint()}) or the proxy"
        return StoreUnreachable(wanted=wanted, found=message, fix=fix)
    fix = "correct the s3:// URL, the AWS_ variables or ~/.aws/config"
    return RequestInvalid(wanted=wanted, found=message, fix=fix)


def _from_answer(wanted: str, error: ClientError) -> FarmError:
    """Return the error of a response."""
    status, code, message = _status(error), _code(error), str(error)
    if status in (401, 403) or code in _DENIED:
        fix = (
            "check the access key, and that it may read, write, delete and list this bucket; check the clock"
        )
        return StoreDenied(wanted=wanted, found=message, fix=fix)
    if is_missing(error):
        fix = "create the bucket" if is_missing_bucket(error) else "check the s3:// URL and the bucket"
        return NotStored(wanted=wanted, found=message, fix=fix)
    if code in _DAMAGED:
        fix = "try again; if it happens again, look for a proxy or a disk that changes bytes"
        return DigestMismatch(wanted=wanted, found=message, fix=fix)
    if status >= _SERVER or status in (_TOO_MANY, _CONFLICT) or code in _BUSY:
        fix = "try again later; see the log of the S3 server"
        return StoreUnreachable(wanted=wanted, found=message, fix=fix)
    fix = "read S3's message; a wrong AWS_DEFAULT_REGION is the most frequent cause"
    return StoreDenied(wanted=wanted, found=message, fix=fix)

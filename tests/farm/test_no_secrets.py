"""Nothing that the farm writes down holds a secret: not on Prefect's server, not in the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import boto3
import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

from flows.build_release import build_release
from flows.settings import settings
from tasks.domain.errors import FarmError, StoreUnreachable
from tasks.domain.farm_errors import LocationRefused
from tasks.domain.release import ReleaseRef

_DEMO = Path(__file__).parents[2] / "flows/demo_release"
_SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "SECRET-of-the-access-key-0001",
    "AWS_SESSION_TOKEN": "SECRET-of-the-session-0002",
    "PREFECT_API_AUTH_STRING": "operator:SECRET-of-the-server-0003",
}
_SIGNED = (
    "https://b.s3.amazonaws.com/samples.npz?X-Amz-Credential=SECRET-of-the-signer-0004&X-Amz-Date=1"
    "&X-Amz-Security-Token=SECRET-of-the-session-0005&X-Amz-Signature=SECRET-of-the-signature-0006"
)
_MARK = b"SECRET-of-the-"
_PAGE = 200
_KINDS = ("flow_runs", "task_runs", "artifacts", "logs", "deployments", "flows", "variables", "work_pools")


@pytest.fixture
def releases(
    prefect_server: str, s3_env: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A bucket with releases, in a process whose environment holds secrets."""
    assert prefect_server
    for name, value in _SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ENGINEFARM_WORK_DIR", str(tmp_path / "work"))
    monkeypatch.setenv("ENGINEFARM_TOOLCHAINS", "")
    monkeypatch.delenv("ENGINEFARM_STORE", raising=False)
    settings.cache_clear()
    client = boto3.session.Session().client("s3")
    requests = {
        "good": "targets: rtx-sm89\n",
        "signed": f"targets: rtx-sm89\nsamples: {_SIGNED}\n",
        "odd": f"{_SIGNED}: 1\nprecisions: ['{_SIGNED}']\n",
    }
    for version, request in requests.items():
        files = {"model.keras": (_DEMO / "model.keras").read_bytes(), "build.yaml": request.encode()}
        for name, data in files.items():
            client.put_object(Bucket=s3_env, Key=f"models/digits/{version}/{name}", Body=data)
    with temporary_settings({PREFECT_API_AUTH_STRING: _SECRETS["PREFECT_API_AUTH_STRING"]}):
        yield s3_env
    settings.cache_clear()


def test_no_secret_is_written_down(
    releases: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "prefect")  # as on agents, and more; the command line shows errors itself

    def build(version: str) -> None:
        asyncio.run(
            build_release(ReleaseRef(bucket=releases, prefix="models", model="digits", version=version))
        )

    build("good")
    failures = []
    for version in ("signed", "odd"):
        with pytest.raises(FarmError) as refused:
            build(version)
        failures.append(refused.value)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("AWS_ENDPOINT_URL", "http://user:SECRET-of-the-url-0007@127.0.0.1:9")
        with pytest.raises(StoreUnreachable) as refused:
            build("away")
        failures.append(refused.value)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("ENGINEFARM_ALLOWED", "s3://other-bucket")
        settings.cache_clear()
        with pytest.raises(LocationRefused, match="s3://other-bucket"):
            build("good")
    settings.cache_clear()
    assert not [error for error in failures if _MARK.decode() in str(error)]

    written = asyncio.run(_all_of_server())
    assert b"digits-good" in written
    assert b"Traceback (most recent call last)" in written
    assert b"a place that ENGINEFARM_ALLOWED names" in written
    assert _around(written) == []
    assert {
        key: _around(data)
        for key, data in _all_of_store(releases)
        if _MARK in data and not key.startswith("models/")
    } == {}


def _around(written: bytes) -> list[bytes]:
    """Return the surroundings of every secret in `written`."""
    pieces = written.split(_MARK)
    return [before[-150:] + _MARK + after[:20] for before, after in pairwise(pieces)]


async def _all_of_server() -> bytes:
    """Return all that the server keeps, as its API gives it."""
    await APILogHandler.aflush()
    async with get_client() as client:
        return b"\n".join([text for kind in _KINDS async for text in _pages(client, kind)])


async def _pages(client: PrefectClient, kind: str) -> AsyncIterator[bytes]:
    offset = 0
    while True:
        answer = await client._client.post(f"/{kind}/filter", json={"limit": _PAGE, "offset": offset})
        yield answer.content
        if len(answer.json()) < _PAGE:
            return
        offset += _PAGE


def _all_of_store(bucket: str) -> Iterator[tuple[str, bytes]]:
    client = boto3.session.Session().client("s3")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            yield entry["Key"], client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()

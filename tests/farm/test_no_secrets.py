"""Nothing that the farm writes down holds a secret: not on Prefect's server, not in the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

from flows.build_release import build_release
from flows.settings import settings
from tasks.domain.errors import FarmError, LocationRefused, StoreUnreachable
from tasks.domain.release import ReleaseRef
from tasks.store.s3 import s3_client
from tests.support.farm.written import MARK, SECRETS, all_of_server, all_of_store, secrets_in
from tests.support.waiting import wait_until

_DEMO = Path(__file__).parents[2] / "flows/demo_release"
_SIGNED = (
    "https://b.s3.amazonaws.com/samples.npz?X-Amz-Credential=SECRET-of-the-signer-0004&X-Amz-Date=1"
    "&X-Amz-Security-Token=SECRET-of-the-session-0005&X-Amz-Signature=SECRET-of-the-signature-0006"
)


@pytest.fixture
def releases(
    prefect_server: str, s3_env: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A bucket with releases, in a process whose environment holds secrets."""
    assert prefect_server
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ENGINEFARM_WORK_DIR", str(tmp_path / "work"))
    monkeypatch.setenv("ENGINEFARM_TOOLCHAINS", "")
    monkeypatch.delenv("ENGINEFARM_STORE", raising=False)
    settings.cache_clear()
    client = s3_client()
    requests = {
        "good": "targets: rtx-sm89\n",
        "signed": f"targets: rtx-sm89\nsamples: {_SIGNED}\n",
        "odd": f"{_SIGNED}: 1\nprecisions: ['{_SIGNED}']\n",
    }
    for version, request in requests.items():
        files = {"model.keras": (_DEMO / "model.keras").read_bytes(), "build.yaml": request.encode()}
        for name, data in files.items():
            client.put_object(Bucket=s3_env, Key=f"models/digits/{version}/{name}", Body=data)
    with temporary_settings({PREFECT_API_AUTH_STRING: SECRETS["PREFECT_API_AUTH_STRING"]}):
        yield s3_env
    settings.cache_clear()


@pytest.mark.slow
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
    assert not [error for error in failures if MARK.decode() in str(error)]

    asyncio.run(APILogHandler.aflush())
    written = wait_until(lambda: (columns := _written()) and _is_complete(columns) and columns)
    assert b"digits-good" in b"\n".join(written["flow_run.name"])
    assert b"Traceback (most recent call last)" in b"\n".join(written["log.message"])
    assert b"a place that ENGINEFARM_ALLOWED names" in b"\n".join(written["flow_run_state.message"])
    assert {"artifact.data", "events.payload", "flow_run.parameters", "task_run_state.name"} <= written.keys()
    assert secrets_in((place, data) for place, all_of_it in written.items() for data in all_of_it) == {}
    assert secrets_in(entry for entry in all_of_store(releases) if not entry[0].startswith("models/")) == {}


def _written() -> dict[str, list[bytes]]:
    columns: dict[str, list[bytes]] = {}
    for place, data in all_of_server():
        columns.setdefault(place, []).append(data)
    return columns


def _is_complete(written: dict[str, list[bytes]]) -> bool:
    """Whether the server has stored the events of what failed, which it does every few seconds."""
    runs = zip(written["flow_run.id"], written["flow_run.state_name"], strict=True)
    events = zip(written.get("events.resource_id", []), written.get("events.event", []), strict=True)
    announced = {place for place, event in events if event == b"prefect.flow-run.Failed"}
    failed = {b"prefect.flow-run." + run for run, state in runs if state == b"Failed"}
    return failed <= announced

"""What operators do from the command line, on a real server with a real worker that runs real flows."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient

from agents.server.release_runs import DEPLOYMENT
from flows.addresses import release_at
from flows.build_release import build_release
from flows.settings import settings
from tasks.domain.errors import NotDeployed, ReleaseIncomplete, RequestInvalid, RunUnknown
from tasks.domain.offer import CPU_POOL
from tests.support.farm.commands import on_server, run
from tests.support.farm.silent_s3 import SilentS3
from tests.support.waiting import wait_until

_RELEASE = "s3://farm-of-tests/models/digits/1"
_AGENT = "host-cpu"


def pool() -> dict[str, Any]:
    """The CPU pool, as `enginefarm status` tells it."""
    pools = json.loads(run("status", "--json"))["pools"]
    return dict(next(pool for pool in pools if pool["name"] == CPU_POOL))


@pytest.fixture
def silent_s3() -> Iterator[SilentS3]:
    """An S3 server that takes calls and does not answer."""
    server = SilentS3()
    yield server
    server.close()


@pytest.fixture
def agent(bare_server: str, silent_s3: SilentS3, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """A function that starts a worker of the CPU pool, whose flows wait for S3."""
    started: list[subprocess.Popen[bytes]] = []
    environment = {
        "PREFECT_API_URL": bare_server,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "AWS_ENDPOINT_URL": silent_s3.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", CPU_POOL, "--type", "process"]
    command += ["--name", _AGENT, "--limit", "1", "--no-create-pool-if-not-found"]

    def start() -> None:
        with (tmp_path / "worker.log").open("wb") as log:
            started.append(
                subprocess.Popen(
                    command, env=os.environ | environment, stdout=log, stderr=log, cwd=tmp_path,
                    start_new_session=True,
                )
            )  # fmt: skip

    yield start
    for process in started:
        process.terminate()
        # One that waits for a flow may take long, and must not take the runs of later tests.
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_runs_are_asked_for_watched_stopped_and_started_again(
    agent: Callable[[], None], silent_s3: SilentS3
) -> None:
    with pytest.raises(NotDeployed):
        run("submit", _RELEASE)
    run("deploy", "--yes")
    first = json.loads(run("submit", _RELEASE, "--precision", "fp16", "--json"))
    assert (first["state"], first["created"]) == ("Scheduled", True)
    same = json.loads(run("submit", _RELEASE, "--precision", "fp16", "--json"))
    assert (same["id"], same["created"]) == (first["id"], False)
    urgent = json.loads(run("submit", _RELEASE, "--priority", "production", "--json"))
    with pytest.raises(RequestInvalid, match="UPPER"):
        run("submit", _RELEASE, "--target", "UPPER")

    # What is more urgent stands before what was asked for earlier; nobody knows when it will be done.
    waiting = pool()["waiting"]
    assert [(run["id"], run["queue"]) for run in waiting] == [
        (urgent["id"], "production"), (first["id"], "default")
    ]  # fmt: skip
    assert all(run["age_seconds"] > 0 and run["done_in_seconds"] is None for run in waiting)
    assert pool()["agents"] == []

    begun = datetime.now(UTC)
    agent()
    (busy,) = wait_until(lambda: [agent for agent in pool()["agents"] if agent["runs"]], pool, every=0.5)
    assert (busy["name"], busy["online"]) == (_AGENT, True)
    assert [run["id"] for run in busy["runs"]] == [urgent["id"]]
    since = datetime.fromisoformat(busy["runs"][0]["since"])
    assert begun < since <= datetime.now(UTC)
    assert "unknown" in run("status")
    wait_until(lambda: state(urgent["id"]) == "Running", lambda: state(urgent["id"]), every=0.5)

    # A child of it waits, and goes with it.
    child = on_server(lambda client: submit_child(client, urgent["id"]))
    assert run("cancel", urgent["id"][:8]).count("Cancel") == 2
    with silent_s3.dropping():
        wait_until(lambda: state(urgent["id"]) == "Cancelled", lambda: state(urgent["id"]), every=0.5)
    assert state(child) == "Cancelled"
    assert "had already finished" in run("cancel", urgent["id"])
    assert first["id"] in run("cancel", first["id"])
    second = json.loads(run("submit", _RELEASE, "--precision", "fp16", "--json"))  # the first is over
    assert (second["id"] == first["id"], second["created"]) == (False, True)
    same = json.loads(run("submit", _RELEASE, "--precision", "fp16", "--json"))
    assert (same["id"], same["created"]) == (second["id"], False)
    run("cancel", second["id"])

    assert "AwaitingRetry" in run("retry", urgent["id"])
    wait_until(lambda: state(urgent["id"]) == "Running", lambda: state(urgent["id"]), every=0.5)
    with pytest.raises(RequestInvalid, match="it is Running"):
        run("retry", urgent["id"])
    run("cancel", urgent["id"])
    with silent_s3.dropping():
        log = run("logs", "-f", urgent["id"])
    assert f"Worker '{_AGENT}' submitting flow run" in log
    assert log.rstrip().endswith("Cancelled")


def state(run_id: str) -> str:
    return str(on_server(lambda client: client.read_flow_run(UUID(run_id))).state_name)


async def submit_child(client: PrefectClient, parent: str) -> str:
    deployment = await client.read_deployment_by_name(DEPLOYMENT)
    parameters = {"release": {"bucket": "abc", "model": "digits", "version": "child"}}
    child = await client.create_flow_run_from_deployment(
        deployment.id, parameters=parameters, tags=[f"enginefarm-parent:{parent}"], work_queue_name="nightly"
    )
    return str(child.id)


def test_failures_are_shown_with_their_fix(prefect_server: str, s3_env: str) -> None:
    assert prefect_server
    settings.cache_clear()
    url = f"s3://{s3_env}/models/nowhere-{s3_env}/1"
    with pytest.raises(ReleaseIncomplete):
        asyncio.run(build_release(release_at(url)))
    view = json.loads(run("status", "--json", "--failures", "1"))
    (failure,) = view["failures"]
    assert (failure["name"], failure["state"]) == (f"nowhere-{s3_env}-1", "Failed")
    assert url in failure["text"]
    assert "To fix: " in failure["text"]
    assert "To fix: " in " ".join(run("status").split())
    with pytest.raises(RequestInvalid, match="command line"):
        run("retry", failure["name"])
    with pytest.raises(RunUnknown, match="none"):
        run("logs", "no-such-run")

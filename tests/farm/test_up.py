"""The whole farm by one command: an upload becomes an engine, and what is missing one by schedule."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from unittest.mock import patch

import boto3
import pytest
from prefect.client.orchestration import SyncPrefectClient

from tasks.domain.record import EngineRecord
from tasks.store.store import Store
from tests.support.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
_ROOT = Path(__file__).parents[2]
_MODEL = _ROOT / "flows/demo_release/model.keras"
_PROGRAM = str(Path(sys.executable).with_name("enginefarm"))
_RELEASE = "s3://enginefarm/models/digits/1"


@pytest.fixture
def shell(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Mapping[str, str]]:
    """What a shell is told of a farm that `enginefarm up` runs; it ends with Ctrl-C."""
    home, out = tmp_path / "farm", tmp_path / "out"
    ports = ["--port", str(free_port()), "--s3-port", str(free_port())]
    passed = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "AWS_", "ENGINEFARM_"))
    }
    with out.open("wb") as output:
        farm = subprocess.Popen(
            [_PROGRAM, "up", "--data", str(home), *ports], stdout=output, stderr=output, env=passed, cwd=_ROOT
        )
    try:
        wait_until(
            lambda: farm.poll() is not None or "In another shell" in out.read_text("utf-8"), out.read_text
        )
        assert farm.poll() is None, out.read_text("utf-8")
        lines = (home / "environment").read_text("utf-8").splitlines()
        pairs = (shlex.split(line.removeprefix("export "))[0].partition("=") for line in lines)
        yield passed | {name: value for name, _, value in pairs}
        farm.send_signal(signal.SIGINT)
        assert farm.wait(PATIENCE) == 0, out.read_text("utf-8")
    finally:
        farm.kill()
        farm.wait()


def _engines(shell: Mapping[str, str]) -> list[EngineRecord]:
    with patch.dict(os.environ, shell):
        return list(Store.connect("s3://enginefarm").records(EngineRecord, model="digits", version="1"))


def _runs(shell: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return how each run is tagged for its way in, and its state."""
    with SyncPrefectClient(shell["PREFECT_API_URL"], auth_string=shell["PREFECT_API_AUTH_STRING"]) as client:
        runs = client.read_flow_runs()
    return [
        (tag.removeprefix("way:"), str(run.state_name))
        for run in runs for tag in run.tags if tag.startswith("way:")
    ]  # fmt: skip


def test_an_upload_and_a_schedule_end_in_engines(shell: Mapping[str, str], tmp_path: Path) -> None:
    release = tmp_path / "release"
    release.mkdir()
    shutil.copy(_MODEL, release)
    (release / "build.yaml").write_text("targets: [rtx-sm89]\nprecisions: [fp32]\n", "utf-8")
    subprocess.run([_PROGRAM, "publish", str(release), _RELEASE], env=shell, check=True)
    (first,) = wait_until(lambda: _engines(shell), lambda: _runs(shell), every=0.5)
    wait_until(lambda: ("s3", "Completed") in _runs(shell), lambda: _runs(shell), every=0.5)

    with patch.dict(os.environ, shell):
        client = boto3.session.Session().client("s3")
    for listed in client.list_objects_v2(Bucket="enginefarm", Prefix="engines/")["Contents"]:
        client.delete_object(Bucket="enginefarm", Key=listed["Key"])
    assert _engines(shell) == []
    every_minute = ["deployment", "schedule", "create", "reconcile/farm", "--cron", "* * * * *"]
    subprocess.run([sys.executable, "-m", "prefect", *every_minute], env=shell, check=True)
    (second,) = wait_until(lambda: _engines(shell), lambda: _runs(shell), every=0.5)
    wait_until(lambda: ("schedule", "Completed") in _runs(shell), lambda: _runs(shell), every=0.5)
    assert (second.key, second.attempt == first.attempt) == (first.key, False)

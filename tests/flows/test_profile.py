"""Engines are measured after they are verified: on a stand-in for a GPU, and not at all without one."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from typer.testing import CliRunner

from flows.build_release import build_release
from flows.cli.engines import read_all
from flows.cli.main import app
from tasks.domain.digest import blob_ref
from tasks.domain.errors import NotStored
from tasks.domain.profile import Measured
from tasks.domain.record import EngineRecord, Verdict
from tasks.domain.release import ReleaseRef
from tasks.store.store import Store
from tests.stand_in.toolchain import H100, StandIn

pytestmark = pytest.mark.usefixtures("converted_before")

FILES = {"profile.json", "latency.svg", "latency.png", "layers.svg", "layers.png"}
SHAPES = "inputs: {image: {min: [1, 8, 8, 1], opt: [2, 8, 8, 1], max: [4, 8, 8, 1]}}\n"
BUSY = {"others": (7,), "shows_own": True, "busy": 0, "held_back": 0, "used_mib": 4.0}


@pytest.fixture
def build(publish: Callable[..., ReleaseRef], demo_model: bytes) -> Callable[..., EngineRecord]:
    """A function that builds the demo's network with a request, and returns the record of its one cell."""

    def run(request: str, version: str = "1") -> EngineRecord:
        release = publish(request, {"model.keras": demo_model}, version=version)
        (record,) = read_all(asyncio.run(build_release(release)))
        return record

    return run


def command(*words: str) -> str:
    """What `enginefarm engines` prints."""
    answer = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["engines", *words])
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def artifacts(*keys: str) -> dict[str, Artifact]:
    """The newest artifact of each of `keys`; without a filter the server gives the first page of all."""

    async def read() -> list[Artifact]:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=list(keys)))
        async with get_client() as client:
            return await client.read_artifacts(artifact_filter=wanted)

    newest_last = sorted(asyncio.run(read()), key=lambda artifact: str(artifact.created))
    return {str(artifact.key): artifact for artifact in newest_last}


def test_an_engine_on_its_gpu_is_measured_drawn_and_shown(
    stand_in: Callable[..., StandIn],
    use_toolchains: Callable[..., None],
    build: Callable[..., EngineRecord],
    s3_env: str,
    tmp_path: Path,
) -> None:
    use_toolchains(stand_in(version="8.6.0", run_seconds=0.01, counted=True, management=BUSY))
    record = build(f"targets: h100-sxm-80gb\n{SHAPES}")

    profile = record.profile
    assert record.engine_verification.verdict is Verdict.PASSED
    assert (profile.state, profile.reason) == (Measured.MEASURED, "")
    assert (profile.gpu, profile.tensorrt) == (H100.name, "8.6.0.12")
    assert [(case.name, case.batch) for case in profile.cases] == [("min", 1), ("opt", 2), ("max", 4)]
    assert all(case.iterations >= 50 and case.gpu_ms.p50 >= 10 for case in profile.cases)
    # A GPU that is not quiet fails nothing: its figures are marked.
    assert profile.quiet is not None
    assert profile.quiet.quiet is False
    assert "other processes were on the GPU: 7" in profile.quiet.reason

    assert profile.files.keys() == FILES
    text = command("profile", record.key, "--store", f"s3://{s3_env}", "--charts", str(tmp_path / "charts"))
    assert {path.name for path in (tmp_path / "charts").iterdir()} == FILES
    for name, ref in profile.files.items():
        assert blob_ref((tmp_path / "charts" / name).read_bytes()) == ref
    assert "NOT QUIET" in text
    for case in profile.cases:
        assert f"{case.gpu_ms.p99:.4g}" in text
    assert profile.layers[0].name in text
    shown = json.loads(command("profile", record.key, "--store", f"s3://{s3_env}", "--json"))
    stored = json.loads(command("show", record.key, "--store", f"s3://{s3_env}"))
    assert shown == stored["profile"]

    _check_page(record)

    Store.connect(f"s3://{s3_env}").client.delete_object(Bucket=s3_env, Key=profile.files["latency.svg"].key)
    answer = CliRunner().invoke(
        app,
        ["engines", "profile", record.key, "--store", f"s3://{s3_env}", "--charts", str(tmp_path / "again")],
    )
    assert isinstance(answer.exception, NotStored)


def _check_page(record: EngineRecord) -> None:
    """The run's page has a table with the figures, and the pictures themselves."""
    name = f"{record.model}-{record.version}-fp32-h100-sxm-80gb"
    shown = artifacts(f"latency-{name}", f"charts-{name}")
    table, charts = shown[f"latency-{name}"], shown[f"charts-{name}"]
    rows: list[dict[str, Any]] = json.loads(str(table.data))
    assert [row["p50"] for row in rows] == [f"{case.gpu_ms.p50:.4g}" for case in record.profile.cases]
    assert "NOT QUIET" in str(table.description)
    assert (table.type, charts.type) == ("table", "markdown")
    assert table.flow_run_id == charts.flow_run_id is not None
    pictures = re.findall(r"!\[(\w+)\]\(data:image/png;base64,iVBORw0KGgo[\w+/=]+\)", str(charts.data))
    assert pictures == ["latency", "layers"]
    assert "NOT QUIET" in str(charts.data)


@pytest.mark.slow
def test_a_request_may_want_no_figures_and_gets_the_same_engine(
    stand_in: Callable[..., StandIn],
    use_toolchains: Callable[..., None],
    build: Callable[..., EngineRecord],
    s3_env: str,
) -> None:
    use_toolchains(stand_in())
    first = build(f"targets: h100-sxm-80gb\nprofile: false\n{SHAPES}")
    assert first.profile.state is Measured.NOT_MEASURED
    assert first.profile.reason == "the request says `profile: false`"
    assert first.profile.files == {}
    assert "Not measured" in command("profile", first.key, "--store", f"s3://{s3_env}")
    # What is found keeps the figures that it has, or has not.
    second = build(f"targets: h100-sxm-80gb\n{SHAPES}")
    assert (second.key, second.attempt) == (first.key, first.attempt)


def test_without_its_gpu_an_engine_is_not_measured(build: Callable[..., EngineRecord]) -> None:
    record = build("targets: rtx-sm89\n")
    assert record.profile.state is Measured.NOT_MEASURED
    assert record.profile.reason == "built ahead of time on a host without such a GPU"
    assert (record.profile.cases, record.profile.quiet) == ((), None)

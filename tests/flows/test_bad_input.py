"""What users hand in by mistake or on purpose: a failed flow run that says why, and nothing else."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterName
from prefect.client.schemas.objects import Artifact, State
from prefect.client.schemas.sorting import FlowRunSort

from flows.build_release import build_release
from flows.settings import settings
from tasks.domain import errors
from tasks.domain.errors import FarmError
from tasks.domain.order import ReleaseOutcome
from tasks.domain.release import ReleaseRef

Publish = Callable[..., ReleaseRef]
Keys = Callable[[str], list[str]]
REQUEST = "targets: rtx-sm89\n"
# What is refused in the same step as another case; each has a test of its own beside that step.
long = partial(pytest.param, marks=pytest.mark.long)


def failure_of(release: ReleaseRef) -> FarmError:
    """Run the flow; return its error, which must also be its state's message."""

    async def run() -> tuple[State[ReleaseOutcome], object]:
        state = await build_release(release, return_state=True)
        return state, await state.aresult(raise_on_failure=False)

    state, error = asyncio.run(run())
    assert state.is_failed()
    assert isinstance(error, FarmError), error
    assert state.message is not None
    assert type(error).__name__ in state.message
    assert error.found in state.message
    assert error.fix in state.message
    return error


def archive(folder: Path) -> bytes:
    """Return a `saved_model.tar.gz` of `folder`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(folder, arcname=".")
    return buffer.getvalue()


def climbing_zip() -> bytes:
    """Return a zip that would write beside its folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("saved_model.pb", b"")
        file.writestr("../../escaped", b"")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("request_text", "files", "wanted", "message"),
    [
        long("", {"saved_model.zip": b"no archive"}, errors.ArchiveRefused, "saved_model.zip"),
        ("", {"saved_model.zip": climbing_zip()}, errors.ArchiveRefused, "escaped"),
        ("", {"model.keras": b"PK broken"}, errors.ModelUnreadable, "model.keras"),
        long("", {"notes.txt": b"no model"}, errors.ReleaseIncomplete, "notes.txt"),
        long("", {"model.keras": b"", "model.h5": b""}, errors.ReleaseIncomplete, "model.h5"),
        (None, {"model.keras": b""}, errors.ReleaseIncomplete, "build.yaml"),
        ("precison: fp16\n", {"model.keras": b""}, errors.RequestInvalid, "line 2, precison"),
        ("samples: absent.npz\n", {"model.keras": b""}, errors.RequestInvalid, "absent.npz"),
        ("targets: rtx-sm90\n", {"model.keras": b""}, errors.TargetUnavailable, "rtx-sm90"),
    ],
)
def test_bad_releases(
    publish: Publish,
    stored_keys: Keys,
    request_text: str | None,
    files: dict[str, bytes],
    wanted: type[FarmError],
    message: str,
) -> None:
    request = request_text if request_text is None or "targets" in request_text else REQUEST + request_text
    error = failure_of(publish(request, files))
    assert type(error) is wanted
    assert message in str(error)
    assert stored_keys("engines/") == stored_keys("conversions/") == stored_keys("blobs/") == []


@pytest.mark.parametrize(
    ("signature", "wanted", "message"),
    [
        ("absent", errors.SignatureUnknown, "gelu"),
        long("strings", errors.ModelRefused, "text"),
        long("inverse", errors.OperationUnsupported, "MatrixInverse"),
    ],
)
def test_bad_models(
    publish: Publish,
    stored_keys: Keys,
    models: Path,
    signature: str,
    wanted: type[FarmError],
    message: str,
) -> None:
    request = f"{REQUEST}signature: {signature}\n"
    error = failure_of(publish(request, {"saved_model.tar.gz": archive(models / "many")}))
    assert type(error) is wanted
    assert message in str(error)
    assert stored_keys("engines/") == stored_keys("conversions/") == stored_keys("blobs/") == []


def test_no_server_behind_the_endpoint(
    publish: Publish, use_endpoint: Callable[[str], None], free_port: Callable[[], int]
) -> None:
    release = publish(REQUEST, {"model.keras": b""})
    use_endpoint(f"http://127.0.0.1:{free_port()}")
    error = failure_of(release)
    assert type(error) is errors.StoreUnreachable
    assert error.retryable


def test_no_credentials(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    release = publish(REQUEST, {"model.keras": b""})
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert type(failure_of(release)) is errors.StoreDenied


@pytest.fixture
def full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for files of runs on a file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("a full disk needs the right to mount a tmpfs")
    monkeypatch.setenv("ENGINEFARM_WORK_DIR", str(folder))
    settings.cache_clear()
    yield folder
    assert list(folder.iterdir()) == []
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(publish: Publish, stored_keys: Keys, full_disk: Path, demo_model: bytes) -> None:
    error = failure_of(publish(REQUEST, {"model.keras": demo_model}))
    assert type(error) is errors.DiskFull
    assert str(full_disk) in str(error)
    assert stored_keys("engines/") == []


@pytest.mark.slow
@pytest.mark.usefixtures("converted_before")
def test_one_failing_cell_leaves_the_others(publish: Publish, stored_keys: Keys, demo_model: bytes) -> None:
    # TensorRT-RTX has no FP32 matrix product for Turing, no graph in FP16 is so exact, and there is no L4.
    request = "targets: [rtx-sm75, rtx-sm89, l4]\nprecisions: [fp16, fp32]\ntolerances: {fp16: 1.0e-5}\n"
    release = publish(request, {"model.keras": demo_model})
    error = failure_of(release)
    assert isinstance(error, errors.CellsFailed)
    assert {cell: type(each) for cell, each in error.cells.items()} == {
        "l4": errors.TargetUnavailable,
        "rtx-sm75 fp16": errors.VerificationFailed,
        "rtx-sm89 fp16": errors.VerificationFailed,
        "rtx-sm75 fp32": errors.BuildRefused,
    }
    assert "FP32 GEMM" in error.cells["rtx-sm75 fp32"].found
    assert "rtx-sm75 fp32: BuildRefused: " in error.found
    assert "4 failed, 1 stored" in error.found
    (key,) = stored_keys("engines/")
    assert key.split("/")[3] == "rtx-sm89"
    (quarantined,) = stored_keys("quarantine/")
    _check_pages(asyncio.run(_pages(release)), f"s3://{release.bucket}/{key}", quarantined)


def _check_pages(pages: Mapping[str, Artifact], key: str, quarantined: str) -> None:
    """The pages show all columns, whichever cell comes first, and lines that a browser wraps."""
    rows = json.loads(str(pages["engines"].data))
    assert {tuple(row) for row in rows} == {
        (
            "target",
            "TensorRT",
            "precision",
            "state",
            "error against TensorFlow",
            "p50 ms",
            "key",
            "plan",
            "run",
        )
    }
    cells = {(row["target"], row["precision"]): row for row in rows}
    assert {cell: row["state"] for cell, row in cells.items()} == {
        ("rtx-sm89", "fp32"): "built",
        ("rtx-sm75", "fp32"): "BuildRefused",
        ("rtx-sm89", "fp16"): "VerificationFailed",
        ("rtx-sm75", "fp16"): "VerificationFailed",
        ("l4", "all"): "TargetUnavailable",
    }
    assert cells["rtx-sm89", "fp32"]["key"] == f"`{key}`"
    assert cells["rtx-sm89", "fp32"]["p50 ms"] == "not measured"
    failures = str(pages["failures"].data)
    assert "```" not in failures  # Prefect's page cuts off long lines of blocks, and wraps code in a text
    assert f"{quarantined} in s3://" in failures
    assert f"`enginefarm quarantine reproduce {quarantined} --store s3://" in failures
    assert all(page.description for page in pages.values())


async def _pages(release: ReleaseRef) -> dict[str, Artifact]:
    """Return what is on the pages of the last run of `release` and of its builds, by key."""
    async with get_client() as client:
        named = FlowRunFilter(name=FlowRunFilterName(any_=["digits-1"]))
        newest = FlowRunSort.EXPECTED_START_TIME_DESC
        (run,) = await client.read_flow_runs(flow_run_filter=named, sort=newest, limit=1)
        assert run.parameters["release"]["bucket"] == release.bucket
        assert "error:CellsFailed" in run.tags
        of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        tasks = {task.name for task in await client.read_task_runs(flow_run_filter=of_run)}
        assert {"fetch digits 1", "verify_graph rtx-sm75, rtx-sm89 fp16"} <= tasks
        shown = await client.read_artifacts(flow_run_filter=of_run)
        return {str(page.key): page for page in shown if page.key}

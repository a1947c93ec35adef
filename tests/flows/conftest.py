"""Releases in a real S3 server, and flows on a real Prefect server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from flows.settings import settings
from tasks.domain.release import REQUEST_FILE, ReleaseRef
from tasks.store.s3 import s3_client
from tests.stand_in.toolchain import StandIn
from tests.support.kept import CONVERSIONS, ENGINES, keep, restore
from tests.support.workers import made_once

Publish = Callable[..., ReleaseRef]
_DEMO = Path(__file__).parents[2] / "flows/demo_release"


@pytest.fixture(autouse=True)
def real_prefect_server(prefect_server: str) -> str:
    """Every test here runs against the session's Prefect server."""
    return prefect_server


@pytest.fixture
def work_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files of runs; at the end of each test it must be empty."""
    folder = tmp_path / "work"
    monkeypatch.setenv("ENGINEFARM_WORK_DIR", str(folder))
    monkeypatch.delenv("ENGINEFARM_STORE", raising=False)
    settings.cache_clear()
    yield folder
    settings.cache_clear()
    assert not folder.exists() or list(folder.iterdir()) == []


@pytest.fixture
def use_toolchains(work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that names toolchains to the flows."""
    del work_dir

    def name(*toolchains: StandIn) -> None:
        paths = os.pathsep.join(str(toolchain.interpreter) for toolchain in toolchains)
        monkeypatch.setenv("ENGINEFARM_TOOLCHAINS", paths)
        settings.cache_clear()

    return name


@pytest.fixture
def demo_model() -> bytes:
    """The demo's trained network, a `.keras` file."""
    return (_DEMO / "model.keras").read_bytes()


@pytest.fixture
def demo_samples() -> bytes:
    """Real images for it, an `.npz`."""
    return (_DEMO / "samples.npz").read_bytes()


@pytest.fixture
def publish(s3_env: str, work_dir: Path) -> Publish:
    """A function that uploads files as a release, the request last, and returns where it lies."""
    del work_dir

    def put(request: str | None, files: Mapping[str, bytes], *, version: str = "1") -> ReleaseRef:
        ref = ReleaseRef(bucket=s3_env, prefix="models", model="digits", version=version)
        client = s3_client()
        for name, data in files.items():
            client.put_object(Bucket=ref.bucket, Key=f"{ref.key}{name}", Body=data)
        if request is not None:
            client.put_object(Bucket=ref.bucket, Key=f"{ref.key}{REQUEST_FILE}", Body=request.encode())
        return ref

    return put


@pytest.fixture
def stored_keys(s3_env: str) -> Callable[[str], list[str]]:
    """A function that lists the keys of the bucket below a prefix."""

    def keys(prefix: str) -> list[str]:
        answer = s3_client().list_objects_v2(Bucket=s3_env, Prefix=prefix)
        return [entry["Key"] for entry in answer.get("Contents", [])]

    return keys


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what tests of this run converted and built, as it is in the store."""
    return made_once(tmp_path_factory, "kept", lambda _: None)


@pytest.fixture
def results_kept(s3_env: str, kept: Path) -> Iterator[None]:
    """Keep what this test makes for tests with `converted_before` or `built_before`."""
    yield
    keep(kept, s3_env)


@pytest.fixture
def converted_before(s3_env: str, kept: Path, results_kept: None) -> None:
    """The bucket has every conversion of earlier tests: for tests that are about what comes after one."""
    del results_kept
    restore(kept, s3_env, CONVERSIONS)


@pytest.fixture
def built_before(s3_env: str, kept: Path, converted_before: None) -> None:
    """The bucket has every engine of earlier tests as well: for tests of what is read from one."""
    del converted_before
    restore(kept, s3_env, ENGINES)

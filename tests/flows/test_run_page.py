"""The page of a run in Prefect shows how far TensorRT is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from prefect.artifacts import aupdate_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact

from flows.build_release import build_release
from flows.pages import run
from tasks.domain.errors import ChildCrashed
from tasks.domain.release import ReleaseRef
from tests.stand_in.toolchain import StandIn

pytestmark = pytest.mark.usefixtures("converted_before")

KEY = "build-h100-sxm-80gb-fp32"


@pytest.fixture
def release(publish: Callable[..., ReleaseRef], demo_model: bytes) -> ReleaseRef:
    return publish("profile: false\ntargets: [h100-sxm-80gb]\n", {"model.keras": demo_model})


async def pages() -> dict[UUID, Artifact]:
    """Return the progress of all such builds that the server knows, also of other tests."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[KEY]))
    async with get_client() as client:
        return {page.id: page for page in await client.read_artifacts(artifact_filter=wanted)}


async def shown(before: Iterable[UUID]) -> Artifact | None:
    """Return the one that is new."""
    new = [page for number, page in (await pages()).items() if number not in set(before)]
    assert len(new) <= 1
    return new[0] if new else None


async def run_of(artifact: Artifact) -> str:
    async with get_client() as client:
        assert artifact.flow_run_id is not None
        return (await client.read_flow_run(artifact.flow_run_id)).name


@pytest.mark.slow
def test_the_page_follows_tensorrt(
    stand_in: Callable[..., StandIn],
    use_toolchains: Callable[..., None],
    release: ReleaseRef,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_toolchains(stand_in(build_seconds=15.0))
    written: list[float] = []

    async def update(artifact: Any, percent: float) -> None:
        written.append(time.monotonic())
        await aupdate_progress_artifact(artifact, percent)

    monkeypatch.setattr(run, "aupdate_progress_artifact", update)

    async def build_and_look() -> list[float]:
        before = await pages()
        task = asyncio.ensure_future(build_release(release))
        seen = []
        while not task.done():
            artifact = await shown(before)
            seen += [] if artifact is None else [float(str(artifact.data))]
            await asyncio.sleep(0.5)
        await task
        artifact = await shown(before)
        assert artifact is not None
        assert artifact.type == "progress"
        assert artifact.description == "TensorRT builds h100-sxm-80gb fp32"
        assert await run_of(artifact) == "digits-1-h100-sxm-80gb-fp32"
        return [*seen, float(str(artifact.data))]

    seen = asyncio.run(build_and_look())
    assert seen == sorted(seen)
    assert seen[-1] == 100
    assert any(0 < percent < 100 for percent in seen)
    # Load makes these longer, never shorter: the page sleeps after one has ended and before the next begins.
    between = [late - early for early, late in pairwise(written[:-1])]
    assert all(seconds > 2.9 for seconds in between), "but for the last one, every few seconds"


def test_a_build_that_fails_is_not_shown_as_finished(
    stand_in: Callable[..., StandIn],
    use_toolchains: Callable[..., None],
    release: ReleaseRef,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "_SECONDS", 0.1)
    use_toolchains(stand_in(fault="segv"))

    async def build() -> Artifact | None:
        before = await pages()
        with pytest.raises(ChildCrashed):
            await build_release(release)
        return await shown(before)

    artifact = asyncio.run(build())
    assert artifact is not None
    assert artifact.data == 0


def test_a_page_that_cannot_be_written_costs_no_build(
    stand_in: Callable[..., StandIn],
    use_toolchains: Callable[..., None],
    release: ReleaseRef,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(*_: object) -> None:
        raise RuntimeError("503")

    monkeypatch.setattr(run, "acreate_progress_artifact", refuse)
    use_toolchains(stand_in())
    assert [cell.built for cell in asyncio.run(build_release(release)).cells] == [True]

"""Who gets which GPU, and what happens where the same engine is wanted twice at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from flows.build_release import build_release
from flows.cli.engines import read_all
from flows.settings import settings
from tasks.domain.order import ReleaseOutcome
from tasks.domain.release import ReleaseRef
from tests.stand_in.toolchain import H100, SECOND_H100, StandIn

pytestmark = pytest.mark.usefixtures("converted_before")

Keys = Callable[[str], list[str]]
Publish = Callable[..., ReleaseRef]


@pytest.fixture
def two_at_a_time(work_dir: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each flow build two engines at a time."""
    del work_dir
    monkeypatch.setenv("ENGINEFARM_PARALLEL_BUILDS", "2")
    settings.cache_clear()


def build_at_once(*releases: ReleaseRef) -> list[ReleaseOutcome]:
    async def all_of_them() -> list[ReleaseOutcome]:
        return list(await asyncio.gather(*map(build_release, releases)))

    return asyncio.run(all_of_them())


def begun_on(toolchain: StandIn) -> list[str]:
    return [event["gpu"] for event in toolchain.events() if event["event"] == "build starts"]


@pytest.mark.slow
@pytest.mark.usefixtures("two_at_a_time")
def test_one_build_at_a_time_on_a_gpu(
    stand_in: Callable[..., StandIn], use_toolchains: Callable[..., None], publish: Publish, demo_model: bytes
) -> None:
    toolchain = stand_in(build_seconds=1.0)
    use_toolchains(toolchain)
    requests = [
        f"profile: false\ntargets: [h100-sxm-80gb]\nprecisions: [fp32, {other}]\n"
        for other in ("fp16", "tf32")
    ]
    releases = [
        publish(request, {"model.keras": demo_model}, version=str(number))
        for number, request in enumerate(requests)
    ]

    outcomes = build_at_once(*releases)

    assert [cell.built for outcome in outcomes for cell in outcome.cells] == [True] * 4
    assert [event["event"] for event in toolchain.events()] == ["build starts", "build ends"] * 4


@pytest.mark.slow
@pytest.mark.usefixtures("two_at_a_time")
def test_two_gpus_build_at_once(
    stand_in: Callable[..., StandIn], use_toolchains: Callable[..., None], publish: Publish, demo_model: bytes
) -> None:
    toolchain = stand_in(gpus=(H100, SECOND_H100), meet=2)  # neither goes on before both have begun
    use_toolchains(toolchain)
    request = "profile: false\ntargets: [h100-sxm-80gb]\nprecisions: [fp32, fp16]\n"

    (outcome,) = build_at_once(publish(request, {"model.keras": demo_model}))

    assert [record.engine_verification.verdict for record in read_all(outcome)] == ["passed"] * 2
    assert sorted(begun_on(toolchain)) == [H100.uuid, SECOND_H100.uuid]


@pytest.mark.slow
def test_the_same_engine_wanted_twice_is_built_once(
    stand_in: Callable[..., StandIn],
    use_toolchains: Callable[..., None],
    publish: Publish,
    stored_keys: Keys,
    demo_model: bytes,
) -> None:
    """One run builds it, and the other finds what it waited for, also where there is a GPU for each."""
    for version, gpus in (("1", (H100,)), ("2", (H100, SECOND_H100))):
        toolchain = stand_in(gpus=gpus, build_seconds=1.0)
        use_toolchains(toolchain)
        release = publish(
            "profile: false\ntargets: [h100-sxm-80gb]\n", {"model.keras": demo_model}, version=version
        )

        cells = [cell for outcome in build_at_once(release, release) for cell in outcome.cells]

        assert sorted(cell.built for cell in cells) == [False, True]
        assert cells[0].key == cells[1].key
        assert cells[0].plan == cells[1].plan
        assert stored_keys(f"engines/digits/{version}/") == [cells[0].key]
        assert len(begun_on(toolchain)) == 1

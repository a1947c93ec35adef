"""How a build on a GPU can end: a typed error, nothing left, and the next build on the same host works."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agents.hardware import probe
from flows.build_release import build_release
from flows.settings import settings
from tasks.domain import errors
from tasks.domain.errors import FarmError
from tasks.domain.release import ReleaseRef
from tests.stand_in.toolchain import H100, StandIn
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("converted_before")

Keys = Callable[[str], list[str]]
ORDINARY: dict[str, object] = {"fault": "", "gpus": (H100,), "driver": 0, "build_seconds": 0.0, "spin": False}
MIB = 1024
LIMITS = (10, 60, 240)  # a machine under load may not have begun the build when the first is over
# What the toolchain does, the error, whether a retry can help, and how often the build was begun.
Endings = list[tuple[dict[str, object], type[FarmError], bool, int]]
ENDINGS: Endings = [
    ({"fault": "segv"}, errors.ChildCrashed, False, 1),
    ({"fault": "host-memory"}, errors.ChildOutOfMemory, False, 1),
    ({"fault": "gpu-memory"}, errors.GpuUnavailable, True, 3),
    ({"build_seconds": 600.0}, errors.ChildTimedOut, False, 1),
    ({"gpus": ()}, errors.GpuUnavailable, True, 0),
]
OTHERS: Endings = [
    ({"fault": "host-memory-told"}, errors.ChildOutOfMemory, False, 1),
    ({"fault": "gpu-memory-run"}, errors.GpuUnavailable, True, 1),
    ({"driver": "absent"}, errors.GpuUnavailable, True, 0),
]


def error_of(release: ReleaseRef) -> FarmError:
    with pytest.raises(FarmError) as caught:
        asyncio.run(build_release(release))
    return caught.value


@pytest.mark.parametrize(
    "endings", [pytest.param(ENDINGS, marks=pytest.mark.slow), pytest.param(OTHERS, marks=pytest.mark.long)]
)
def test_each_ending_is_told_and_leaves_the_host_as_it_was(
    endings: Endings,
    stand_in: Callable[..., StandIn],
    use_toolchains: Callable[..., None],
    publish: Callable[..., ReleaseRef],
    stored_keys: Keys,
    demo_model: bytes,
    work_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toolchain = stand_in()
    use_toolchains(toolchain)
    # With timings of another build, one that crashes would be tried once more without them.
    request = "timing: none\nprofile: false\ntargets: [h100-sxm-80gb]\nprecisions: [{}]\n"
    asyncio.run(build_release(publish(request.format("fp32"), {"model.keras": demo_model})))
    (first,) = stored_keys("engines/")

    release = publish(request.format("fp16"), {"model.keras": demo_model}, version="2")
    monkeypatch.setenv("ENGINEFARM_CHILD_MEMORY_MIB", str(MIB))

    def ending(begun: int, seconds: int, *longer: int) -> tuple[FarmError, list[Mapping[str, Any]]]:
        """Return the error within the first limit of seconds that lets so many builds begin, and those."""
        monkeypatch.setenv("ENGINEFARM_CHILD_SECONDS", str(seconds))
        settings.cache_clear()
        before = len(toolchain.events())
        error = error_of(release)
        starts = [event for event in toolchain.events()[before:] if event["event"] == "build starts"]
        return (error, starts) if len(starts) == begun or not longer else ending(begun, *longer)

    for behaviour, wanted, retryable, begun in endings:
        toolchain.becomes(**ORDINARY | behaviour)
        limits = LIMITS if wanted is errors.ChildTimedOut else LIMITS[-1:]
        error, starts = ending(begun, *limits)
        assert (type(error), error.retryable) == (wanted, retryable), behaviour
        assert len(starts) == begun, behaviour
        assert not any(lives(event["pid"]) for event in starts), behaviour
        assert list(work_dir.iterdir()) == [], behaviour
        assert stored_keys("engines/") == [first], behaviour
        assert stored_keys("quarantine/") == [], behaviour

    toolchain.becomes(**ORDINARY)
    assert [cell.built for cell in asyncio.run(build_release(release)).cells] == [True]


@pytest.mark.parametrize(
    ("behaviour", "wanted", "retryable", "message"),
    [
        ({"gpus": ()}, errors.TargetUnavailable, False, "this host can build for rtx-sm120"),
        ({"driver": 999}, errors.GpuUnavailable, True, "CUDA error 999"),
    ],
)
def test_a_host_without_the_gpu_says_so_before_it_converts(
    behaviour: dict[str, object],
    wanted: type[FarmError],
    retryable: bool,  # noqa: FBT001 (a column)
    message: str,
    stand_in: Callable[..., StandIn],
    use_toolchains: Callable[..., None],
    publish: Callable[..., ReleaseRef],
    stored_keys: Keys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toolchain = stand_in(**behaviour)
    use_toolchains(toolchain)
    release = publish("profile: false\ntargets: [h100-sxm-80gb]\n", {"model.keras": b"never read"})
    before = stored_keys("conversions/")  # of other models
    error = error_of(release)
    assert (type(error), error.retryable) == (wanted, retryable)
    assert message in error.found
    assert stored_keys("conversions/") == before

    toolchain.becomes(**ORDINARY)
    if retryable:  # what did not work is asked again in the same process, after some time
        monkeypatch.setattr(probe, "_ASK_AGAIN_SECONDS", 0)
        assert isinstance(error_of(release), errors.ModelUnreadable)


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def _cancel_while_it_builds(release: ReleaseRef, toolchain: StandIn) -> None:
    """Cancel a build that would go on, and return when its process has ended."""
    task = asyncio.ensure_future(build_release(release))
    await until(lambda: task.done() or toolchain.events())
    await asyncio.sleep(1)  # mostly it is in the long call now; before that it is ended more easily
    pid = toolchain.events()[0]["pid"]
    assert lives(pid)
    task.cancel()
    await until(lambda: not lives(pid))
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "spin",
    [pytest.param(False, id="sleeping", marks=pytest.mark.long), pytest.param(True, id="deaf to signals")],
)
def test_a_cancel_ends_the_process_that_builds(
    spin: bool,  # noqa: FBT001 (a column)
    stand_in: Callable[..., StandIn],
    use_toolchains: Callable[..., None],
    publish: Callable[..., ReleaseRef],
    stored_keys: Keys,
    demo_model: bytes,
    work_dir: Path,
) -> None:
    toolchain = stand_in(build_seconds=600.0, spin=spin)
    use_toolchains(toolchain)
    release = publish("profile: false\ntargets: [h100-sxm-80gb]\n", {"model.keras": demo_model})

    asyncio.run(_cancel_while_it_builds(release, toolchain))

    assert stored_keys("engines/") == []
    assert list(work_dir.iterdir()) == []
    toolchain.becomes(**ORDINARY)
    assert [cell.built for cell in asyncio.run(build_release(release)).cells] == [True]


async def _kill_while_it_builds(release: ReleaseRef, toolchain: StandIn) -> list[bool]:
    """Kill the process that builds, as the kernel does without memory; return what was built."""
    task = asyncio.ensure_future(build_release(release))
    await until(lambda: task.done() or toolchain.events())
    toolchain.becomes(**ORDINARY)
    os.kill(toolchain.events()[0]["pid"], signal.SIGKILL)
    return [cell.built for cell in (await task).cells]


def test_a_build_whose_process_was_killed_is_tried_once_more(
    stand_in: Callable[..., StandIn],
    use_toolchains: Callable[..., None],
    publish: Callable[..., ReleaseRef],
    stored_keys: Keys,
    demo_model: bytes,
) -> None:
    toolchain = stand_in(build_seconds=600.0)
    use_toolchains(toolchain)
    release = publish("profile: false\ntargets: [h100-sxm-80gb]\n", {"model.keras": demo_model})

    assert asyncio.run(_kill_while_it_builds(release, toolchain)) == [True]

    assert [event["event"] for event in toolchain.events()].count("build starts") == 2
    assert len(stored_keys("engines/")) == 1
    assert stored_keys("quarantine/") == []

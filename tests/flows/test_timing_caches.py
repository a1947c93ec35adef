"""Timing caches by the steps around a build, on a stand-in for GPUs: see `tests.stand_in.toolchain`.

It chooses a kernel at random for each layer that no timing cache knows, as a GPU seems to do, so a plan that
comes out the same has its timings from a cache.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import (
    BuildRefused,
    ChildCrashed,
    NotStored,
    RequestInvalid,
    StoreUnreachable,
    TimingCacheMiss,
)
from tasks.domain.record import EngineRecord
from tasks.domain.request import Precision, TimingMode
from tasks.domain.timing import TimingUse
from tasks.store.s3 import s3_client
from tasks.tensorrt.engine import BuiltEngine, EngineJob, build_engine
from tests.stand_in.toolchain import H100, L4, SECOND_H100, StandIn
from tests.support.small_cells import Cell, Done, make_cell

Keys = Callable[[str], list[str]]


@pytest.fixture
def cell(
    stand_in: Callable[..., StandIn], engine_record: EngineRecord, s3_env: str, tmp_path: Path
) -> Callable[..., Cell]:
    """A function that returns a cell on the GPU of a new stand-in."""

    def make(**what: Any) -> Cell:
        folder = tmp_path / f"cell-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return make_cell(stand_in(**what), engine_record, f"s3://{s3_env}", folder)

    return make


def overwrite(of_cell: Cell, key: str, data: bytes) -> None:
    s3_client().put_object(Bucket=of_cell.order.store.removeprefix("s3://"), Key=key, Body=data)


def stored(of_cell: Cell, key: str) -> bytes:
    answer = s3_client().get_object(Bucket=of_cell.order.store.removeprefix("s3://"), Key=key)
    return answer["Body"].read()


def timings(of_cell: Cell, ref: BlobRef | None) -> dict[str, Any]:
    """Return what the stand-in's cache holds: a kernel and its time by layer."""
    assert ref is not None
    entries: dict[str, Any] = json.loads(stored(of_cell, ref.key))["entries"]
    return entries


@pytest.mark.slow
def test_builds_on_two_boards_at_once_lose_nothing(cell: Callable[..., Cell], stored_keys: Keys) -> None:
    first, other = cell(gpus=(H100,)), cell(gpus=(SECOND_H100,))
    began = first.run("Abs")

    async def both() -> list[Done]:
        starts = (
            await first.start(first.graph("Abs", "Relu", "Relu")),
            await other.start(other.graph("Abs", "Sigmoid")),
        )
        return await asyncio.gather(
            *(each.finish(*start) for each, start in zip((first, other), starts, strict=True))
        )

    done = asyncio.run(both())
    assert all(each.timing.used == began.timing.left for each in done), "also that of another board"
    own = [timings(first, each.timing.left) for each in done]
    (key,) = stored_keys("timing/")
    shared = timings(first, BlobRef(**json.loads(stored(first, key))["cache"]))
    assert len(timings(first, began.timing.left)) == 2
    assert len(shared) == 4
    assert shared.keys() == own[0].keys() | own[1].keys()
    later = first.run("Abs", "Relu", "Sigmoid")
    assert timings(first, later.timing.left) == shared, "nothing had to be measured"


def test_none_measures_everything_and_keeps_nothing(cell: Callable[..., Cell], stored_keys: Keys) -> None:
    done = cell().run("Abs", timing=TimingMode.NONE)
    notes = ("the request asks for none",)
    assert done.timing == TimingUse(mode=TimingMode.NONE, used=None, left=None, notes=notes)
    assert stored_keys("timing/") == []


def test_gpu_models_do_not_share(cell: Callable[..., Cell], stored_keys: Keys) -> None:
    cell(gpus=(H100,)).run("Abs")
    other = cell(gpus=(L4,)).run("Abs")
    assert other.timing.used is None
    assert [key.split("/")[1] for key in stored_keys("timing/")] == ["h100-sxm-80gb", "l4"]


@pytest.mark.slow
def test_another_models_cache_in_this_ones_place_is_not_used(
    cell: Callable[..., Cell], stored_keys: Keys
) -> None:
    h100, other = cell(gpus=(H100,)), cell(gpus=(L4,))
    other.run("Abs")
    (foreign,) = stored_keys("timing/")
    h100.run("Abs")
    (ours,) = set(stored_keys("timing/")) - {foreign}
    overwrite(h100, ours, json.dumps(json.loads(stored(h100, foreign)) | {"key": ours}).encode())

    again = h100.run("Abs", weight=2.0)
    assert again.timing.used is None
    assert again.timing.notes == (f"the record {ours} cannot be read",)
    assert h100.run("Abs", weight=3.0).timing.used == again.timing.left


@pytest.mark.parametrize(
    ("damage", "note"),
    [
        ("record", "cannot be read"),
        pytest.param("blob", "left out", marks=pytest.mark.slow),
        ("content", "was dropped"),
    ],
)
def test_a_damaged_cache_is_dropped_with_a_note_and_replaced(
    damage: str, note: str, cell: Callable[..., Cell], stored_keys: Keys
) -> None:
    old = cell(version="8.6.0")
    left = old.run("Abs").timing.left
    assert left is not None
    (key,) = stored_keys("timing/")
    if damage == "record":
        overwrite(old, key, b"{")
    elif damage == "blob":
        overwrite(old, left.key, b"x" * left.size)
    else:  # whole bytes of another TensorRT
        data = stored(old, left.key).replace(b"8.6.0.12", b"8.6.1.99")
        ref = blob_ref(data)
        overwrite(old, ref.key, data)
        document = json.loads(stored(old, key)) | {"cache": {"sha256": ref.sha256, "size": ref.size}}
        overwrite(old, key, json.dumps(document).encode())

    cold = old.run("Abs", weight=2.0)
    assert cold.timing.used is None
    (said,) = cold.timing.notes
    assert note in said
    assert old.run("Abs", weight=3.0).timing.used == cold.timing.left


@pytest.mark.parametrize("what", ["find_timing", "share_timing"])
def test_trouble_with_the_store_is_a_note(
    what: str, cell: Callable[..., Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreUnreachable(wanted="a cache", found="no answer", fix="wait")

    monkeypatch.setattr(f"tasks.timing.{what}", fail)
    done = cell().run("Abs")
    (note,) = done.timing.notes
    assert note.endswith("no answer")
    assert done.plan


@pytest.mark.parametrize("error", [pytest.param(ChildCrashed, marks=pytest.mark.slow), BuildRefused])
def test_where_a_cache_makes_the_build_fail_it_is_built_without_and_replaced(
    error: type[ChildCrashed | BuildRefused], cell: Callable[..., Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in runs every kernel, so that a build fails with this cache has to be arranged."""
    h100 = cell()
    poison = h100.run("Abs").timing.left

    async def fail_with_poison(job: EngineJob, **named: Any) -> BuiltEngine:
        timing = job.timing
        if timing is not None and timing.cache is not None and timing.cache.ref == poison:
            raise error(wanted="a plan", found="a kernel that does not run", fix="none")
        return await build_engine(job, **named)

    monkeypatch.setattr("tasks.build.build_engine", fail_with_poison)
    cold = h100.run("Relu")
    assert cold.timing.used is None
    (note,) = cold.timing.notes
    assert "a kernel that does not run" in note
    assert h100.run("Relu", weight=2.0).timing.used == cold.timing.left != poison


@pytest.mark.slow
def test_a_reproducible_build_repeats_the_one_that_it_names(
    cell: Callable[..., Cell], stored_keys: Keys
) -> None:
    board, other_board = cell(gpus=(H100,)), cell(gpus=(SECOND_H100,))
    asked: dict[str, Any] = {"timing": TimingMode.REPRODUCIBLE}
    first, second = board.run("Abs", "Relu", **asked), board.run("Abs", "Relu", **asked)
    assert first.plan != second.plan, "kernels are chosen anew"
    left = first.timing.left
    assert left is not None
    keys = stored_keys("timing/")
    assert sum(key.endswith(f"/{left.sha256}.json") for key in keys) == 1

    named = asked | {"timing_cache": left.sha256}
    for each in (board, other_board):
        again = each.run("Abs", "Relu", **named)
        assert again.plan == first.plan
        assert again.timing == TimingUse(mode=TimingMode.REPRODUCIBLE, used=left, left=None)
    assert stored_keys("timing/") == keys
    with pytest.raises(TimingCacheMiss, match="with `timing: reproducible` and no `timing_cache` makes one"):
        board.run("Abs", "Sigmoid", **named)
    with pytest.raises(TimingCacheMiss):
        board.run("Abs", "Relu", precision=Precision.TF32, **named)
    with pytest.raises(NotStored, match="for NVIDIA L4"):
        cell(gpus=(L4,)).run("Abs", "Relu", **named)


def test_a_reproducible_build_is_refused_where_there_is_none(cell: Callable[..., Cell]) -> None:
    with pytest.raises(RequestInvalid, match=r"TensorRT 8\.6\.0\.12, which has neither editable"):
        cell(version="8.6.0").run("Abs", timing=TimingMode.REPRODUCIBLE)


def test_a_host_that_does_not_tell_its_cuda_has_no_cache(cell: Callable[..., Cell]) -> None:
    h100 = cell()
    h100.site = replace(h100.site, cuda=None)
    assert h100.run("Abs").timing.notes == ("this host's NVIDIA driver does not tell its version of CUDA",)
    with pytest.raises(RequestInvalid, match="does not tell"):
        h100.run("Abs", timing=TimingMode.REPRODUCIBLE)


def test_a_driver_that_changed_since_the_probe_gets_no_timings_under_the_old_ones_key(
    cell: Callable[..., Cell], stored_keys: Keys
) -> None:
    h100 = cell()
    h100.site = replace(h100.site, cuda="12.9")
    (note,) = h100.run("Abs").timing.notes
    assert "a build with CUDA 13.0" in note
    assert stored_keys("timing/") == []


def test_caches_are_listed_and_dropped(cell: Callable[..., Cell], stored_keys: Keys) -> None:
    h100 = cell()
    h100.run("Abs")
    (key,) = stored_keys("timing/")
    runner, store = CliRunner(env={"COLUMNS": "200"}), h100.order.store
    listed = runner.invoke(app, ["timing", "list", "--store", store])
    assert all(word in listed.output for word in (H100.name, "10.13.3.9", "13.0", key))
    documents = json.loads(runner.invoke(app, ["timing", "list", "--json", "--store", store]).output)
    assert [each["key"] for each in documents] == [key]
    assert runner.invoke(app, ["timing", "drop", key, "--store", store]).exit_code == 0
    assert stored_keys("timing/") == []
    assert isinstance(runner.invoke(app, ["timing", "drop", key, "--store", store]).exception, NotStored)
    assert h100.run("Abs", weight=2.0).timing.used is None

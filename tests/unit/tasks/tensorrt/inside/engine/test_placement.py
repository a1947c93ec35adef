"""Where a plan may run, by its record; and that each profile of it counts where it is verified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from tasks.children.compare import Arrays
from tasks.children.reference import Corner
from tasks.domain.errors import InputInvalid, TargetUnavailable, ToolchainBroken
from tasks.domain.gate import Top1, judge
from tasks.domain.record import Comparison, Verdict
from tasks.tensorrt.inside.engine.opening import open_runner
from tasks.tensorrt.inside.engine.plan import Place, PlanRecord, check_place, read_plan_record
from tasks.tensorrt.inside.engine.runner import Runner
from tasks.tensorrt.inside.measure.loads import corner_loads
from tasks.tensorrt.inside.verify import _worst_of_profiles

RECORD = Path(__file__).parents[5] / "assets/engine-record.json"
VERSION: Mapping[str, Any] = {"version": True, "lean_runtime": True, "hardware": "none"}
BARE: Mapping[str, Any] = {"version": True, "lean_runtime": False, "hardware": "none"}
AMPERE: Mapping[str, Any] = {"version": False, "lean_runtime": True, "hardware": "ampere_plus"}
SAME: Mapping[str, Any] = {"version": False, "lean_runtime": True, "hardware": "same_compute_capability"}


def place(version: str, gpu: str, compute: str) -> Place:
    return Place(
        flavour="tensorrt", version=version, gpu=gpu, compute_capabilities=(compute,), system="linux x86_64"
    )


L4 = place("10.13.3.9", "NVIDIA L4", "8.9")


@pytest.mark.parametrize(
    ("compatibility", "here", "runs"),
    [
        ({}, L4, True),
        ({}, place("10.13.3.10", "NVIDIA L4", "8.9"), False),
        ({}, place("10.13.3.9", "NVIDIA L40S", "8.9"), False),
        (VERSION, place("10.16.1.11", "NVIDIA L4", "8.9"), True),
        (VERSION, place("11.4.0.106", "NVIDIA L4", "8.9"), True),
        (VERSION, place("12.0.0.1", "NVIDIA L4", "8.9"), False),
        (VERSION, place("10.12.0.1", "NVIDIA L4", "8.9"), False),
        (VERSION, place("10.13.3.9", "NVIDIA L40S", "8.9"), False),
        (BARE, L4, True),
        (BARE, place("10.16.1.11", "NVIDIA L4", "8.9"), False),
        (SAME, place("10.13.3.9", "NVIDIA L40S", "8.9"), True),
        (SAME, place("10.13.3.9", "NVIDIA A10", "8.6"), False),
        (AMPERE, place("10.13.3.9", "NVIDIA A10", "8.6"), True),
        (AMPERE, place("10.13.3.9", "NVIDIA B200", "10.0"), True),
        (AMPERE, place("10.13.3.9", "Tesla T4", "7.5"), False),
        (AMPERE, place("10.16.1.11", "NVIDIA A10", "8.6"), False),
        ({**VERSION, "hardware": "ampere_plus"}, place("11.4.0.106", "NVIDIA A10", "8.6"), True),
    ],
)
def test_a_plan_runs_where_it_was_built_and_where_it_is_compatible(
    compatibility: Mapping[str, Any], here: Place, *, runs: bool
) -> None:
    record = PlanRecord(sha256="", size=1, target=L4, plugins=(), compatibility=compatibility)
    if runs:
        check_place(record, here)
        return
    with pytest.raises(TargetUnavailable, match="NVIDIA L4"):
        check_place(record, here)


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    """A plan, and beside it a record of one that was built without weights and with a runtime."""
    plan, record = tmp_path / "net.plan", json.loads(RECORD.read_text("utf-8"))
    plan.write_bytes(b"plan")
    record["plan"] = {"sha256": hashlib.sha256(b"plan").hexdigest(), "size": 4}
    record["options"] |= {"stripped": True, "compatibility": VERSION}
    (tmp_path / "net.plan.json").write_text(json.dumps(record), "utf-8")
    return plan


def test_a_plan_without_weights_is_not_opened(fetched: Path) -> None:
    assert read_plan_record(fetched.with_name("net.plan.json")).carries_code
    with pytest.raises(InputInvalid, match=r"built without.*OnnxParserRefitter"):
        open_runner(fetched, sha256=None, module=None, gpu_index=0, plugins=None)


def test_a_plan_with_native_code_is_opened_only_with_its_users_permission(fetched: Path) -> None:
    """A record that anybody changed must not make a consumer's process run the plan's code."""
    beside = fetched.with_name("net.plan.json")
    record = json.loads(beside.read_text("utf-8"))
    record["options"]["stripped"] = False
    beside.write_text(json.dumps(record), "utf-8")
    with pytest.raises(InputInvalid, match=r"native code.*--allow-host-code.*allow_host_code=True"):
        open_runner(fetched, sha256=None, module=None, gpu_index=0, plugins=None)
    with pytest.raises(ToolchainBroken):  # the next check: there is no TensorRT here
        open_runner(fetched, sha256=None, module=None, gpu_index=0, plugins=None, allow_host_code=True)


class TwoProfiles:
    """Stands for an engine with two profiles that take batches up to 4 and from 4; the second is wrong."""

    inputs = ()

    def profiles_for(self, inputs: Arrays) -> tuple[int, ...]:
        batch = len(inputs["x"])
        return tuple(number for number, fits in enumerate((batch <= 4, batch >= 4)) if fits)

    def run(self, inputs: Arrays, *, profile: int | None) -> Arrays:
        if profile is None:
            raise InputInvalid(wanted="shapes within a profile", found="others", fix="none")
        return {"y": inputs["x"] + profile}


@pytest.mark.parametrize(("batch", "off"), [(2, 0.0), (4, 1.0), (8, 1.0)])
def test_a_corner_is_run_in_each_profile_and_the_worst_counts(batch: int, off: float) -> None:
    x = np.ones((batch, 3), np.float32)
    corner = Corner("max/min 2", {"x": x}, {"y": x}, {"y": 0.0})
    (row,), actual = _worst_of_profiles(cast(Runner, TwoProfiles()), corner)
    assert (row["corner"], row["max_abs"]) == ("max/min 2", off)
    np.testing.assert_array_equal(actual["y"], x + off)


def test_the_gate_gets_the_worst_of_each_figure() -> None:
    """The first profile is furthest off, the second answers with another class."""

    class Classifier(TwoProfiles):
        def run(self, inputs: Arrays, *, profile: int | None) -> Arrays:
            scores = [[0.4, 0.6], [0.0, 1.0]] if profile == 0 else [[0.55, 0.45], [0.45, 0.55]]
            return {"y": np.repeat(np.array(scores, np.float32), len(inputs["x"]) // 2, axis=0)}

    y = np.repeat(np.array([[0.45, 0.55], [0.45, 0.55]], np.float32), 2, axis=0)
    corner = Corner("max/min 2", {"x": np.zeros((4, 3), np.float32)}, {"y": y}, {"y": 0.0})
    (row,), actual = _worst_of_profiles(cast(Runner, Classifier()), corner)
    assert (row["top1"], row["top1_rows"], row["values"]) == (0.5, 4, 8)
    assert row["max_abs"] == pytest.approx(0.45)
    assert row["relative"] == pytest.approx(0.45 / 0.55)
    np.testing.assert_array_equal(actual["y"][3], np.array([0.0, 1.0], np.float32))
    comparisons = (Comparison(**row),)
    assert judge(comparisons, compared="", inputs="", tolerance=1.0).verdict is Verdict.PASSED
    strict = judge(comparisons, compared="", inputs="", tolerance=1.0, top1=Top1(least=0.9, asked=True))
    assert strict.verdict is Verdict.FAILED


def test_a_corner_that_no_profile_takes_is_told() -> None:
    class NoProfile(TwoProfiles):
        def profiles_for(self, inputs: Arrays) -> tuple[int, ...]:
            del inputs
            return ()

    x = np.ones((1, 3), np.float32)
    with pytest.raises(InputInvalid, match="within a profile"):
        _worst_of_profiles(cast(Runner, NoProfile()), Corner("min", {"x": x}, {"y": x}, {"y": 0.0}))


def test_each_corner_is_measured_in_the_profile_that_it_is_of() -> None:
    corners = [
        Corner(name, {"x": np.zeros((rows, 3), np.float32)}, {}, {})
        for name, rows in {"min/opt": 1, "max/min 2": 4, "opt 2": 8, "max 2": 16}.items()
    ]
    loads = corner_loads(corners)
    assert [(load.name, load.profile) for load in loads] == [
        ("min/opt", 0), ("max/min 2", 0), ("opt 2", 1), ("max 2", 1),
    ]  # fmt: skip

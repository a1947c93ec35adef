"""What a request asks of plans, from build.yaml to the records."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from flows.build_release import build_release
from flows.engines import layers, read_all
from tasks.build import build
from tasks.domain.errors import TargetUnavailable
from tasks.domain.gpu_table import device_slug
from tasks.domain.record import Verdict
from tasks.domain.release import ReleaseRef
from tasks.domain.request import ShapeRange
from tasks.tensorrt.engine import BuiltEngine

REQUEST = """
profiles:
  - image: {min: [1, 8, 8, 1], opt: [1, 8, 8, 1], max: [4, 8, 8, 1]}
  - image: {min: [4, 8, 8, 1], opt: [16, 8, 8, 1], max: [32, 8, 8, 1]}
targets: [rtx-sm89-sm86, rtx-portable]
"""


def test_profiles_and_portable_plans(
    publish: Callable[..., ReleaseRef], stored_keys: Callable[[str], list[str]], demo_model: bytes
) -> None:
    outcome = asyncio.run(build_release(publish(REQUEST, {"model.keras": demo_model})))
    two, portable = records = read_all(outcome)
    assert device_slug(two.target) == "rtx-sm86-sm89"
    assert device_slug(portable.target) == "rtx-sm80-sm86-sm89-sm120-sm121"
    assert sorted(record.key for record in records) == stored_keys("engines/")
    for record in records:
        assert device_slug(record.target) in record.key
        assert record.options.shapes["image"].max == (4, 8, 8, 1)
        assert record.options.further_profiles == (
            {"image": ShapeRange(min=(4, 8, 8, 1), opt=(16, 8, 8, 1), max=(32, 8, 8, 1))},
        )
        assert record.derived_shapes == ()
        verified = record.graph_verification
        assert verified.verdict is Verdict.PASSED
        # TensorFlow is asked once for the same shapes: opt is min here, and the second min the first max.
        corners = ["min/opt", "max/min 2", "opt 2", "max 2"]
        assert [one.corner for one in verified.comparisons] == corners
        assert record.layers is None
        assert "built without a GPU" in record.no_layers
    again = asyncio.run(build_release(outcome.release))
    assert not any(cell.built for cell in again.cells)


def test_layers_are_stored_beside_the_plan_and_shown(
    publish: Callable[..., ReleaseRef],
    demo_model: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The document stands in for one that TensorRT tells where a GPU is."""

    async def build_where_a_gpu_is(*rest: Any, **named: Any) -> BuiltEngine:
        built = await build(*rest, **named)
        told = built.plan.with_suffix(".layers.json")
        told.write_text('{"Layers": ["conv"]}\n', "utf-8")
        return replace(built, layers=told, no_layers="")

    monkeypatch.setattr("flows.build_engine.build", build_where_a_gpu_is)
    outcome = asyncio.run(build_release(publish("targets: rtx-sm89\n", {"model.keras": demo_model})))
    (record,) = read_all(outcome)
    assert record.layers is not None
    assert record.no_layers == ""
    capsys.readouterr()
    layers(record.key, store=outcome.store)
    assert json.loads(capsys.readouterr().out) == {"Layers": ["conv"]}


def test_what_no_target_can_do_is_refused_before_anything_is_built(
    publish: Callable[..., ReleaseRef], stored_keys: Callable[[str], list[str]], demo_model: bytes
) -> None:
    asked = "targets: rtx-sm89\ncompatibility: {version: true}\n"
    with pytest.raises(TargetUnavailable, match="the very release that built them only"):
        asyncio.run(build_release(publish(asked, {"model.keras": demo_model})))
    assert stored_keys("conversions/") == []

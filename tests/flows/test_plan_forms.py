"""What a request asks of plans, from build.yaml to the records."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from flows.build_release import build_release
from flows.cli.engines import layers, read_all
from tasks.domain.compatibility import Compatibility, HardwareLevel, ReadBack
from tasks.domain.errors import TargetUnavailable
from tasks.domain.gpu_table import device_slug
from tasks.domain.record import Verdict
from tasks.domain.release import ReleaseRef
from tasks.domain.request import ShapeRange
from tests.stand_in.toolchain import StandIn

after_conversion = pytest.mark.usefixtures("converted_before")

_PROFILES = """
profiles:
  - image: {min: [1, 8, 8, 1], opt: [1, 8, 8, 1], max: [4, 8, 8, 1]}
  - image: {min: [4, 8, 8, 1], opt: [16, 8, 8, 1], max: [32, 8, 8, 1]}
"""
REQUEST = f"""{_PROFILES}
targets: [rtx-sm89-sm86, rtx-portable]
"""


@pytest.mark.slow
@after_conversion
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
        assert [comparison.corner for comparison in verified.comparisons] == corners
        assert record.layers is None
        assert "built without a GPU" in record.no_layers
    again = asyncio.run(build_release(outcome.release))
    assert not any(cell.built for cell in again.cells)


ON_A_GPU = f"""{_PROFILES}targets: [h100-sxm-80gb]
refittable: true
"""


@after_conversion
@pytest.mark.slow
@pytest.mark.parametrize("version", [pytest.param("8.6.0", marks=pytest.mark.long), "10.13.3.9"])
def test_plans_of_a_gpu_are_verified_in_every_profile_and_tell_their_layers(
    version: str,
    stand_in: Callable[..., StandIn],
    use_toolchains: Callable[..., None],
    publish: Callable[..., ReleaseRef],
    demo_model: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The stand-in loads a plan with a runtime in it only where that is allowed, as TensorRT does."""
    use_toolchains(stand_in(version=version))
    asked = ON_A_GPU + "compatibility: {version: true, hardware: ampere_plus}\n"
    outcome = asyncio.run(build_release(publish(asked, {"model.keras": demo_model})))
    (record,) = read_all(outcome)
    assert record.options.compatibility == Compatibility(version=True, hardware=HardwareLevel.AMPERE_PLUS)
    assert record.options.refittable
    assert record.read_back == ReadBack(hardware=HardwareLevel.AMPERE_PLUS, refittable=True)
    assert record.engine_verification.verdict is Verdict.PASSED
    corners = ["min/opt", "max/min 2", "opt 2", "max 2"]
    assert [comparison.corner for comparison in record.engine_verification.comparisons] == corners
    assert {case.name for case in record.profile.cases} >= set(corners)
    assert record.no_layers == ""
    capsys.readouterr()
    layers(record.key, store=outcome.store)
    document = json.loads(capsys.readouterr().out)
    assert {layer["LayerType"] for layer in document["Layers"]} >= {"Conv", "Relu"}


@pytest.mark.slow
@after_conversion
def test_a_plan_without_weights_is_not_run(
    stand_in: Callable[..., StandIn],
    use_toolchains: Callable[..., None],
    publish: Callable[..., ReleaseRef],
    demo_model: bytes,
) -> None:
    use_toolchains(stand_in(version="10.13.3.9"))
    asked = ON_A_GPU + "stripped: true\n"
    (record,) = read_all(asyncio.run(build_release(publish(asked, {"model.keras": demo_model}))))
    assert record.options.stripped
    assert record.engine_verification.verdict is Verdict.NOT_MEASURED
    assert "refit" in record.engine_verification.reason
    assert "refitted" in record.profile.reason
    assert record.graph_verification.verdict is Verdict.PASSED


def test_what_no_target_can_do_is_refused_before_anything_is_built(
    publish: Callable[..., ReleaseRef], stored_keys: Callable[[str], list[str]], demo_model: bytes
) -> None:
    asked = "targets: rtx-sm89\ncompatibility: {version: true}\n"
    with pytest.raises(TargetUnavailable, match="the very release that built them only"):
        asyncio.run(build_release(publish(asked, {"model.keras": demo_model})))
    assert stored_keys("conversions/") == []

"""Names of devices as people type them."""

from __future__ import annotations

import pytest

from tasks.domain.devices import impossible_precisions, likely_devices, similar_devices, unknown_devices
from tasks.domain.gpu_table import gpu_table
from tasks.domain.request import Precision


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("h100", ("h100-sxm-80gb", "h100-pcie-80gb")),
        ("rtx4090", ("rtx-4090",)),
        ("RTX 4090", ("rtx-4090",)),
        ("NVIDIA L4", ("l4",)),
        ("NVIDIA H100 80GB HBM3", ("h100-sxm-80gb",)),
        ("a10", ("a10",)),
        ("12.0", ("rtx-5090", "rtx-sm120")),
        ("sm75", ("t4", "rtx-sm75")),
        ("l40", ()),  # another GPU than the L40S
        ("rtx-sm98", ()),
        ("", ()),
    ],
)
def test_a_name_as_people_type_it_means_these_devices(typed: str, meant: tuple[str, ...]) -> None:
    assert likely_devices(typed) == meant


def test_every_gpu_of_the_table_is_known_by_its_name_and_by_the_drivers() -> None:
    for gpu in gpu_table().gpus.values():
        assert likely_devices(gpu.name) == likely_devices(gpu.slug) == (gpu.slug,)


def test_a_wrong_target_is_refused_with_what_to_write() -> None:
    asked = ("h100", "rtx4090", "rtx-sm98", "l4", "rtx-sm89-sm86", "rtx-portable", "l40", "h100x", "all")
    problems = unknown_devices(asked, offered=("h100x",))
    assert problems["h100"] == "for h100 write h100-sxm-80gb or h100-pcie-80gb"
    assert problems["rtx4090"] == "for rtx4090 write rtx-4090, or rtx-sm89 to build without that GPU"
    assert "TensorRT-RTX builds for rtx-sm75, " in problems["rtx-sm98"]
    assert set(problems) == {"h100", "rtx4090", "rtx-sm98"}
    assert similar_devices("rtx-sm98")[0] == "rtx-sm89"


def test_precisions_that_no_tensorrt_has_on_a_gpu_are_told_by_its_compute_capability() -> None:
    cells = impossible_precisions(("t4", "l4", "rtx-sm75"), (Precision.FP32, Precision.BF16, Precision.FP8))
    assert set(cells) == {"t4 bf16", "t4 fp8", "rtx-sm75 bf16", "rtx-sm75 fp8"}
    assert cells["t4 fp8"].endswith("and this is 7.5")

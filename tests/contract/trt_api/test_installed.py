"""The listing of TensorRT-RTX is that of the module that is installed here."""

from __future__ import annotations

import importlib
import json
from importlib.metadata import version
from pathlib import Path

from tasks.domain.gpu_table import gpu_table
from tests.assets.trt_api.write_types import stub

LISTINGS = Path(__file__).parents[2] / "assets/trt_api"


def test_listing_is_true() -> None:
    listing = json.loads((LISTINGS / f"rtx-{version('tensorrt-rtx-cu13')}.json").read_text("utf-8"))
    trt = importlib.import_module("tensorrt_rtx")
    for name, members in listing.items():
        if isinstance(members, list):
            assert set(members) <= set(dir(getattr(trt, name))), name


def test_types_are_true() -> None:
    name = version("tensorrt-rtx-cu13")
    listing = json.loads((LISTINGS / f"rtx-{name}.json").read_text("utf-8"))
    written = "\n".join(stub(importlib.import_module("tensorrt_rtx"), listing)) + "\n"
    assert written == (LISTINGS / "types/rtx_1_7.pyi").read_text("utf-8")


def test_the_table_lists_what_it_builds_for() -> None:
    trt = importlib.import_module("tensorrt_rtx")
    known = set(trt.ComputeCapability.__members__) - {"NONE", "CURRENT"}
    assert {capability.sm.upper() for capability in gpu_table().rtx} == known

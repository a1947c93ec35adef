"""One release and one target, from which each test changes a single part."""

from __future__ import annotations

import pytest

from tasks.domain.cell import CellOptions
from tasks.domain.digest import BlobRef
from tasks.domain.gate import not_measured
from tasks.domain.record import ConversionRecord, TensorSpec
from tasks.domain.release import ModelFormat, Release, ReleaseFile, ReleaseRef
from tasks.domain.request import Precision, ShapeRange
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour, TensorRTVersion


def _file(path: str, digit: str) -> ReleaseFile:
    return ReleaseFile(path=path, sha256=digit * 64, size=7, etag="e1", version_id="v1")


@pytest.fixture
def release() -> Release:
    return Release(
        ref=ReleaseRef(bucket="models", prefix="team/a", model="resnet", version="v7"),
        format=ModelFormat.SAVED_MODEL,
        files=(
            _file("build.yaml", "0"),
            _file("samples.npz", "1"),
            _file("saved_model/saved_model.pb", "2"),
            _file("saved_model/variables/variables.data-00000-of-00001", "3"),
        ),
    )


@pytest.fixture
def target() -> EngineTarget:
    return EngineTarget(
        flavour=Flavour.TENSORRT,
        version=TensorRTVersion.parse("10.13.3.9"),
        gpu="NVIDIA L4",
        compute_capabilities=(ComputeCapability(major=8, minor=9),),
        os="linux",
        architecture="x86_64",
    )


@pytest.fixture
def options() -> CellOptions:
    return CellOptions(
        signature="serving_default",
        precision=Precision.FP16,
        shapes={"x": ShapeRange(min=(1, 8), opt=(4, 8), max=(8, 8))},
        tolerance=2e-2,
        samples=None,
        workspace_mib=1024,
        optimization_level=3,
    )


@pytest.fixture
def conversion(options: CellOptions) -> ConversionRecord:
    blob = BlobRef(sha256="ab" * 32, size=17)
    tensor = TensorSpec(name="x", dtype="float32", shape=(None, 8))
    return ConversionRecord(
        key="c" * 64,
        release_digest="d" * 64,
        signature="serving_default",
        opset=17,
        graph_precision=Precision.FP32,
        onnx=blob,
        reference=blob,
        inputs=(tensor,),
        outputs=(tensor,),
        shapes=options.shapes,
        derived_shapes=(),
        verification=not_measured(tolerance=1e-4, reason="a test"),
        seconds={},
        peak_mib=1.0,
        tools={"tensorflow": "2.21.0"},
    )

"""What decides an engine and what does not. A key that misses a part serves the wrong engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tasks.domain.cell import CellOptions
from tasks.domain.compatibility import Compatibility, HardwareLevel
from tasks.domain.keys import build_key, conversion_key, conversion_record_key, engine_key
from tasks.domain.order import order_for
from tasks.domain.record import ConversionRecord
from tasks.domain.release import ModelFormat, Release
from tasks.domain.request import BuildRequest, Calibration, Plugin, Precision, ShapeRange, TimingMode
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour, TensorRTVersion

TOOLS = {"tensorflow": "2.21.0", "tf2onnx": "1.17.0"}
PLUGIN = Plugin(library="libroi.so", sha256="4" * 64)
SHAPE = ShapeRange(min=(1, 8), opt=(4, 8), max=(8, 8))

CHANGED_OPTIONS: dict[str, list[Any]] = {
    "signature": ["other"],
    "precision": [Precision.FP32, Precision.TF32],
    "shapes": [
        {},
        {"y": SHAPE},
        {"x": replace(SHAPE, min=(2, 8))},
        {"x": replace(SHAPE, opt=(5, 8))},
        {"x": replace(SHAPE, max=(9, 8))},
    ],
    "further_profiles": [({"x": SHAPE},), ({"x": SHAPE}, {"x": replace(SHAPE, max=(9, 8))})],
    "tolerance": [1e-2],
    "top1": [0.5],
    "samples": ["4" * 64],
    "calibration": [Calibration.ENTROPY],
    "plugins": [(PLUGIN,), (replace(PLUGIN, sha256="5" * 64),), (replace(PLUGIN, ops=("Roi",)),)],
    "compatibility": [
        Compatibility(version=True),
        Compatibility(version=True, lean_runtime=False),
        Compatibility(hardware=HardwareLevel.AMPERE_PLUS),
    ],
    "refittable": [True],
    "stripped": [True],
    "workspace_mib": [2048],
    "optimization_level": [0],
    "timing": [TimingMode.REPRODUCIBLE],
    "timing_cache": ["6" * 64],
}
CHANGED_TARGETS: dict[str, list[dict[str, Any]]] = {
    "flavour": [{"flavour": Flavour.RTX, "gpu": None}],
    "version": [
        {"version": TensorRTVersion.parse(v)} for v in ("11.13.3.9", "10.14.3.9", "10.13.4.9", "10.13.3.8")
    ],
    "gpu": [{"gpu": "NVIDIA L40S"}],
    "compute_capabilities": [{"compute_capabilities": (ComputeCapability(major=8, minor=6),)}],
    "os": [{"os": "other"}],
    "architecture": [{"architecture": "aarch64"}],
}


def key_of(release: Release, options: CellOptions, target: EngineTarget, **tools: str) -> str:
    digest = release.model_digest
    return build_key(model_digest=digest, opset=17, options=options, tools=TOOLS | tools, target=target)


def test_each_option_changes_the_build_key(
    release: Release, options: CellOptions, target: EngineTarget
) -> None:
    assert CHANGED_OPTIONS.keys() == {field.name for field in dataclasses.fields(CellOptions)}
    keys = [key_of(release, options, target)]
    for name, values in CHANGED_OPTIONS.items():
        changed: list[dict[str, Any]] = [{name: value} for value in values]
        keys += [key_of(release, replace(options, **change), target) for change in changed]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 64 and set(key) <= set("0123456789abcdef") for key in keys)


def test_each_part_of_the_target_changes_the_build_key(
    release: Release, options: CellOptions, target: EngineTarget
) -> None:
    assert CHANGED_TARGETS.keys() == {field.name for field in dataclasses.fields(EngineTarget)}
    keys = [key_of(release, options, target)]
    for changes in CHANGED_TARGETS.values():
        keys += [key_of(release, options, replace(target, **change)) for change in changes]
    assert len(set(keys)) == len(keys)


def test_each_tool_version_changes_the_build_key(
    release: Release, options: CellOptions, target: EngineTarget
) -> None:
    keys = {
        key_of(release, options, target),
        key_of(release, options, target, tensorflow="2.21.1"),
        key_of(release, options, target, tf2onnx="1.17.1"),
        key_of(release, options, target, onnxslim="0.1.98"),
    }
    assert len(keys) == 4


def test_the_opset_changes_the_build_key(options: CellOptions, target: EngineTarget) -> None:
    keys = {
        build_key(model_digest="d", opset=opset, options=options, tools=TOOLS, target=target)
        for opset in (17, 18)
    }
    assert len(keys) == 2


def test_every_byte_of_the_model_changes_its_digest(release: Release) -> None:
    digests = {release.model_digest}
    for index, file in enumerate(release.files):
        if file.path.startswith("saved_model/"):
            files = list(release.files)
            files[index] = replace(file, sha256="f" * 64)
            digests.add(replace(release, files=tuple(files)).model_digest)
            files[index] = replace(file, path=f"{file.path}.moved")
            digests.add(replace(release, files=tuple(files)).model_digest)
            del files[index]
            digests.add(replace(release, files=tuple(files)).model_digest)
    assert len(digests) == 7


@pytest.mark.parametrize(
    "change",
    [
        lambda r: replace(r, ref=replace(r.ref, bucket="other", prefix="", model="renamed", version="v8")),
        lambda r: replace(r, files=tuple(reversed(r.files))),
        lambda r: replace(r, files=tuple(replace(f, etag="e2", version_id=None) for f in r.files)),
        lambda r: replace(r, files=tuple(f for f in r.files if f.path != "build.yaml")),
        lambda r: replace(r, files=(*r.files, replace(r.files[0], path="README.md"))),
        lambda r: replace(r, files=(*r.files, replace(r.files[0], path="saved_model.zip"))),
    ],
)
def test_names_places_and_times_stay_out(
    change: Callable[[Release], Release], release: Release, options: CellOptions, target: EngineTarget
) -> None:
    assert key_of(change(release), options, target) == key_of(release, options, target)


def test_the_order_of_names_stays_out(release: Release, options: CellOptions, target: EngineTarget) -> None:
    first = replace(options, shapes={"x": SHAPE, "y": SHAPE})
    second = replace(options, shapes={"y": SHAPE, "x": SHAPE})
    assert key_of(release, first, target) == key_of(release, second, target)
    assert build_key(
        model_digest="d", opset=17, options=first, tools=dict(reversed(TOOLS.items())), target=target
    ) == build_key(model_digest="d", opset=17, options=first, tools=TOOLS, target=target)


def test_each_part_changes_the_conversion_key() -> None:
    base: dict[str, Any] = {
        "model_digest": "a" * 64,
        "signature": None,
        "shapes": ({"x": SHAPE},),
        "samples": None,
        "opset": 17,
        "graph_precision": Precision.FP32,
        "calibration": None,
        "tolerance": 1e-4,
        "top1": None,
        "plugin_ops": (),
        "tools": TOOLS,
    }
    changes: dict[str, Any] = {
        "model_digest": "b" * 64,
        "signature": "other",
        "shapes": ({"x": SHAPE}, {"x": replace(SHAPE, max=(9, 8))}),
        "samples": "c" * 64,
        "opset": 18,
        "graph_precision": Precision.FP16,
        "calibration": Calibration.MINMAX,
        "tolerance": 1e-3,
        "top1": 0.9,
        "plugin_ops": ("Roi",),
        "tools": TOOLS | {"onnx": "1.23.2"},
    }
    assert base.keys() == changes.keys()
    keys = {conversion_key(**base)} | {conversion_key(**base | {name: v}) for name, v in changes.items()}
    assert len(keys) == 12


def test_keys_are_readable_and_carry_their_digest(release: Release, target: EngineTarget) -> None:
    digest = "0123456789abcdef" * 4
    key = engine_key(release=release, target=target, precision=Precision.FP16, build_digest=digest)
    assert key == "engines/resnet/v7/l4/10.13.3.9/fp16-0123456789ab.json"
    assert conversion_record_key(digest) == f"conversions/01/{digest}.json"


def test_an_order_names_the_same_engine_for_another_release_with_the_same_bytes(
    release: Release, target: EngineTarget, conversion: ConversionRecord
) -> None:
    request = BuildRequest(samples="samples.npz", tolerances={Precision.FP16: 5e-2}, workspace_mib=64)
    renamed = replace(release, ref=replace(release.ref, model="copy", version="v1"))
    original, other, newer = (
        order_for(
            store="s3://farm",
            release=each,
            conversion=conversion,
            request=request,
            target=target,
            precision=Precision.FP16,
            build_tools={"enginefarm-build": version},
        )
        for each, version in ((release, "1"), (renamed, "1"), (release, "2"))
    )
    assert original.options.tolerance == 5e-2
    assert original.options.samples == "1" * 64
    assert original.options.shapes == conversion.shapes
    assert original.build_key == other.build_key != newer.build_key
    assert original.tools == {**conversion.tools, "enginefarm-build": "1"}
    assert original.key == f"engines/resnet/v7/l4/10.13.3.9/fp16-{original.build_key[:12]}.json"
    assert other.key == f"engines/copy/v1/l4/10.13.3.9/fp16-{original.build_key[:12]}.json"


def test_a_single_file_is_told_from_a_folder_of_its_name(release: Release) -> None:
    file = replace(release.files[0], path="model.keras")
    single = replace(release, format=ModelFormat.KERAS, files=(file,))
    other = replace(single, files=(file, replace(file, path="model.keras.bak", sha256="9" * 64)))
    assert single.model_digest == other.model_digest != release.model_digest

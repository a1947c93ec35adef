"""Releases and requests: what they accept, and what they say."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tasks.domain.release import Release, ReleaseRef
from tasks.domain.request import DEFAULT_TOLERANCES, BuildRequest, Plugin, Precision, ShapeRange

PLUGIN = Plugin(library="libroi.so.1", sha256="4" * 64)


@pytest.mark.parametrize(
    ("url", "prefix", "model", "version"),
    [
        ("s3://models/resnet/v7", "", "resnet", "v7"),
        ("s3://models/resnet/v7/", "", "resnet", "v7"),
        ("s3://models/team/a/resnet/2024.1_x-2/", "team/a", "resnet", "2024.1_x-2"),
    ],
)
def test_a_release_is_read_as_it_is_written(url: str, prefix: str, model: str, version: str) -> None:
    ref = ReleaseRef.from_url(url)
    assert (ref.bucket, ref.prefix, ref.model, ref.version) == ("models", prefix, model, version)
    assert ref.url == url.rstrip("/") + "/"
    assert ReleaseRef.from_url(ref.url) == ref


@pytest.mark.parametrize(
    "url",
    [
        "",
        "s3://",
        "s3://models",
        "s3://models/resnet",
        "s3://models/resnet/",
        "S3://models/resnet/v7",
        "https://models/resnet/v7",
        "s3:///resnet/v7",
        "s3://models/resnet/..",
        "s3://models/../v7",
        "s3://models/.hidden/v7",
        "s3://models/res net/v7",
        "s3://models/resnet/v7//",
        "s3://models/resnet/v7\n",
        f"s3://models/resnet/{'v' * 129}",
    ],
)
def test_what_is_no_release_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"s3://bucket/prefix/model/version|not a name of a model"):
        ReleaseRef.from_url(url)


def test_a_file_of_a_release_is_found_by_its_path(release: Release) -> None:
    assert release.digest_of("samples.npz") == "1" * 64
    assert release.digest_of(None) is None
    with pytest.raises(KeyError):
        release.digest_of("other.npz")


@pytest.mark.parametrize(
    "change",
    [
        {"precisions": ()},
        {"precisions": (Precision.FP16, Precision.FP16)},
        {"targets": ()},
        {"targets": ("l4", "l4")},
        {"targets": ("all", "l4")},
        {"targets": (" ",)},
        {"tolerances": {Precision.FP16: 0.0}},
        {"tolerances": {Precision.FP16: -1.0}},
        {"tolerances": {Precision.FP16: math.nan}},
        {"tolerances": {Precision.FP16: math.inf}},
        {"tolerances": {Precision.FP16: 1.0}},
        {"tolerances": {Precision.FP16: 1e9}},
        {"top1": {Precision.INT8: 1.1}},
        {"top1": {Precision.INT8: math.nan}},
        {"plugins": (PLUGIN, PLUGIN)},
        {"workspace_mib": 0},
        {"optimization_level": -1},
        {"optimization_level": 6},
    ],
)
def test_requests_that_make_no_sense(change: dict[str, Any]) -> None:
    (name,) = change
    word = {"targets": "target", "tolerances": "tolerance"}.get(name, name)
    with pytest.raises(ValueError, match=word):
        BuildRequest(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"library": ""},
        {"library": "../libroi.so"},
        {"library": "/opt/libroi.so"},
        {"library": "libroi.dll"},
        {"library": "lib roi.so"},
        {"library": "libroi.so\n"},
        {"sha256": "4" * 63},
        {"sha256": "G" * 64},
        {"sha256": "A" * 64},
    ],
)
def test_a_plugin_is_a_file_name_and_a_digest(change: dict[str, Any]) -> None:
    (word,) = change
    assert PLUGIN.ops == ()
    with pytest.raises(ValueError, match=word):
        replace(PLUGIN, **change)


def test_operations_of_all_plugins_stay_in_the_graph() -> None:
    first, second = replace(PLUGIN, ops=("Roi", "Nms")), replace(PLUGIN, library="lib2.so", ops=("Nms",))
    assert BuildRequest(plugins=(first, second)).plugin_ops == ("Nms", "Roi")


def test_tolerances_are_given_or_those_of_the_precision() -> None:
    request = BuildRequest(tolerances={Precision.FP16: 0.5})
    assert request.tolerance(Precision.FP16) == 0.5
    assert request.tolerance(Precision.FP32) == DEFAULT_TOLERANCES[Precision.FP32]
    assert DEFAULT_TOLERANCES.keys() == set(Precision)


@pytest.mark.parametrize("precision", Precision)
def test_no_precision_is_held_to_more_than_the_model_s_own_arithmetic(precision: Precision) -> None:
    for arithmetic in (Precision.FP32, Precision.FP16, Precision.BF16):
        least = BuildRequest().tolerance(precision, arithmetic)
        assert least == max(DEFAULT_TOLERANCES[precision], DEFAULT_TOLERANCES[arithmetic])
        asked = BuildRequest(tolerances={precision: 1e-6})
        assert asked.tolerance(precision, arithmetic) == 1e-6


def test_shapes_rise_from_min_to_max_and_name_each_axis_that_does_not() -> None:
    shape = ShapeRange(min=(1, 3), opt=(4, 3), max=(8, 3))
    assert dict(shape.corners) == {"min": (1, 3), "opt": (4, 3), "max": (8, 3)}
    assert list(shape.corners) == ["min", "opt", "max"]
    with pytest.raises(ValueError, match="number of dimensions"):
        ShapeRange(min=(1,), opt=(1, 1), max=(1,))
    with pytest.raises(
        ValueError, match=r"dimension 0 needs .* not 0, 1, 1; dimension 2 needs .* not 1, 3, 2"
    ):
        ShapeRange(min=(0, 1, 1), opt=(1, 1, 3), max=(1, 1, 2))

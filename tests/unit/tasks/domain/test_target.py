"""Digests, targets and GPUs: what they accept, and what they are called."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.domain.digest import BlobRef, blob_ref, canonical_json, document_digest
from tasks.domain.errors import ToolchainBroken
from tasks.domain.gpu_models import gpu_slug
from tasks.domain.gpu_table import base_opsets, device_slug, gpu_table, graph_opset, unsupported_precision
from tasks.domain.request import Precision
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour, TensorRTVersion

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
SM89 = ComputeCapability(major=8, minor=9)
SM120 = ComputeCapability(major=12, minor=0)


def test_a_blob_is_named_by_its_bytes() -> None:
    blob = blob_ref(b"abc")
    assert blob.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert blob.size == 3
    assert blob.key == f"blobs/sha256/ba/{blob.sha256}"


@pytest.mark.parametrize(
    "sha256", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", "../" + "a" * 61]
)
def test_a_digest_that_is_none_is_refused(sha256: str) -> None:
    with pytest.raises(ValueError, match="64 lower-case hexadecimal"):
        BlobRef(sha256=sha256, size=1)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        BlobRef(sha256="a" * 64, size=-1)


def test_a_document_has_one_text_and_one_digest() -> None:
    texts = {
        canonical_json(dict(items)) for items in permutations({"b": 1, "a": [1.5, None], "ä": "x"}.items())
    }
    assert texts == {b'{"a":[1.5,null],"b":1,"\\u00e4":"x"}'}
    assert document_digest({"a": 1}) != document_digest({"a": 1.0}) != document_digest({"a": "1"})
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(math.nan)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(0, 10**6)] * 4))
def test_a_version_is_read_as_it_is_written(parts: tuple[int, int, int, int]) -> None:
    text = ".".join(map(str, parts))
    assert str(TensorRTVersion.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["10.13.3", "10.13.3.9.1", "v10.13.3.9", "10.13.3.9\n", "10.13.3.x", "-1.0.0.0", ""]
)
def test_a_version_needs_four_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="four numbers"):
        TensorRTVersion.parse(text)


def test_versions_are_ordered_as_numbers() -> None:
    texts = ["8.6.0.12", "10.9.0.34", "10.13.3.9", "10.13.3.10", "11.4.0.106"]
    assert [str(v) for v in sorted(map(TensorRTVersion.parse, reversed(texts)))] == texts


@pytest.mark.parametrize("text", ["8", "8.", "89", "8.10", "8.9\n", "sm89", ""])
def test_a_compute_capability_has_one_form(text: str) -> None:
    with pytest.raises(ValueError, match=r"form 8\.9"):
        ComputeCapability.parse(text)


def test_compute_capabilities_are_called_as_compilers_do() -> None:
    assert ComputeCapability.parse("12.0").sm == "sm120"
    assert str(ComputeCapability.parse("7.5")) == "7.5"


@pytest.mark.parametrize(
    "change",
    [
        {"compute_capabilities": ()},
        {"compute_capabilities": (SM89, SM89)},
        {"compute_capabilities": (SM89, SM120)},
        {"gpu": None},
        {"flavour": Flavour.RTX},
        {"flavour": Flavour.RTX, "gpu": None, "compute_capabilities": (SM120, SM89)},
    ],
)
def test_targets_that_no_engine_can_have(change: dict[str, Any], target: EngineTarget) -> None:
    with pytest.raises(ValueError, match=r"target|GPU model"):
        replace(target, **change)


def test_devices_are_called_by_model_or_by_compute_capability(target: EngineTarget) -> None:
    assert device_slug(target) == "l4"
    rtx = replace(target, flavour=Flavour.RTX, gpu=None)
    assert device_slug(rtx) == "rtx-sm89"
    assert device_slug(replace(rtx, compute_capabilities=(SM89, SM120))) == "rtx-sm89-sm120"


def test_each_row_of_the_gpu_table_has_a_slug_of_its_own() -> None:
    table = gpu_table()
    slugs = [gpu.slug for gpu in table.gpus.values()]
    assert len(set(slugs)) == len(slugs) > 10
    for name, gpu in table.gpus.items():
        assert gpu.name == name
        assert gpu_slug(name) == gpu.slug
        assert SLUG.fullmatch(gpu.slug)
        assert not gpu.slug.startswith("rtx-sm")
        assert 5 <= gpu.compute.major <= 12
    assert list(table.rtx) == sorted(set(table.rtx))


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("NVIDIA Imaginary X1-Ti (80 GB)", "imaginary-x1-ti-80-gb"),
        ("Quadro GV100", "quadro-gv100"),
        ("NVIDIA  ../../etc", "etc"),
    ],
)
def test_a_gpu_without_a_row_gets_a_slug_too(name: str, slug: str) -> None:
    assert name not in gpu_table().gpus
    assert gpu_slug(name) == slug
    assert SLUG.fullmatch(slug)


def test_each_family_has_opsets_and_an_unknown_one_is_told(target: EngineTarget) -> None:
    for (flavour, major), family in gpu_table().families.items():
        version = TensorRTVersion(major=major, minor=0, patch=0, build=0)
        gpu = None if flavour is Flavour.RTX else target.gpu
        of_family = replace(target, flavour=flavour, gpu=gpu, version=version)
        assert base_opsets(of_family)[0] == 17
        assert max(base_opsets(of_family)) <= family.opset
        assert graph_opset(17, Precision.INT8) <= family.opset
    with pytest.raises(ToolchainBroken, match=r"tensorrt 99\.0\.0\.0"):
        base_opsets(replace(target, version=TensorRTVersion.parse("99.0.0.0")))


def test_tensorrt_8_never_gets_an_opset_on_which_it_crashes(target: EngineTarget) -> None:
    assert base_opsets(replace(target, version=TensorRTVersion.parse("8.6.0.12"))) == (17,)
    assert base_opsets(target) == (17, 18)


@pytest.mark.parametrize(
    ("version", "compute", "precision", "reason"),
    [
        ("8.6.0.12", "8.9", Precision.BF16, "TensorRT 8.6.0.12 has no bf16"),
        ("8.6.0.12", "9.0", Precision.FP8, "TensorRT 8.6.0.12 has no fp8"),
        ("10.13.3.9", "7.5", Precision.BF16, "bf16 needs compute capability 8.0, and this is 7.5"),
        ("10.13.3.9", "8.6", Precision.FP8, "fp8 needs compute capability 8.9, and this is 8.6"),
        ("10.13.3.9", "8.9", Precision.FP8, None),
        ("10.13.3.9", "7.5", Precision.INT8, None),
        ("10.13.3.9", "7.5", Precision.FP32, None),
    ],
)
def test_what_hardware_or_tensorrt_lacks_is_told(
    target: EngineTarget, version: str, compute: str, precision: Precision, reason: str | None
) -> None:
    changed = replace(
        target,
        version=TensorRTVersion.parse(version),
        compute_capabilities=(ComputeCapability.parse(compute),),
    )
    assert unsupported_precision(changed, precision) == reason

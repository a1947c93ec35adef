"""Every rewrite against TensorFlow at all three corners, and in an engine of TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.rounding import beyond_rounding
from tests.support.slow import cases

_NAMES = """
dilated_conv1d_same dilated_conv1d_valid dilated_conv1d_causal dilated_conv2d_same dilated_conv2d_valid
dilated_depthwise2d_same dilated_depthwise2d_valid dilated_depthwise1d dilated_separable1d dilated_conv3d
dilated_even_kernel dilated_fixed_length scalar_behind_convolution
resize_bilinear_antialias resize_bicubic_antialias resize_area_antialias resize_lanczos3_antialias
resize_mitchellcubic_antialias resize_bicubic resize_area resize_lanczos5 resize_gaussian resize_nearest
resize_nearest_twice resize_nearest_dynamic resize_bicubic_v1
rfft irfft fft_ifft rfft2d irfft2d stft stft_padded istft dct mel_spectrogram rotary
erfc xdivy multiply_no_nan where_of_infinities cross prevent_gradient clip_by_global_norm
symmetric_pad fake_quant fake_quant_per_channel gelu_in_a_loop
hsv rgb saturation patches max_pool_argmax crop_and_resize
bincount bincount_flat category_encoding discretization searchsorted one_hot_of_negatives
in_top_k approx_max_k table_of_numbers integer_lookup
diag set_diag eye_of_batch inverse_of_3x3 determinant log_determinant solve cumprod cumulative_logsumexp
einsum_ellipsis
"""
_SLOW_NAMES = """
dilated_conv1d_valid dilated_conv1d_causal dilated_conv2d_valid dilated_depthwise2d_same
dilated_depthwise2d_valid dilated_separable1d dilated_conv3d resize_area_antialias
resize_mitchellcubic_antialias resize_bicubic resize_lanczos5 resize_gaussian resize_nearest_twice
fft_ifft rfft2d stft stft_padded mel_spectrogram saturation rgb
"""
CASES, SLOW = _NAMES.split(), _SLOW_NAMES.split()
"""Whose rewrites others go through as well."""


@pytest.fixture(scope="module")
def rewritten(convert_functions: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What became of every case, by name."""
    return convert_functions("rewritten_functions.py", slow=SLOW)


def test_every_case_is_here(rewritten: dict[str, Any]) -> None:
    assert {*rewritten, *SLOW} == {*CASES}


@pytest.mark.parametrize("name", cases(CASES, SLOW))
def test_a_rewrite_keeps_the_numbers_and_builds(rewritten: dict[str, Any], name: str) -> None:
    case = rewritten[name]
    assert "error" not in case
    assert {"min", "opt", "max"} <= {row["corner"] for row in case["comparisons"]}
    assert all(row["values"] for row in case["comparisons"])
    assert beyond_rounding(case["comparisons"]) == []
    assert case["engine"] == "built"

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 (lets NumPy read the name bfloat16)
import numpy as np
import pytest

from tasks.domain.errors import SamplesInvalid
from tasks.domain.record import TensorSpec
from tasks.domain.request import Precision
from tasks.tensorflow.draws import Draws
from tasks.tensorflow.feeds import describe, feed, flipped, one_step_off, read_samples

INPUTS = (
    TensorSpec(name="image", dtype="float32", shape=(None, 4)),
    TensorSpec(name="ids", dtype="int64", shape=(None, None)),
    TensorSpec(name="pixels", dtype="uint8", shape=(2, 3)),
    TensorSpec(name="mask", dtype="bool", shape=(3,)),
)
SHAPES = {"image": (5, 4), "ids": (2, 7), "pixels": (2, 3), "mask": (3,)}


def test_drawn_numbers_have_the_type_and_repeat() -> None:
    first, second = feed(INPUTS, SHAPES, {}), feed(INPUTS, SHAPES, {})
    for spec in INPUTS:
        assert str(first[spec.name].dtype) == spec.dtype
        assert first[spec.name].shape == SHAPES[spec.name]
        np.testing.assert_array_equal(first[spec.name], second[spec.name])
    assert set(np.unique(first["ids"])) <= {-1, 0, 1}
    assert set(np.unique(first["mask"])) <= {False, True}
    assert describe(INPUTS, {}) == (
        "drawn numbers (seed 0): image standard normal, ids -1 to 1, pixels 0 to 255, mask false and true"
    )


def test_ids_go_up_to_their_table() -> None:
    shapes = SHAPES | {"ids": (40, 50), "pixels": (100, 3), "image": (50, 4)}
    draws = Draws(limits={"ids": 700, "pixels": 5, "image": 3})
    fed = feed(INPUTS, shapes, {}, draws)
    for name, end in draws.limits.items():
        assert set(np.unique(fed[name])) <= set(range(end))
    assert fed["ids"].max() > 600
    assert fed["image"].dtype == np.float32
    np.testing.assert_array_equal(fed["mask"], feed(INPUTS, shapes, {})["mask"])
    assert describe(INPUTS, {}, draws) == (
        "drawn numbers (seed 0): image 0 to 2, ids 0 to 699, pixels 0 to 4, mask false and true"
    )


def test_drawn_numbers_hold_zeros_equal_rows_and_equal_ids() -> None:
    shapes = SHAPES | {"ids": (40, 50), "image": (50, 4)}
    fed = feed(INPUTS, shapes, {}, Draws(limits={"ids": 1 << 30}))
    assert 2 < np.count_nonzero(fed["image"] == 0) < 40
    for name in ("image", "ids"):
        np.testing.assert_array_equal(fed[name][-1], fed[name][0])
    np.testing.assert_array_equal(fed["ids"][:, -1], fed["ids"][:, 0])


def test_milder_numbers_have_no_signs_and_then_no_zeros() -> None:
    shapes = SHAPES | {"ids": (40, 50), "image": (50, 4)}
    bold, unsigned, plain = Draws(divided=frozenset({"ids"})).milder()
    assert feed(INPUTS, shapes, {}, bold)["ids"].min() < -1000
    for mild in (unsigned, plain):
        assert set(np.unique(feed(INPUTS, shapes, {}, mild)["ids"])) == {0, 1}
        assert "ids 0 to 1" in describe(INPUTS, {}, mild)
    assert (feed(INPUTS, shapes, {}, unsigned)["image"] == 0).any()
    assert (feed(INPUTS, shapes, {}, plain)["image"] != 0).all()


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint16"])
def test_integers_that_are_divided_are_large_and_of_both_signs(dtype: str) -> None:
    spec = TensorSpec(name="ids", dtype=dtype, shape=(None,))
    draws = Draws(divided=frozenset({"ids"}))
    values = feed((spec,), {"ids": (5000,)}, {}, draws)["ids"].astype(int)
    bits = min(30, np.iinfo(dtype).bits - 1)
    assert 1 << (bits - 1) < values.max() <= 1 << bits
    assert 0 in values
    assert (values.min() < -(1 << (bits - 1))) == (dtype != "uint16")
    assert describe((spec,), {}, draws).endswith(
        "ids whole numbers of up to 30 bits" + (" and both signs" if dtype != "uint16" else "")
    )
    assert "0 to 8" in describe((spec,), {}, Draws(divided=draws.divided, limits={"ids": 9}))


def test_ids_fit_into_their_type() -> None:
    def largest(dtype: str) -> float:
        spec = TensorSpec(name="ids", dtype=dtype, shape=(None,))
        return float(feed((spec,), {"ids": (50_000,)}, {}, Draws(limits={"ids": 1 << 40}))["ids"].max())

    assert largest("int8") == 127
    assert largest("uint8") == 255
    assert 60_000 < largest("uint16") < 1 << 16
    assert 2000 < largest("float16") < 1 << 11
    assert largest("bool") == 1


def test_samples_are_repeated_and_cut(tmp_path: Path) -> None:
    image = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.savez(tmp_path / "s.npz", image=image)
    samples = read_samples(tmp_path / "s.npz", INPUTS)
    fed = feed(INPUTS, SHAPES, samples)
    np.testing.assert_array_equal(fed["image"], image[[0, 1, 0, 1, 0]])
    np.testing.assert_array_equal(feed(INPUTS, SHAPES | {"image": (1, 4)}, samples)["image"], image[:1])
    said = describe(INPUTS, samples)
    assert "release's samples" in said
    assert "drawn numbers (seed 0): ids -1 to 1, pixels 0 to 255, mask false and true" in said


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("other", np.zeros((1, 4), np.float32)),
        ("image", np.zeros((1, 4), np.float64)),
        ("image", np.zeros((1, 5), np.float32)),
        ("image", np.zeros((4,), np.float32)),
        ("image", np.zeros((0, 4), np.float32)),
    ],
)
def test_samples_that_do_not_fit_are_refused(tmp_path: Path, name: str, array: Any) -> None:
    np.savez(tmp_path / "s.npz", **{name: array})
    with pytest.raises(SamplesInvalid, match=name):
        read_samples(tmp_path / "s.npz", INPUTS)


def test_a_row_with_nan_is_named(tmp_path: Path) -> None:
    image = np.zeros((5, 4), np.float32)
    image[3, 1] = image[4, 0] = np.nan
    np.savez(tmp_path / "s.npz", image=image)
    with pytest.raises(
        SamplesInvalid, match=r"row of image in s.npz; found NaN in row 3, 2 of 5 rows in all"
    ):
        read_samples(tmp_path / "s.npz", INPUTS)


def test_damaged_and_pickled_samples_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    np.savez(path, image=np.array([object()]))
    with pytest.raises(SamplesInvalid, match="plain arrays"):
        read_samples(path, INPUTS)
    np.savez(path, image=np.zeros((100, 4), np.float32))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(SamplesInvalid, match="plain arrays"):
        read_samples(path, INPUTS)
    path.write_bytes(b"")
    with pytest.raises(SamplesInvalid, match="plain arrays"):
        read_samples(path, INPUTS)


def test_only_floats_move_by_one_step() -> None:
    fed = feed(INPUTS, SHAPES, {}, Draws().milder()[-1])
    moved = one_step_off(fed, Precision.FP32)
    assert moved is not None
    assert moved["ids"] is fed["ids"]
    change = np.abs(moved["image"] / fed["image"] - 1)
    assert 0 < change.max() < 3e-7
    ones = {"x": np.ones(3, np.float16)}
    half = one_step_off(ones, Precision.FP16)
    assert half is not None
    assert half["x"].dtype == np.float16
    assert (half["x"] > 1).all()
    assert one_step_off(ones, Precision.FP32) is None, "a step of FP16 is none of an FP32 model"
    assert one_step_off({"ids": fed["ids"]}, Precision.FP16) is None


@pytest.mark.parametrize(("arithmetic", "low"), [(Precision.FP16, "float16"), (Precision.BF16, "bfloat16")])
def test_a_step_is_one_that_the_model_s_own_arithmetic_sees(arithmetic: Precision, low: str) -> None:
    numbers = np.random.default_rng(1).standard_normal(1000).astype(np.float32)
    moved = one_step_off({"x": numbers}, arithmetic)
    unseen = one_step_off({"x": numbers}, Precision.FP32)
    assert moved is not None
    assert unseen is not None
    assert (moved["x"].astype(low) != numbers.astype(low)).all()
    assert np.mean(unseen["x"].astype(low) != numbers.astype(low)) < 0.01
    assert (flipped(numbers, arithmetic).astype(low) != numbers.astype(low)).all()
    assert np.mean(flipped(numbers, Precision.FP32).astype(low) != numbers.astype(low)) < 0.01


@pytest.mark.parametrize(
    ("dtype", "arithmetic", "step"),
    [
        ("bfloat16", Precision.BF16, 2.0**-7),
        ("bfloat16", Precision.FP16, 2.0**-7),
        ("float16", Precision.FP32, 2.0**-10),
        ("float32", Precision.FP32, 2.0**-23),
        ("float32", Precision.FP16, 2.0**-10),
        ("float32", Precision.BF16, 2.0**-7),
        ("float64", Precision.FP32, 2.0**-23),
    ],
)
def test_weights_move_by_one_step_and_back(dtype: str, arithmetic: Precision, step: float) -> None:
    weights = np.random.default_rng(1).standard_normal((50, 40)).astype(dtype)
    weights[0, :5] = [0.0, -0.0, np.inf, -np.inf, np.nan]
    moved = flipped(weights, arithmetic)
    assert moved.dtype == weights.dtype
    usual = (slice(1, None), slice(None))
    change = (moved[usual].astype(float) - weights[usual].astype(float)) / np.abs(
        weights[usual].astype(float)
    )
    assert np.abs(change).max() <= step
    assert np.abs(change).min() >= step / 2.01
    assert 0.4 < np.mean(change > 0) < 0.6, "not all in one direction"
    np.testing.assert_array_equal(np.isfinite(moved), np.isfinite(weights))
    assert flipped(moved, arithmetic).tobytes() == weights.tobytes()
    weight = weights[1, 1]
    assert flipped(flipped(weight, arithmetic), arithmetic).tobytes() == weight.tobytes()

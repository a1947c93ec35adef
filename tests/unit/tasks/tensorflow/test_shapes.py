from __future__ import annotations

import pytest

from tasks.domain.errors import RequestInvalid
from tasks.domain.record import TensorSpec
from tasks.domain.request import ShapeRange
from tasks.tensorflow.shapes import effective_profiles, effective_shapes

IMAGE = TensorSpec(name="image", dtype="float32", shape=(None, 224, 224, 3))
TEXT = TensorSpec(name="text", dtype="int32", shape=(None, None))
FIXED = TensorSpec(name="fixed", dtype="float32", shape=(4,))
SCALAR = TensorSpec(name="scalar", dtype="float32", shape=())


def _range(*corners: tuple[int, ...]) -> ShapeRange:
    low, best, high = corners
    return ShapeRange(min=low, opt=best, max=high)


def test_fixed_dimensions_stay_and_a_batch_is_derived() -> None:
    shapes, derived = effective_shapes((IMAGE, FIXED, SCALAR), {}, {})
    assert shapes == {
        "image": _range((1, 224, 224, 3), (8, 224, 224, 3), (32, 224, 224, 3)),
        "fixed": _range((4,), (4,), (4,)),
        "scalar": _range((), (), ()),
    }
    assert derived == ("image", "fixed", "scalar")


def test_given_shapes_are_kept_and_not_called_derived() -> None:
    given = {"text": _range((1, 1), (4, 16), (8, 64))}
    shapes, derived = effective_shapes((TEXT, FIXED), given, {})
    assert shapes["text"] == given["text"]
    assert derived == ("fixed",)


def test_an_open_dimension_is_never_guessed() -> None:
    with pytest.raises(RequestInvalid) as caught:
        effective_shapes((TEXT,), {}, {})
    assert "dimension 1 of input text" in caught.value.wanted
    assert "inputs: {text: {min: [1, N], opt: [8, N], max: [32, N]}}" in caught.value.fix


def test_samples_give_open_dimensions() -> None:
    shapes, derived = effective_shapes((TEXT,), {}, {"text": (100, 12)})
    assert shapes["text"] == _range((1, 12), (8, 12), (32, 12))
    assert derived == ("text",)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"picture": _range((1,), (1,), (1,))}, "inputs.picture"),
        ({"image": _range((1, 3), (1, 3), (1, 3))}, "2 dimensions"),
        (
            {"image": _range((1, 224, 224, 3), (1, 256, 224, 3), (1, 256, 224, 3))},
            "256 in inputs.image.opt",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused(given: dict[str, ShapeRange], message: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        effective_shapes((IMAGE,), given, {})
    assert message in caught.value.found


SMALL, LARGE = _range((1, 1), (4, 16), (8, 64)), _range((1, 64), (1, 128), (4, 512))


def test_each_profile_has_shapes_of_every_input() -> None:
    asked = ({"text": SMALL}, {"text": LARGE})
    (first, second), derived = effective_profiles((TEXT, FIXED), {}, asked, {})
    assert list(first) == list(second) == ["text", "fixed"]
    assert (first["text"], second["text"]) == (SMALL, LARGE)
    assert first["fixed"] == second["fixed"] == _range((4,), (4,), (4,))
    assert derived == ("fixed",)


def test_shapes_that_all_profiles_share_stand_under_inputs() -> None:
    picture = _range((2, 224, 224, 3), (2, 224, 224, 3), (2, 224, 224, 3))
    profiles, derived = effective_profiles((IMAGE, TEXT), {"image": picture}, ({"text": SMALL},), {})
    assert profiles == ({"image": picture, "text": SMALL},)
    assert derived == ()


def test_without_profiles_there_is_one() -> None:
    assert effective_profiles((IMAGE,), {}, (), {})[0] == (effective_shapes((IMAGE,), {}, {})[0],)


@pytest.mark.parametrize(
    ("given", "profiles", "message"),
    [
        ({}, ({"text": SMALL},), "none for image in profiles"),
        ({"image": SMALL}, ({"text": SMALL},), "2 dimensions"),
        (
            {"picture": SMALL},
            ({"text": SMALL},),
            "inputs.picture in build.yaml; the signature has image, t",
        ),
        ({}, ({"image": SMALL, "text": SMALL, "no": SMALL},), "profiles[0].no in build.yaml"),
        (
            {},
            (
                {"image": _range((1, 224, 224, 3), (1, 224, 224, 3), (1, 224, 224, 3)), "text": SMALL},
                {"image": _range((1, 224, 224, 3), (1, 224, 224, 3), (1, 225, 224, 3)), "text": SMALL},
            ),
            "225 in profiles[1].image.max",
        ),
    ],
)
def test_profiles_that_do_not_fit_are_refused(
    given: dict[str, ShapeRange], profiles: tuple[dict[str, ShapeRange], ...], message: str
) -> None:
    with pytest.raises(RequestInvalid) as caught:
        effective_profiles((IMAGE, TEXT), given, profiles, {})
    assert message in caught.value.found

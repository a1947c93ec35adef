"""Charts, really drawn: the same figures give the same bytes, and what strangers named does no harm."""

from __future__ import annotations

import asyncio
import struct
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.charts.draw import draw_charts
from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.profile import Case, Latency, LayerTime, Measured, Profile
from tasks.domain.quiet import Quiet

NAMES = ("latency.svg", "latency.png", "layers.svg", "layers.png")
Draw = Callable[..., Mapping[str, Path]]


def case(name: str, batch: int | None, ms: float) -> Case:
    """A case whose times are all near `ms`."""
    return Case(
        name=name,
        shapes={"x": (batch or 1, 8)},
        batch=batch,
        iterations=500,
        gpu_ms=Latency(min=ms * 0.98, mean=ms * 1.01, p50=ms, p90=ms * 1.03, p99=ms * 1.2),
        wall_ms=Latency(min=ms, mean=ms, p50=ms * 1.05, p90=ms * 1.1, p99=ms * 1.3),
        items_per_second=1000 * (batch or 1) / ms,
        over_bare=0.004,
        drift=0.0,
        steady=True,
        layers_ms=ms,
    )


@pytest.fixture
def profile() -> Profile:
    return Profile(
        state=Measured.MEASURED,
        reason="",
        gpu="NVIDIA L4",
        tensorrt="10.13.3.9",
        driver="580.95.05",
        cases=(case("min", 1, 0.4), case("batch 2", 2, 0.5), case("opt", 4, 0.7), case("max", 8, 1.3)),
        layers=(
            LayerTime(name="conv + relu", ms=0.4, share=0.57),
            LayerTime(name="dense", ms=0.1, share=0.14),
        ),
        layer_count=7,
        quiet=Quiet(quiet=True, reason="no other process was on the GPU"),
    )


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """A function that draws a profile into a folder of its own."""

    def run(profile: Profile, title: str = "resnet v7 · fp16") -> Mapping[str, Path]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return asyncio.run(draw_charts(profile, title, work=Workspace(folder=folder, limits=Limits())))

    return run


def size_of(png: Path) -> tuple[int, int]:
    """Width and height, out of the file's header."""
    data = png.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def test_each_chart_is_there_as_svg_and_png_with_the_same_bytes_each_time(
    draw: Draw, profile: Profile
) -> None:
    files = draw(profile)
    assert tuple(files) == NAMES
    again = draw(profile)
    for name in NAMES:
        assert files[name].read_bytes() == again[name].read_bytes()
        assert files[name].stat().st_size < 200_000  # the page of a run carries them
    assert size_of(files["latency.png"]) == (1000, 440)
    for name in ("latency.svg", "layers.svg"):
        text = files[name].read_text("utf-8")
        assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 (our own file)
        assert "<dc:date>" not in text


@pytest.mark.slow
def test_other_figures_and_titles_are_other_pictures(draw: Draw, profile: Profile) -> None:
    first, titled = draw(profile), draw(profile, title="resnet v8 · fp16")
    doubtful = draw(replace(profile, quiet=Quiet(quiet=False, reason="other processes were on the GPU: 7")))
    pictures = [files["latency.png"].read_bytes() for files in (first, titled, doubtful)]
    assert len(set(pictures)) == 3


def test_without_layers_there_is_no_chart_of_them(draw: Draw, profile: Profile) -> None:
    assert tuple(draw(replace(profile, layers=(), layer_count=0))) == NAMES[:2]


def test_one_case_without_a_batch_is_drawn(draw: Draw, profile: Profile) -> None:
    assert tuple(draw(replace(profile, cases=(case("min/opt/max", None, 3.0),)))) == NAMES


def test_times_of_very_different_length_are_drawn(draw: Draw, profile: Profile) -> None:
    cases = (case("min", 1, 0.01), case("opt", 64, 2.0), case("max", 4096, 900.0))
    assert tuple(draw(replace(profile, cases=cases))) == NAMES


NAMES_OF_STRANGERS = ("$\\frac{1}{$", "a\x1b[2J\nb", "名" * 300, "<script>&", "x" * 5000, "")


@pytest.mark.parametrize(
    "names",
    [NAMES_OF_STRANGERS, *(pytest.param((name,), marks=pytest.mark.long) for name in NAMES_OF_STRANGERS)],
)
def test_names_of_layers_do_no_harm(names: tuple[str, ...], draw: Draw, profile: Profile) -> None:
    """All of them in one picture, and with `--long` each by itself."""
    layers = tuple(LayerTime(name=name, ms=0.4, share=0.1) for name in names)
    files = draw(replace(profile, layers=(*layers, *profile.layers[1:])), title="".join(names))
    width, height = size_of(files["layers.png"])
    assert width == 1000
    assert height == 260 or len(names) > 1
    ET.fromstring(files["layers.svg"].read_text("utf-8"))  # noqa: S314 (our own file)

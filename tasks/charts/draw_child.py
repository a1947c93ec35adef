"""Child: draws the measurements of an engine on its GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.domain.printable import printable_name

# Only the figures may change the bytes: no dates, no random identifiers, no fonts of the host. Names of
# layers are never formulas, whatever characters they contain.
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.hashsalt": "enginefarm",
    "svg.fonttype": "path",
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "axes.edgecolor": "#888888",
}
_GPU, _HOST, _BARS, _REST, _WARNING = "#0b6e4f", "#c1560f", "#3a6ea5", "#b0b0b0", "#b00020"
_WIDTH = 10.0
_DOTS_PER_INCH = 100
_LOG_FROM = 30.0
_LONGEST_NAME = 56
_LONGEST_NOTE = 120
_TOP_INCHES = 0.85


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Draw the charts.

    Args:
        request: `profile`, a `tasks.domain.profile.Profile` as a document; `title`; `folder` for the files.
        report: takes the phase `draw`.

    Returns:
        `files`, the names of the written files.
    """
    profile, folder = request["profile"], Path(request["folder"])
    files: list[str] = []
    with mpl.rc_context(_STYLE):
        for name, draw in (("latency", _latency), ("layers", _layers)):
            report("draw", len(files) / 4)
            if name == "layers" and not profile["layers"]:
                continue
            figure = draw(profile)
            _head(figure, request["title"], profile)
            files += _save(figure, folder, name)
    return {"files": files}


def _save(figure: Figure, folder: Path, name: str) -> list[str]:
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
    figure.savefig(
        folder / f"{name}.png", dpi=_DOTS_PER_INCH, metadata={"Software": None}, pil_kwargs={"optimize": True}
    )
    return [f"{name}.svg", f"{name}.png"]


def _head(figure: Figure, title: str, profile: dict[str, Any]) -> None:
    """Write the engine's title, where it ran, and what is doubtful about the figures."""
    height = figure.get_figheight()
    driver = f" · driver {profile['driver']}" if profile["driver"] else ""
    where = f"{profile['gpu'] or 'GPU'} · TensorRT {profile['tensorrt']}{driver}"
    figure.text(0.015, 1 - 0.24 / height, _shortened(title, _LONGEST_NOTE), size=12, weight="bold")
    figure.text(0.015, 1 - 0.45 / height, printable_name(where), color="#555555")
    quiet = profile["quiet"]
    if quiet["quiet"] is not True:
        word = "NOT QUIET" if quiet["quiet"] is False else "quiet or not is unknown"
        note = _shortened(f"GPU: {word}: {quiet['reason']}", _LONGEST_NOTE, middle=False)
        figure.text(0.015, 1 - 0.64 / height, note, color=_WARNING, size=8)


def _latency(profile: dict[str, Any]) -> Figure:
    cases, height = profile["cases"], 4.4
    figure = Figure(figsize=(_WIDTH, height))
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.075, right=0.985, top=_below_head(height), bottom=0.14, wspace=0.24)
    _draw_times(left, cases)
    _draw_rates(right, [case["items_per_second"] for case in cases])
    for axes in (left, right):
        axes.set_xticks(range(len(cases)), [_label(case) for case in cases])
        axes.set_xlabel("batch" if all(case["batch"] for case in cases) else "shapes")
        axes.grid(visible=False, axis="x")
    return figure


def _draw_times(axes: Axes, cases: list[dict[str, Any]]) -> None:
    places = range(len(cases))
    middle, low, high = ([case["gpu_ms"][name] for case in cases] for name in ("p50", "min", "p99"))
    host = [case["wall_ms"]["p50"] for case in cases]
    axes.fill_between(places, low, high, color=_GPU, alpha=0.18, linewidth=0, label="GPU, min to p99")
    axes.plot(places, middle, marker="o", color=_GPU, label="GPU, p50")
    axes.plot(places, host, marker="s", linestyle="--", color=_HOST, label="host waits, p50")
    for place, value in zip(places, middle, strict=True):
        below: dict[str, Any] = {"xytext": (4, -15), "textcoords": "offset points", "ha": "center"}
        axes.annotate(f"{value:.3g}", (place, value), **below, size=8, color=_GPU)
    _scale(axes, [*low, *high, *host])
    axes.margins(x=0.08)
    axes.set_title("Latency of one inference (ms)", loc="left")
    axes.legend(frameon=False, loc="upper left")


def _draw_rates(axes: Axes, rates: list[float]) -> None:
    bars = axes.bar(range(len(rates)), rates, color=_BARS, width=0.62)
    axes.bar_label(bars, [_rounded(rate) for rate in rates], padding=2, size=8)
    axes.set_title("Throughput, back to back (items/s)", loc="left")
    axes.yaxis.set_major_formatter(lambda value, _: _rounded(value))
    axes.margins(y=0.12)


def _scale(axes: Axes, values: list[float]) -> None:
    """Let the axis start at 0; a wide range gets a logarithmic scale."""
    if min(values) > 0 and max(values) / min(values) > _LOG_FROM:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_ylim(min(values) / 1.8, max(values) * 4)
    else:
        axes.set_ylim(0, max(values) * 1.35)


def _label(case: dict[str, Any]) -> str:
    corner = "" if case["name"].startswith("batch") else _shortened(case["name"], 14)
    return "\n".join(part for part in (str(case["batch"] or ""), corner) if part)


def _layers(profile: dict[str, Any]) -> Figure:
    names, times, shares = _longest(profile)
    height = _TOP_INCHES + 0.85 + 0.3 * len(names)
    figure = Figure(figsize=(_WIDTH, height))
    axes = figure.subplots()
    figure.subplots_adjust(left=0.43, right=0.985, top=_below_head(height), bottom=0.5 / height)
    colours = [_BARS if place < len(profile["layers"]) else _REST for place in range(len(names))]
    bars = axes.barh(range(len(names)), times, color=colours, height=0.66)
    labels = [f"{time:.3g} ms, {share:.0%}" for time, share in zip(times, shares, strict=True)]
    axes.bar_label(bars, labels, padding=4, size=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.2, y=0.02)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("ms for one inference at opt, each layer timed by itself")
    axes.set_title("Layers by time", loc="left")
    return figure


def _longest(profile: dict[str, Any]) -> tuple[list[str], list[float], list[float]]:
    """Return names, ms and shares of the longest layers, then of all others together."""
    layers = profile["layers"]
    names = [_shortened(layer["name"], _LONGEST_NAME) for layer in layers]
    times, shares = ([layer[name] for layer in layers] for name in ("ms", "share"))
    rest = profile["layer_count"] - len(layers)
    if rest > 0 and sum(shares):
        names.append(f"{rest} other layers")
        remaining = max(0.0, 1 - sum(shares))
        times, shares = [*times, remaining * sum(times) / sum(shares)], [*shares, remaining]
    return names, times, shares


def _below_head(height: float) -> float:
    """Return the upper end of the axes, as a share of the figure's `height` in inches."""
    return 1 - (_TOP_INCHES + 0.25) / height


def _rounded(value: float) -> str:
    """Return a number for people, with about three digits."""
    for unit, word in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if value >= unit:
            return f"{value / (1e3 if word == ' k' else unit):.3g}{word}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 (three digits)


def _shortened(text: str, most: int, *, middle: bool = True) -> str:
    """Return `text` without its middle, or its end, if it is too long: names differ at both ends."""
    shown = printable_name(text)
    if len(shown) <= most:
        return shown
    if not middle:
        return f"{shown[: most - 1]}…"
    head = (most - 1) // 2
    return f"{shown[:head]}…{shown[len(shown) - (most - 1 - head) :]}"

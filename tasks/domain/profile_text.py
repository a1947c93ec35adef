"""A profile for people: rows of a table, and notes on them."""

from __future__ import annotations

from tasks.domain.profile import Case, Clocks, Measured, Profile

LEGEND = (
    "Times in ms: p50 to min on the GPU, between CUDA events; host p50: enqueued and waited for; layers: "
    "their sum, each timed by itself. Items/s: back to back; vs bare: how much longer than in a bare loop "
    "of TensorRT's own call."
)
"""What the columns of `case_rows` mean."""

_QUIET_WORDS = {True: "quiet", False: "NOT QUIET, so these figures are doubtful", None: "perhaps not quiet"}


def case_rows(profile: Profile) -> list[dict[str, str]]:
    """Return a row for each case, all with the same columns; `LEGEND` explains them."""
    return [_case_row(case) for case in profile.cases]


def _case_row(case: Case) -> dict[str, str]:
    times = {name: f"{getattr(case.gpu_ms, name):.4g}" for name in ("p50", "p90", "p99", "mean", "min")}
    return {
        "batch": _label(case),
        **times,
        "host p50": f"{case.wall_ms.p50:.4g}",
        "items/s": _round(case.items_per_second),
        "vs bare": f"{case.over_bare:+.1%}",
        "layers": "" if case.layers_ms is None else f"{case.layers_ms:.4g}",
    }


def _label(case: Case) -> str:
    if case.batch is None:
        return case.name
    return str(case.batch) if case.name.startswith("batch") else f"{case.batch} {case.name}"


def layer_rows(profile: Profile) -> list[dict[str, str]]:
    """Return a row for each of the slowest layers."""
    return [
        {"layer at opt": layer.name, "ms": f"{layer.ms:.4g}", "share": f"{layer.share:.1%}"}
        for layer in profile.layers
    ]


def notes(profile: Profile) -> list[str]:
    """Return sentences: where the engine was measured, and what is doubtful or missing."""
    if profile.state is Measured.NOT_MEASURED:
        return [f"Not measured: {profile.reason}."]
    lines = [LEGEND]
    driver = "" if profile.driver is None else f", driver {profile.driver}"
    lines.append(f"Measured on {profile.gpu or 'the GPU'} with TensorRT {profile.tensorrt}{driver}.")
    if profile.quiet is not None:
        lines.append(f"The GPU was {_QUIET_WORDS[profile.quiet.quiet]}: {profile.quiet.reason}.")
    unsteady = ", ".join(case.name for case in profile.cases if not case.steady)
    if unsteady:
        lines.append(f"The times had not settled when the measurement began: {unsteady}.")
    if profile.memory is not None:
        memory = profile.memory
        lines.append(
            f"GPU memory: {_round(memory.used)} MiB for the engine and its tensors, of which activations may "
            f"take {_round(memory.scratch)}; {_round(memory.free_before)} of {_round(memory.total)} MiB were "
            "free before."
        )
    lines += [] if profile.clocks is None else _clock_lines(profile.clocks)
    if profile.reason:
        lines.append(f"{profile.reason[0].upper()}{profile.reason[1:]}.")
    return lines


def _round(value: float) -> str:
    """Return a number for people: without decimals from 100 on."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 (three digits)


def _clock_lines(clocks: Clocks) -> list[str]:
    parts = [
        f"{name} {low} to {high} MHz" if low != high else f"{name} {low} MHz"
        for name, (low, high) in (("SM", clocks.sm_mhz or (0, 0)), ("memory", clocks.memory_mhz or (0, 0)))
        if high
    ]
    if clocks.temperature_c is not None:
        parts.append(f"up to {clocks.temperature_c} °C")
    if clocks.power_w is not None:
        parts.append(f"{clocks.power_w:.0f} W")
    if clocks.throttled:
        parts.append(f"throttled by {', '.join(clocks.throttled)}")
    return [f"During the measurement: {', '.join(parts)}."] if parts else []

"""What the farm measured on a GPU, as lines of Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from tasks.domain.profile import Case
from tasks.domain.record import EngineRecord, Verification

_COLUMNS = (
    "model", "precision", "build s", "plan MiB", "quantised", "error of graph", "error of engine", "top-1",
    "p50 / p99 ms at 1", "at 8", "items/s at 8", "GPU MiB", "over a bare loop", "quiet",
)  # fmt: skip


def table(engines: Iterable[EngineRecord], refused: Iterable[dict[str, str]]) -> list[str]:
    """Return one row per engine, and one for each that was refused, with the reason."""
    rows = [
        f"| {' | '.join(_row(one))} |"
        for one in sorted(
            engines, key=lambda one: (one.model.lower(), list(_ORDER).index(one.options.precision))
        )
    ]
    rows += [
        f"| {one['model']} | {one['precision']} | {one['error']}: {one['text'][:300]} |" for one in refused
    ]
    return [f"| {' | '.join(_COLUMNS)} |", "|" + "---|" * len(_COLUMNS), *rows]


_ORDER = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")


def _row(one: EngineRecord) -> Iterable[str]:
    small, large = (_case(one, name) for name in ("min", "max"))
    memory, quiet = one.profile.memory, one.profile.quiet
    return (
        one.model,
        str(one.options.precision),
        f"{one.seconds['build']:.1f}",
        f"{one.plan.size / (1 << 20):.2f}",
        _coverage(one),
        _worst(one.graph_verification),
        _worst(one.engine_verification),
        _top1(one.engine_verification),
        _latency(small),
        _latency(large),
        "" if large is None else f"{large.items_per_second:.0f}",
        "" if memory is None else f"{memory.used:.0f}",
        "" if large is None else f"{max(case.over_bare for case in one.profile.cases):+.1%}",
        "" if quiet is None else {True: "yes", False: "no", None: "not known"}[quiet.quiet],
    )


def _case(record: EngineRecord, corner: str) -> Case | None:
    return next((case for case in record.profile.cases if corner in case.name.split("/")), None)


def _latency(case: Case | None) -> str:
    return "" if case is None else f"{case.gpu_ms.p50:.3f} / {case.gpu_ms.p99:.3f}"


def _coverage(record: EngineRecord) -> str:
    one = record.quantisation
    return "" if one is None else f"{one.quantised} of {one.quantisable}"


def _worst(verification: Verification) -> str:
    return "not measured" if verification.worst is None else f"{verification.worst.relative:.1e}"


def _top1(verification: Verification) -> str:
    shares = [one.top1 for one in verification.comparisons if one.top1 is not None]
    return f"{min(shares):.2f}" if shares else ""

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
        f"| {' | '.join(_row(engine))} |"
        for engine in sorted(
            engines, key=lambda engine: (engine.model.lower(), list(_ORDER).index(engine.options.precision))
        )
    ]
    rows += [
        f"| {row['model']} | {row['precision']} | {row['error']}: {row['text'][:300]} |" for row in refused
    ]
    return [f"| {' | '.join(_COLUMNS)} |", "|" + "---|" * len(_COLUMNS), *rows]


_ORDER = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")


def _row(engine: EngineRecord) -> Iterable[str]:
    small, large = (_case(engine, name) for name in ("min", "max"))
    memory, quiet = engine.profile.memory, engine.profile.quiet
    return (
        engine.model,
        str(engine.options.precision),
        f"{engine.seconds['build']:.1f}",
        f"{engine.plan.size / (1 << 20):.2f}",
        _coverage(engine),
        _worst(engine.graph_verification),
        _worst(engine.engine_verification),
        _top1(engine.engine_verification),
        _latency(small),
        _latency(large),
        "" if large is None else f"{large.items_per_second:.0f}",
        "" if memory is None else f"{memory.used:.0f}",
        "" if large is None else f"{max(case.over_bare for case in engine.profile.cases):+.1%}",
        "" if quiet is None else {True: "yes", False: "no", None: "not known"}[quiet.quiet],
    )


def _case(record: EngineRecord, corner: str) -> Case | None:
    return next((case for case in record.profile.cases if corner in case.name.split("/")), None)


def _latency(case: Case | None) -> str:
    return "" if case is None else f"{case.gpu_ms.p50:.3f} / {case.gpu_ms.p99:.3f}"


def _coverage(record: EngineRecord) -> str:
    quantisation = record.quantisation
    return "" if quantisation is None else f"{quantisation.quantised} of {quantisation.quantisable}"


def _worst(verification: Verification) -> str:
    return "not measured" if verification.worst is None else f"{verification.worst.relative:.1e}"


def _top1(verification: Verification) -> str:
    shares = [comparison.top1 for comparison in verification.comparisons if comparison.top1 is not None]
    return f"{min(shares):.2f}" if shares else ""

"""What people read of a record."""

from __future__ import annotations

from tasks.domain.record import EngineRecord, Verdict


def error_text(record: EngineRecord) -> str:
    """Return the largest error against TensorFlow, of what, and how much of the graph was quantised.

    The engine's own error where a GPU ran it, else the graph's.
    """
    measured = record.engine_verification.verdict is not Verdict.NOT_MEASURED
    verification = record.engine_verification if measured else record.graph_verification
    worst = verification.worst
    figure = "not measured" if worst is None else f"{worst.relative:.1e}"
    of = "engine" if measured else "graph"
    quantised = record.quantisation
    share = "" if quantised is None else f", {quantised.quantised} of {quantised.quantisable} quantised"
    return f"{figure} ({of}{share})"

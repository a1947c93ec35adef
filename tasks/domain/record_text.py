"""Parts of a record as text for people."""

from __future__ import annotations

from tasks.domain.record import EngineRecord, Verdict


def error_text(record: EngineRecord) -> str:
    """Return the largest error against TensorFlow, whether of engine or graph, and the quantised share."""
    share = quantised_text(record)
    return f"{error_figure(record)[:-1]}, quantised: {share})" if share else error_figure(record)


def error_figure(record: EngineRecord) -> str:
    """Return the largest error against TensorFlow: the engine's own if a GPU ran it, else the graph's."""
    measured = record.engine_verification.verdict is not Verdict.NOT_MEASURED
    verification = record.engine_verification if measured else record.graph_verification
    worst = verification.worst
    figure = "not measured" if worst is None else f"{worst.relative:.1e}"
    steady = ", hardly varies" if verification.steady else ""
    return f"{figure} ({'engine' if measured else 'graph'}{steady})"


def quantised_text(record: EngineRecord) -> str:
    """Return how much of the graph was quantised, and whether on few samples; empty if none of it was."""
    quantised = record.quantisation
    if quantised is None:
        return ""
    share = f"{quantised.quantised} of {quantised.quantisable}"
    return f"{share}, few samples" if quantised.warning else share

"""The key of the graph that a request converts a release to."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.domain.keys import conversion_key
from tasks.domain.release import Release
from tasks.domain.request import QUANTISED, BuildRequest, Precision


def graph_key(
    release: Release, request: BuildRequest, *, opset: int, precision: Precision, tools: Mapping[str, str]
) -> str:
    """Return the key of the graph with `opset` in `precision`; `tools` are those that convert."""
    return conversion_key(
        model_digest=release.model_digest,
        signature=request.signature,
        shapes=(request.inputs, *request.profiles),
        samples=release.digest_of(request.samples),
        opset=opset,
        graph_precision=precision,
        calibration=request.calibration if precision in QUANTISED else None,
        tolerance=request.tolerance(precision),
        top1=request.top1.get(precision),
        plugin_ops=request.plugin_ops,
        tools=tools,
    )

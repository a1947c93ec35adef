"""Whether a stored engine may be signed: what its builder wrote must follow from what others wrote.

Hosts that build hold no key, and their word alone is not signed. What cannot be made again without the GPU is
taken from them: the plan's bytes, and the figures that the verdict follows from.
"""

from __future__ import annotations

from tasks.domain.errors import RecordInvalid
from tasks.domain.gate import judge, require_pass, wanted_top1
from tasks.domain.order import EngineOrder
from tasks.domain.record import ConversionRecord, EngineRecord, Verdict, Verification
from tasks.domain.request import BuildRequest


def order_of(record: EngineRecord, store: str, conversion: str, request: BuildRequest) -> EngineOrder:
    """Return the order that `record` says it answers."""
    return EngineOrder(
        store=store,
        release=record.release,
        conversion=conversion,
        build_key=record.build_key,
        target=record.target,
        options=record.options,
        tools=record.tools,
        timing=request.timing,
        profile=request.profile,
        input_overrides={} if record.input_overrides is None else record.input_overrides,
    )


def require_conversion(record: EngineRecord, conversion: ConversionRecord) -> None:
    """Refuse a record that says something else about its graph than the `conversion`, or a graph that failed.

    Raises:
        RecordInvalid: it does.
        VerificationFailed: that is the verdict on the graph.
        VerificationInconclusive: likewise.
    """
    parts = {
        "onnx": (record.onnx, conversion.onnx),
        "weights": (record.weights, conversion.weights),
        "reference": (record.reference, conversion.reference),
        "opset": (record.opset, conversion.opset),
        "graph_verification": (record.graph_verification, conversion.verification),
        "quantisation": (record.quantisation, conversion.quantisation),
    }
    wrong = [name for name, (recorded, converted) in parts.items() if recorded != converted]
    if wrong:
        raise _unsignable(record, f"another {', '.join(wrong)} than the conversion {conversion.key}")
    require_pass(conversion.verification, "the graph")


def require_verdict(record: EngineRecord) -> None:
    """Refuse a record whose verdict does not follow from its figures, or is no pass.

    An engine that no GPU ran says so in its record, and can be signed: the signature says no more than it.

    Raises:
        RecordInvalid: the verdict is another by the figures.
        VerificationFailed: that is the verdict.
        VerificationInconclusive: likewise.
    """
    verification, options = record.engine_verification, record.options
    require_pass(verification, "the engine")
    if verification.verdict is Verdict.NOT_MEASURED:
        return
    again = judge(
        verification.comparisons,
        compared=verification.compared,
        inputs=verification.inputs,
        tolerance=options.tolerance,
        top1=wanted_top1(options.precision, options.top1, samples=bool(options.samples)),
    )
    if again.verdict is not Verdict.PASSED or not _covers(record, again):
        raise _unsignable(record, f"the verdict passed on figures that make it {again.verdict}")
    if (verification.tolerance, verification.top1) != (again.tolerance, again.top1):
        raise _unsignable(record, "a verdict with another tolerance or share than its options")


def _covers(record: EngineRecord, verification: Verification) -> bool:
    """Return whether each output of the engine was compared."""
    return {row.output for row in verification.comparisons} >= {output.name for output in record.outputs}


def _unsignable(record: EngineRecord, problem: str) -> RecordInvalid:
    return RecordInvalid(
        wanted=f"the record {record.key} as its release, conversion and figures make it, to sign it",
        found=problem,
        fix="find out who wrote it, since the farm never does; do not sign it, and build the engine again",
    )

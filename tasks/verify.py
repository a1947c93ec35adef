"""Step 6: a graph, and later an engine, must compute what TensorFlow computes."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tasks.children.workspace import Workspace
from tasks.domain.errors import RunnerMissing
from tasks.domain.gate import Top1, judge, not_measured, require_pass
from tasks.domain.record import Comparison, Verification
from tasks.domain.request import DEFAULT_TOLERANCES, Precision
from tasks.onnx.graph import compare_graph
from tasks.step import step
from tasks.tensorrt.engine import BuiltEngine
from tasks.tensorrt.site import BuildSite
from tasks.tensorrt.verification import verify_engine

_NO_GPU = "built ahead of time on a host without such a GPU"
_STRIPPED = "the plan has no weights: it runs only after a refit with those of its graph"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a graph or an engine is compared with.

    Attributes:
        reference: TensorFlow's answers, see `tasks.children.reference`.
        inputs: where the input values came from.
        tolerance: largest accepted relative error.
        top1: the share of rows whose best class must be TensorFlow's; None if best classes do not count.
        tensorflow: version of the TensorFlow that answered; this host may have another version, or none.
        arithmetic: the model's own, in which TensorFlow computed.
        loaded_by: which Keras loaded the model's file for TensorFlow; empty for a SavedModel.
        answered_by: what answered instead of TensorFlow, with its version; empty if TensorFlow did.
        plugin_ops: operations in the graph that only TensorRT plugins compute.
    """

    reference: Path
    inputs: str
    tolerance: float
    tensorflow: str
    arithmetic: Precision = Precision.FP32
    loaded_by: str = ""
    answered_by: str = ""
    top1: Top1 | None = None
    plugin_ops: tuple[str, ...] = ()

    @property
    def actual(self) -> Path:
        """The file for the other side's outputs, in the reference's layout; absent if it gave none."""
        return self.reference.with_name(f"actual-{self.reference.name}")

    def judge(self, comparisons: tuple[Comparison, ...], compared: str) -> Verification:
        """Return the gate's verdict; `compared` names what was compared with TensorFlow."""
        return judge(
            comparisons,
            compared=f"{compared} against {self._answers}",
            inputs=self.inputs,
            tolerance=self.tolerance,
            top1=self.top1,
        )

    @property
    def _answers(self) -> str:
        loaded = f" with {self.loaded_by}" if self.loaded_by else ""
        answers = self.answered_by or f"TensorFlow {self.tensorflow}{loaded}"
        if self.arithmetic is Precision.FP32:
            return answers
        low, least = self.arithmetic.upper(), DEFAULT_TOLERANCES[self.arithmetic]
        return (
            f"{answers}, which computes this model in {low} as the model says: so by default the tolerance "
            f"is at least {low}'s, {least:g}, and the noise is that of a step of {low}"
        )


@step
async def verify_graph(
    onnx: Path, precision: Precision, evidence: Evidence, *, work: Workspace
) -> Verification:
    """Compare the ONNX graph with TensorFlow at each corner; a graph that fails is not used.

    If only TensorRT plugins compute some operations, the answer is `not_measured`: the engine is compared.

    Raises:
        VerificationFailed: an output is off by more than the tolerance.
        VerificationInconclusive: TensorFlow's own noise is above the tolerance.
    """
    if evidence.plugin_ops:
        names = ", ".join(evidence.plugin_ops)
        return not_measured(
            tolerance=evidence.tolerance,
            reason=f"only TensorRT plugins compute {names}, and onnxruntime has none",
        )
    evidence.actual.unlink(missing_ok=True)  # it may be another graph's
    comparisons = await compare_graph(onnx, evidence.reference, actual=evidence.actual, work=work)
    compared = f"ONNX graph in onnxruntime {version('onnxruntime')} on the CPU, without optimisations"
    if precision in {Precision.FP16, Precision.BF16}:
        # The CPU lacks this arithmetic; a GPU sums in FP32, too, and rounds the result.
        compared += (
            f" ({precision.upper()} nodes computed in FP32, each result rounded to {precision.upper()})"
        )
    verification = evidence.judge(comparisons, compared)
    return require_pass(verification, "the ONNX graph")


@step
async def verify_on_gpu(
    built: BuiltEngine, site: BuildSite, evidence: Evidence, *, work: Workspace
) -> Verification:
    """Run the engine on its GPU and compare it with TensorFlow at each corner.

    If this host has no such GPU, or the plan has no weights, the answer is `not_measured`, with the reason.

    Raises:
        VerificationFailed: an output is off by more than the tolerance.
        VerificationInconclusive: TensorFlow's own noise is above the tolerance.
        DigestMismatch: the plan is not the one that was built.
    """
    if site.gpu_index is None or built.stripped:
        return not_measured(tolerance=evidence.tolerance, reason=_STRIPPED if built.stripped else _NO_GPU)
    try:
        comparisons = await verify_engine(
            site.toolchain,
            built.plan,
            built.ref,
            evidence.reference,
            actual=evidence.actual,
            plugins=built.plugins,
            carries_code=built.carries_code,
            gpu_index=site.gpu_index,
            work=work,
        )
    except RunnerMissing as error:
        return not_measured(tolerance=evidence.tolerance, reason=f"{error.found}; {error.fix}")
    compared = f"engine on {built.target.gpu or 'the GPU'} in {built.info.module} {built.target.version}"
    verification = evidence.judge(comparisons, compared)
    return require_pass(verification, "the engine")

"""How an engine compares with TensorFlow, on the page of the run that built it."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.domain.markdown import Markdown, as_code
from tasks.domain.record import Verdict, Verification
from tasks.page import add_table, shown_if_possible


async def show_verifications(**verifications: Verification) -> None:
    """Add a table of the comparisons to the page: of the graph, the engine, or both.

    An error of Prefect's server must not fail a build.
    """
    rows = [row for of, verification in verifications.items() for row in _verification_rows(of, verification)]
    summaries = "  \n".join(
        f"**{of}**: {_summary(verification)}" for of, verification in verifications.items()
    )
    with shown_if_possible("the verification"):
        await add_table("verification", rows, Markdown(summaries))


def _summary(verification: Verification) -> Markdown:
    inputs = f"inputs: {verification.inputs}" if verification.inputs else ""
    parts = (str(verification.verdict), verification.compared, verification.reason, inputs)
    return as_code("; ".join(part for part in parts if part))


def _verification_rows(of: str, verification: Verification) -> Iterator[dict[str, str]]:
    """Yield a row for each output at each corner, or one row with the verdict if nothing was compared."""
    empty = dict.fromkeys(("corner", "output", "error", "tolerance", "noise", "top1"), "")
    if verification.verdict is Verdict.NOT_MEASURED or not verification.comparisons:
        yield {"of": of, "verdict": str(verification.verdict), **empty}
    for comparison in verification.comparisons:
        yield {
            "of": of,
            "verdict": str(verification.verdict),
            "corner": comparison.corner,
            "output": comparison.output,
            "error": f"{comparison.relative:.2e}",
            "tolerance": f"{verification.tolerance:.2e}",
            "noise": f"{comparison.noise:.2e}",
            "top1": "" if comparison.top1 is None else f"{comparison.top1:.3f} of {comparison.top1_rows}",
        }

"""How an engine compares with TensorFlow, on the page of the run that built it."""

from __future__ import annotations

from collections.abc import Iterator

from prefect import get_run_logger
from prefect.artifacts import acreate_table_artifact

from flows.pages.run import as_code
from tasks.domain.record import Verdict, Verification


async def show_verifications(**verifications: Verification) -> None:
    """Leave a table of what was compared: of the graph, of the engine, or of both.

    What Prefect's server answers must not cost a build.
    """
    rows = [row for of, one in verifications.items() for row in _rows(of, one)]
    said = "  \n".join(f"**{of}**: {_said(one)}" for of, one in verifications.items())
    try:
        await acreate_table_artifact(key="verification", table=rows, description=said)
    except Exception as error:  # noqa: BLE001 (see above)
        get_run_logger().warning("the verification could not be shown: %s", error)


def _said(one: Verification) -> str:
    parts = (str(one.verdict), one.compared, one.reason, f"inputs: {one.inputs}" if one.inputs else "")
    return as_code("; ".join(part for part in parts if part))


def _rows(of: str, verification: Verification) -> Iterator[dict[str, str]]:
    """Yield a row for each output at each corner; one that says so where nothing was compared."""
    empty = dict.fromkeys(("corner", "output", "error", "tolerance", "noise", "top1"), "")
    if verification.verdict is Verdict.NOT_MEASURED or not verification.comparisons:
        yield {"of": of, "verdict": str(verification.verdict), **empty}
    for one in verification.comparisons:
        yield {
            "of": of,
            "verdict": str(verification.verdict),
            "corner": as_code(one.corner),
            "output": as_code(one.output),
            "error": f"{one.relative:.2e}",
            "tolerance": f"{verification.tolerance:.2e}",
            "noise": f"{one.noise:.2e}",
            "top1": "" if one.top1 is None else f"{one.top1:.3f} of {one.top1_rows}",
        }

"""Why a run failed and how to fix it, on the run's page in Prefect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect import get_run_logger
from prefect.artifacts import acreate_markdown_artifact

from flows.pages.run import as_code
from tasks.domain.errors import FarmError
from tasks.domain.printable import printable


@asynccontextmanager
async def failure_on_run_page() -> AsyncIterator[None]:
    """If the block fails, add what was wanted, what was found and the fix to this run's page.

    Raises:
        FarmError: the failure, even if Prefect's server does not accept the page.
    """
    try:
        yield
    except FarmError as error:
        try:
            await acreate_markdown_artifact(
                key="failure",
                markdown=failure_text(error),
                description=f"{error.class_name}: why this run failed, and what to do",
            )
        except Exception as other:  # noqa: BLE001 (see above)
            get_run_logger().warning("the failure could not be shown: %s", other)
        raise


def failure_text(error: FarmError) -> str:
    """Return wanted, found and fix as Markdown, in which names from a model are never markup."""
    lines = (
        ("error", error.class_name),
        ("wanted", error.wanted),
        ("found", error.found),
        ("to fix", error.fix),
    )
    return "\n\n".join(f"**{name}**:\n\n{_as_lines(text)}" for name, text in lines)


def _as_lines(text: str) -> str:
    """Return each line of `text` as code of its own, which a browser wraps: it would cut off a code block."""
    return "  \n".join(as_code(line) for line in printable(text).splitlines() if line.strip())

"""Why a run failed and how to fix it, on the run's page in Prefect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tasks.domain.errors import FarmError
from tasks.domain.markdown import Markdown, as_code, markdown
from tasks.domain.printable import printable
from tasks.page import add_text, shown_if_possible


@asynccontextmanager
async def failure_on_run_page() -> AsyncIterator[None]:
    """If the block fails, add what was wanted, what was found and the fix to this run's page.

    Raises:
        FarmError: the failure, even if Prefect's server does not accept the page.
    """
    try:
        yield
    except FarmError as error:
        why = markdown("{error}: why this run failed, and what to do", error=error.class_name)
        with shown_if_possible("the failure"):
            await add_text("failure", failure_text(error), why)
        raise


def failure_text(error: FarmError) -> Markdown:
    """Return wanted, found and fix."""
    lines = (
        ("error", error.class_name),
        ("wanted", error.wanted),
        ("found", error.found),
        ("to fix", error.fix),
    )
    return Markdown("\n\n".join(f"**{name}**:\n\n{_as_lines(text)}" for name, text in lines))


def _as_lines(text: str) -> str:
    """Return each line of `text` as code of its own, which a browser wraps: it would cut off a code block."""
    return "  \n".join(as_code(line) for line in printable(text).splitlines() if line.strip())

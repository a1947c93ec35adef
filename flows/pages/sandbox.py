"""What the kernel denies to the processes of a run that read a model, on its page and in its log."""

from __future__ import annotations

from prefect.context import FlowRunContext

from flows.server.step_log import log_step
from tasks.children.program import Confinement
from tasks.children.sandbox import protection
from tasks.domain.markdown import Markdown, markdown
from tasks.page import add_text, shown_if_possible


async def show_sandbox(of: str, level: Confinement) -> None:
    """Log it, and add it to the page: an error of Prefect's server must not fail a build.

    Args:
        of: whose processes, for people.
        level: their confinement.
    """
    holds = protection(level)
    log_step(f"sandbox of {of}: {holds.text}")
    if FlowRunContext.get() is None:
        return  # a script that converts without a run has no page
    lines = [markdown("**{of}**: {text}", of=Markdown(of), text=holds.text)]
    lines += [markdown("this host lacks {name}", name=name) for name in holds.missing]
    with shown_if_possible("the sandbox"):
        await add_text("sandbox", Markdown("\n\n".join(lines)), Markdown("What the kernel denies to models"))

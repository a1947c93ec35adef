"""Links between pages of flow runs, and the progress of TensorRT on the run's page in Prefect."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.utilities.urls import url_for

from tasks.children.progress import overhearing
from tasks.domain.markdown import Markdown, markdown
from tasks.page import shown_if_possible

_SECONDS = 3.0
_ALL = 100.0


def link_to(run: UUID, name: str) -> Markdown:
    """Return a link to a run's page as Markdown, for the page of another run.

    The link has no host: people may reach Prefect's server by another name than agents.
    """
    address = urlsplit(url_for("flow-run", obj_id=run) or f"/runs/flow-run/{run}")
    return markdown("[{name}]({path})", name=name, path=Markdown(address.path))


@asynccontextmanager
async def build_on_run_page(label: str) -> AsyncIterator[None]:
    """Show the progress of the step `build` as a progress artifact of the flow run.

    The artifact is updated every few seconds and ends at 100 %. If the build fails, it stays where it was.

    Args:
        label: what is built, for people; the artifact's key is derived from it.
    """
    page = _Page(label)
    with overhearing(page.take):
        beats = asyncio.create_task(page.keep())
        try:
            yield
        finally:
            beats.cancel()
            await asyncio.wait({beats})  # not `await beats`: that would hide a cancellation of this task
    await page.show(_ALL)


class _Page:
    """A progress artifact, created when there is something to show."""

    def __init__(self, label: str) -> None:
        self._key = re.sub(r"[^a-z0-9]+", "-", f"build-{label}".lower()).strip("-")
        self._description = f"TensorRT builds {label}"
        self._percent = self._shown = 0.0
        self._artifact: UUID | None = None

    def take(self, step: str, phase: str, fraction: float) -> None:
        """Record the progress of TensorRT's own phase, which takes nearly all the time of a build."""
        if (step, phase) == ("build", "build"):
            self._percent = round(_ALL * fraction, 1)

    async def keep(self) -> None:
        while True:
            await asyncio.sleep(_SECONDS)
            await self.show(self._percent)

    async def show(self, percent: float) -> None:
        """Write the artifact. An error of Prefect's server must not fail a build."""
        with shown_if_possible("the progress of the build"):
            if self._artifact is None:
                self._artifact = await acreate_progress_artifact(percent, self._key, self._description)
            elif percent != self._shown:
                await aupdate_progress_artifact(self._artifact, percent)
            self._shown = percent

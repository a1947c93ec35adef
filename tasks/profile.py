"""Step 7b: measures the engine on its GPU, draws charts, and shows both on the run's page."""

from __future__ import annotations

import asyncio
import base64
import re
from pathlib import Path

from tasks.charts.draw import draw_charts
from tasks.children.workspace import Workspace
from tasks.domain.errors import RunnerMissing
from tasks.domain.gpu_table import device_slug
from tasks.domain.markdown import Markdown, as_code, markdown
from tasks.domain.order import EngineOrder
from tasks.domain.profile import Profile, not_profiled
from tasks.domain.profile_text import case_rows, notes
from tasks.page import add_table, add_text
from tasks.step import step
from tasks.tensorrt.engine import BuiltEngine
from tasks.tensorrt.profiling import ProfiledEngine, profile_engine
from tasks.tensorrt.site import BuildSite

_NO_KEY = re.compile(r"[^a-z0-9]+")


@step
async def profile_on_gpu(
    order: EngineOrder,
    built: BuiltEngine,
    site: BuildSite,
    reference: Path,
    *,
    work: Workspace,
) -> ProfiledEngine:
    """Measure the engine on its GPU, draw the charts, and show both in Prefect.

    If the request wants no profile, or this host has no such GPU or cannot run engines, the answer is
    `not_measured`, with the reason. A GPU shared with other processes is not an error: the profile says so.

    Raises:
        DigestMismatch: the plan is not the one that was built.
        RunFailed: the engine stops with an error at a shape that it must accept.
        GpuUnavailable: the GPU is missing, or out of memory.
        ChildCrashed: TensorRT crashed its process.
    """
    if not order.profile:
        return ProfiledEngine(profile=not_profiled("the request says `profile: false`"))
    if built.stripped:
        return ProfiledEngine(profile=not_profiled("the plan has no weights: it must be refitted to run"))
    if site.gpu_index is None:
        reason = "built ahead of time on a host without such a GPU"
        return ProfiledEngine(profile=not_profiled(reason))
    try:
        measured = await profile_engine(built, site, reference, work=work)
    except RunnerMissing as error:
        return ProfiledEngine(profile=not_profiled(f"{error.found}; {error.fix}"))
    charts = await draw_charts(measured.profile, _title(order), work=work)
    profiled = await asyncio.to_thread(measured.with_files, charts)
    await _show_profile(
        order, profiled.profile, [path for name, path in charts.items() if name.endswith(".png")]
    )
    return profiled


def _title(order: EngineOrder) -> str:
    ref = order.release.ref
    return f"{ref.model} {ref.version} · {order.options.precision} · {device_slug(order.target)}"


async def _show_profile(order: EngineOrder, profile: Profile, pictures: list[Path]) -> None:
    """Show the table and the pictures on the run's page.

    The pictures are embedded in the text: a browser has no credentials for the store, and Prefect's own image
    artifacts are URLs.
    """
    title = _title(order)
    text = markdown(
        "**{title}**  \n{notes}", title=title, notes=Markdown("  \n".join(map(as_code, notes(profile))))
    )
    name = _NO_KEY.sub("-", title.lower()).strip("-")
    await add_table(f"latency-{name}", case_rows(profile), text)
    charts = [f"![{path.stem}](data:image/png;base64,{_base64(path)})" for path in pictures]
    await add_text(
        f"charts-{name}",
        Markdown("\n\n".join((text, *charts))),
        markdown("Latency and layers of {title}", title=title),
    )


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()

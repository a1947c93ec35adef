"""The parent's side of the charts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.children.run import ChildProgram
from tasks.children.workspace import Workspace
from tasks.domain.profile import Profile


async def draw_charts(profile: Profile, title: str, *, work: Workspace) -> Mapping[str, Path]:
    """Draw latency and throughput by case, and the layers by time if they were measured.

    The same profile and title give the same bytes.

    Args:
        profile: the measurement.
        title: the engine, in a line.
        work: for the files and the child.

    Returns:
        The files by name: `latency.svg`, `latency.png`, `layers.svg` and `layers.png`.
    """
    program = ChildProgram(module="tasks.charts.draw_child", step="charts")
    answer = await work.run(program, _request(profile, title, work.folder))
    return {name: work.folder / name for name in answer.result["files"]}


def _request(profile: Profile, title: str, folder: Path) -> dict[str, Any]:
    return {"title": title, "profile": asdict(profile), "folder": str(folder.absolute())}

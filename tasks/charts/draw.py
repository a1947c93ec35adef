"""The parent's side of the charts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.children.run import ChildProgram, Limits, run_child
from tasks.domain.profile import Profile


async def draw_charts(profile: Profile, title: str, *, workdir: Path, limits: Limits) -> Mapping[str, Path]:
    """Draw latency and throughput by case, and the layers by time where they are known.

    The same profile and title give the same bytes.

    Args:
        profile: what was measured.
        title: which engine it is, in a line.
        workdir: folder for the files.
        limits: what the child may use.

    Returns:
        The files by name: `latency.svg`, `latency.png`, `layers.svg` and `layers.png`.
    """
    program = ChildProgram(module="tasks.charts.draw_child", step="charts")
    answer = await run_child(program, _request(profile, title, workdir), workdir=workdir, limits=limits)
    return {name: workdir / name for name in answer.result["files"]}


def _request(profile: Profile, title: str, folder: Path) -> dict[str, Any]:
    return {"title": title, "profile": asdict(profile), "folder": str(folder.absolute())}

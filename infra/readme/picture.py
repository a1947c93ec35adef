"""Draws the README's picture: runs the demo, prints what the command prints, and saves that as SVG.

python infra/readme/picture.py
"""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from rich.console import Console

from flows.cli.demo import demo_world, run_demo, show_demo
from flows.local.temporary_server import temporary_server

_WIDTH = 100


def main() -> None:
    """Run the demo and write `demo.svg` beside this file."""
    console = Console(
        record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True, markup=False, highlight=False
    )
    console.print("$ uv run enginefarm demo")
    with demo_world(), temporary_server():
        outcome = asyncio.run(run_demo())
    show_demo(console, outcome)
    console.save_svg(str(Path(__file__).with_name("demo.svg")), title="enginefarm")


if __name__ == "__main__":
    main()

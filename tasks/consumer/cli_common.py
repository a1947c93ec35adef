"""What the client's commands share: their options, and how they print."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any


def print_document(document: Any) -> None:
    """Print `document` as JSON."""
    print(json.dumps(document, ensure_ascii=False))  # noqa: T201


def say(*lines: str) -> None:
    """Print `lines`."""
    for line in lines:
        print(line)  # noqa: T201


def add_common(command: ArgumentParser) -> None:
    """Add the options of every command."""
    command.add_argument("--cache", type=Path, metavar="DIR", help="folder of the cache (ENGINEFARM_CACHE)")
    command.add_argument("--json", action="store_true", help="print JSON")

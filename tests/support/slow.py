"""Cases that are marked `slow`: CI and `--long` run them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow_run(config: pytest.Config) -> bool:
    """Return whether tests that are marked `slow` run."""
    return bool(config.getoption("--long") or os.environ.get("CI"))


def cases(names: Iterable[str], slow: Collection[str]) -> list[Any]:
    """Return `names` as parameters of a test, those in `slow` with that mark."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in names]

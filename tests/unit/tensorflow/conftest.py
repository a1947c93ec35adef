"""Limits for tests of the TensorFlow side."""

from __future__ import annotations

import pytest

from tasks.children.run import Limits


@pytest.fixture(scope="session")
def limits() -> Limits:
    """Enough for a small model on a busy machine."""
    return Limits(memory_mib=6144, seconds=300.0)

"""A step tries again only where its error says that this can help."""

from __future__ import annotations

import asyncio

import pytest
from prefect import flow

from tasks.domain.errors import FarmError, ModelRefused, StoreUnreachable
from tasks.step import step


def calls_until(error: FarmError, failures: int) -> int:
    """Run a step that fails `failures` times; return how often it was called when it succeeded or gave up."""
    calls = 0

    @step
    async def work() -> None:
        nonlocal calls
        calls += 1
        if calls <= failures:
            raise error

    @flow
    async def run() -> None:
        await work()

    try:
        asyncio.run(run())
    except FarmError:
        assert calls <= failures
    return calls


def test_retries() -> None:
    away = StoreUnreachable(wanted="S3", found="no answer", fix="start it")
    assert calls_until(away, failures=1) == 2
    assert calls_until(away, failures=9) == 3
    assert calls_until(ModelRefused(wanted="a model", found="PyFunc", fix="none"), failures=9) == 1


def test_other_errors_are_not_tried_again() -> None:
    calls = 0

    @step
    async def work() -> None:
        nonlocal calls
        calls += 1
        raise ValueError("a defect")

    @flow
    async def run() -> None:
        await work()

    with pytest.raises(ValueError, match="a defect"):
        asyncio.run(run())
    assert calls == 1

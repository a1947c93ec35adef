"""A step tries again only where its error says that this can help."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

import pytest
from prefect import flow

from tasks.domain.backoff import Backoff
from tasks.domain.errors import ChildKilled, FarmError, ModelRefused, StoreUnreachable
from tasks.step import step
from tasks.store import patience


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
    killed = ChildKilled(wanted="an end", found="SIGKILL", fix="more memory")
    assert calls_until(killed, failures=9) == 2


def test_a_farm_waits_for_s3_in_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_BACKOFF", Backoff(first=0.05, longest=0.05))
    away = StoreUnreachable(wanted="S3", found="no answer", fix="start it")
    long, short = copy_context(), copy_context()
    long.run(patience.be_patient, 600.0)
    assert long.run(calls_until, away, failures=9) == 10
    short.run(patience.be_patient, 0.12)
    assert 1 < short.run(calls_until, away, failures=99) <= 4  # what has waited is not tried again by Prefect


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

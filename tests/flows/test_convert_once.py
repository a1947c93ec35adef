"""Several runs of one release at the same moment: one of them makes each graph, and all of them get it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from agents.hardware.probe import HostProbe, probe_host
from flows import build_release as release_flow
from flows.build_release import build_release
from flows.release import conversion
from tasks.domain.cells import CellAnswer
from tasks.domain.digest import blob_ref
from tasks.domain.order import CellOutcome, EngineOrder
from tasks.domain.release import ReleaseRef

_NO_PLAN = blob_ref(b"")
REQUEST = "precisions: [fp32, fp16]\ntargets: [rtx-sm89]\n"


@pytest.fixture
def ordered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[EngineOrder, ...]]:
    """The orders of each run, instead of engines: only the conversion is under test."""
    orders: list[tuple[EngineOrder, ...]] = []

    async def note(run: tuple[EngineOrder, ...]) -> tuple[CellAnswer, ...]:
        orders.append(run)
        outcomes = [CellOutcome(key=order.key, plan=_NO_PLAN, built=False) for order in run]
        return tuple(CellAnswer(order=order, outcome=of) for order, of in zip(run, outcomes, strict=True))

    monkeypatch.setattr(release_flow, "_build_here", note)
    return orders


@pytest.fixture
def one_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe this host once for all runs, which is quicker."""
    probes: list[HostProbe] = []
    first = asyncio.Lock()

    async def probe(*args: Any, **named: Any) -> HostProbe:
        async with first:
            if not probes:
                probes.append(await probe_host(*args, **named))
        return probes[0]

    monkeypatch.setattr(release_flow, "probe_host", probe)


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each step of a conversion ran, in all runs together."""
    counted: Counter[str] = Counter()

    def counting(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        async def run(*args: Any, **named: Any) -> Any:
            counted[name] += 1
            return await step(*args, **named)

        return run

    for name in ("preflight", "export", "convert", "lower", "verify_graph"):
        monkeypatch.setattr(conversion, name, counting(name, getattr(conversion, name)))
    return counted


@pytest.mark.parametrize(
    "runs", [pytest.param(3, marks=pytest.mark.slow), pytest.param(10, marks=pytest.mark.long)]
)
@pytest.mark.usefixtures("one_probe")
def test_runs_at_the_same_moment_convert_once(
    runs: int,
    publish: Callable[..., ReleaseRef],
    stored_keys: Callable[[str], list[str]],
    demo_model: bytes,
    ordered: list[tuple[EngineOrder, ...]],
    count: Counter[str],
) -> None:
    release = publish(REQUEST, {"model.keras": demo_model})

    async def all_at_once() -> None:
        await asyncio.gather(*(build_release(release) for _ in range(runs)))

    asyncio.run(all_at_once())

    assert count == {"preflight": 1, "export": 1, "convert": 1, "lower": 2, "verify_graph": 2}
    assert len(ordered) == runs
    assert len(set(map(repr, ordered))) == 1
    assert len({order.conversion for order in ordered[0]}) == 2
    assert len(stored_keys("conversions/")) == 2
    assert stored_keys("leases/") == []

"""A run of `build-engine` with parameters of somebody's choice publishes nothing, and harms nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from flows import build_release as release_flow
from flows.build_engine import build_engine
from flows.build_release import build_release
from tasks.domain.cells import CellAnswer
from tasks.domain.errors import RecordInvalid
from tasks.domain.order import EngineOrder
from tasks.domain.release import ReleaseRef


@pytest.mark.usefixtures("converted_before")
def test_an_order_with_a_releases_key_and_a_tolerance_of_choice_publishes_nothing(
    publish: Callable[..., ReleaseRef],
    stored_keys: Callable[[str], list[str]],
    demo_model: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    orders: list[EngineOrder] = []

    async def note(run: tuple[EngineOrder, ...]) -> tuple[CellAnswer, ...]:
        orders.extend(run)
        return ()

    monkeypatch.setattr(release_flow, "_build_here", note)
    asyncio.run(build_release(publish("targets: rtx-sm89\n", {"model.keras": demo_model})))
    (order,) = orders
    with pytest.raises(RecordInvalid, match=r"as its build\.yaml asks for it"):
        asyncio.run(build_engine(replace(order, options=replace(order.options, tolerance=1e9))))
    assert stored_keys("engines/") == []
    # A failure in the lease of the honest order's key would end every build that waits for it.
    assert stored_keys(f"leases/{order.key}") == []

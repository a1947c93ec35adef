"""Targets of a farm: what no agent builds is told beside what agents build."""

from __future__ import annotations

import asyncio

import pytest

from flows.release.farm import targets_of_farm
from tasks.domain.errors import TargetUnavailable
from tasks.domain.gpu_table import device_slug
from tasks.domain.offer import Announcement, Offer, pool_of
from tasks.store.announcements import announce
from tasks.store.store import Store
from tests.support.farm.orders import on_rtx


def test_a_target_without_an_agent_keeps_no_other_from_being_built(s3_env: str) -> None:
    url, rtx = f"s3://{s3_env}", on_rtx("8.9")
    offer = Offer(flavour=rtx.flavour, version=rtx.version, gpus=(), os="linux", architecture="x86_64")
    seen = Announcement(pool=pool_of(rtx), offer=offer, host="h", seen="2026-11-26T00:00:00Z")
    announce(Store.connect(url), seen)
    chosen = asyncio.run(targets_of_farm(url, ("l4", "rtx-sm89", "h100")))
    assert [device_slug(target) for target in chosen.targets] == ["rtx-sm89"]
    assert [(cell.device, type(cell.error)) for cell in chosen.lost] == [
        ("l4", TargetUnavailable),
        ("h100", TargetUnavailable),
    ]
    l4, h100 = (cell.error.fix for cell in chosen.lost)
    assert "start `enginefarm agent gpu`" in l4
    assert h100 == "for h100 write h100-sxm-80gb or h100-pcie-80gb"
    with pytest.raises(TargetUnavailable, match="to build for l4"):
        asyncio.run(targets_of_farm(url, ("l4",)))

"""Announcements of agents on real servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tasks.domain.errors import NotStored
from tasks.domain.offer import Announcement, Offer, pool_of, select, tags_of
from tasks.domain.target import ComputeCapability, Flavour, TensorRTVersion
from tasks.store.announcements import announce, withdraw
from tasks.store.store import Store

H100 = ("NVIDIA H100 80GB HBM3", ComputeCapability(major=9, minor=0))
TENSORRT = Offer(
    flavour=Flavour.TENSORRT,
    version=TensorRTVersion.parse("10.13.3.9"),
    gpus=(H100,),
    os="linux",
    architecture="x86_64",
)
RTX = replace(TENSORRT, flavour=Flavour.RTX, version=TensorRTVersion.parse("1.7.1.116"), gpus=())


def announcement(offer: Offer) -> Announcement:
    pool = pool_of(offer.targets()[0])
    return Announcement(pool=pool, offer=offer, host="one", seen="2026-11-26T00:00:00Z")


def test_the_last_agent_of_a_pool_stands(store: Store) -> None:
    assert list(store.records(Announcement)) == []
    announce(store, announcement(TENSORRT))
    announce(store, announcement(RTX))
    later = replace(announcement(TENSORRT), host="two")
    announce(store, later)
    assert list(store.records(Announcement)) == [later, announcement(RTX)]
    withdraw(store, later.pool)
    assert list(store.records(Announcement)) == [announcement(RTX)]
    with pytest.raises(NotStored, match=r"gpu-h100-sxm-80gb-trt10\.13\.3\.9"):
        withdraw(store, later.pool)


def test_what_is_no_announcement_of_its_key_is_left_out(
    store: Store, overwrite: Callable[[Store, str, bytes | None], None]
) -> None:
    announce(store, announcement(TENSORRT))
    address = store.address(announcement(TENSORRT).key)
    data = store.client.get_object(Bucket=address.bucket, Key=address.key)["Body"].read()
    overwrite(store, "targets/other.json", data)
    overwrite(store, "targets/rubbish.json", b"{")
    assert list(store.records(Announcement)) == [announcement(TENSORRT)]


def test_pools_and_tags_tell_device_and_version() -> None:
    (h100,) = TENSORRT.targets()
    assert pool_of(h100) == "gpu-h100-sxm-80gb-trt10.13.3.9"
    assert tags_of(h100) == ("gpu:h100-sxm-80gb", "sm:90", "trt:10.13.3.9")
    assert {pool_of(target) for target in RTX.targets()} == {"rtx-trt1.7.1.116"}
    assert tags_of(RTX.targets()[0]) == ("gpu:rtx", "trt:1.7.1.116")
    assert pool_of(replace(h100, architecture="aarch64")) == "gpu-h100-sxm-80gb-trt10.13.3.9-aarch64"


def test_devices_are_selected_among_all_agents() -> None:
    newer = replace(TENSORRT, version=TensorRTVersion.parse("11.4.0.106"))
    targets, missing = select((TENSORRT, newer, newer, RTX), ("h100-sxm-80gb", "rtx-sm86-sm89", "l4"))
    assert [str(target.version) for target in targets] == ["10.13.3.9", "11.4.0.106", "1.7.1.116"]
    assert missing == ("l4",)

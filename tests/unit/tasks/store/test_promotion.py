"""What a channel demands of a release, and the command that says which engine a host gets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from flows.cli import channel as command
from flows.cli.resolve import resolve
from flows.release.promotion import policies
from tasks.domain.channel import Channel
from tasks.domain.channel_policy import POLICIES_KEY, POLICIES_SCHEMA
from tasks.domain.errors import (
    ChannelRefused,
    NoEngineFits,
    RecordInvalid,
    RequestInvalid,
)
from tasks.domain.host_options import named_gpu, named_tensorrt, named_wanted
from tasks.domain.record import EngineRecord, Verdict
from tasks.domain.request import Precision
from tasks.store.channels import channel_at, find_channel
from tasks.store.store import Store

NAME = "resnet@production"


def set_to(store: Store, version: str, name: str = "resnet@candidate", **options: Any) -> Channel:
    command.set_channel(name, version, store=store.url, by="ann", **options)
    model, _, channel = name.partition("@")
    return channel_at(store, model, channel)


@pytest.mark.usefixtures("agent")
def test_production_refuses_what_is_not_verified_and_signed_until_somebody_says_why(
    store: Store, put: Callable[..., EngineRecord], capsys: pytest.CaptureFixture[str]
) -> None:
    record = put("7")
    with pytest.raises(ChannelRefused, match=r"l4/10\.13\.3\.9 fp16: not signed") as caught:
        set_to(store, "7", NAME)
    assert "1 that lack it" in caught.value.found
    assert find_channel(store, "resnet", "production") is None
    unverified = replace(record.engine_verification, verdict=Verdict.NOT_MEASURED)
    put("8", "b", engine_verification=unverified)
    put("9", "c", precision=Precision.FP32)
    store.client.put_object(
        Bucket=store.bucket, Key=f"{record.release.ref.prefix}/resnet/9/build.yaml", Body=b"precisions: fp16"
    )
    with pytest.raises(ChannelRefused, match="not_measured on its own GPU"):
        set_to(store, "8", NAME)
    with pytest.raises(ChannelRefused, match="fp16: no engine"):
        set_to(store, "9", NAME)
    forced = set_to(store, "7", NAME, because="a demo")
    assert forced.move.why == "a demo"
    assert forced.move.lacking == ("l4/10.13.3.9 fp16: not signed",)
    assert "Although the policy demands more" in capsys.readouterr().out


def test_policies_are_one_file_in_the_store(
    store: Store, put: Callable[..., EngineRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("7")
    address = store.address(POLICIES_KEY)

    def write(channel_policies: Any) -> None:
        body = json.dumps({"schema": POLICIES_SCHEMA, "channels": channel_policies}).encode()
        store.client.put_object(Bucket=address.bucket, Key=address.key, Body=body)

    assert policies(store)["production"].signed
    write({"production": {"verified": True}, "strict": {"complete": True}})
    assert set_to(store, "7", NAME).move.lacking == ()
    monkeypatch.setattr("flows.release.promotion.select", lambda *_: ((), ("l4", "h200")))
    with pytest.raises(ChannelRefused, match="h200: no engine, and no agent"):
        set_to(store, "7", "resnet@strict")
    write({"production": {"loud": True}})
    with pytest.raises(RecordInvalid, match="loud"):
        set_to(store, "7", NAME)


def test_the_command_says_which_engine_or_why_none(
    store: Store, put: Callable[..., EngineRecord], capsys: pytest.CaptureFixture[str]
) -> None:
    record = put("7")
    set_to(store, "7")
    capsys.readouterr()
    options: dict[str, Any] = {"gpu": "l4", "store": store.url, "system": "linux", "architecture": "x86_64"}
    resolve("resnet@candidate", tensorrt="10.13.3.9", **options)
    text = capsys.readouterr().out
    assert text.startswith(f"{record.key}: fp16, passed")
    assert "R1: A plan runs in the TensorRT that built it" in text
    resolve("resnet@candidate", triton="26.02-trtllm", as_json=True, **options)
    document = json.loads(capsys.readouterr().out)
    assert document["choice"]["engine"]["record"]["key"] == record.key
    assert (document["from_index"], document["channel"]["number"]) == (True, 1)
    with pytest.raises(NoEngineFits, match=r"enginefarm submit s3://\S+/team/resnet/7 --target l4"):
        resolve("resnet@candidate", tensorrt="10.16.1.11", as_json=True, **options)
    document = json.loads(capsys.readouterr().out)
    assert document["reasons"][0]["found"] == "10.13.3.9"
    assert document["error"]["class"] == "NoEngineFits"
    with pytest.raises(RequestInvalid, match="not exactly one"):
        resolve("resnet@candidate", **options)


def test_hosts_are_named_as_people_name_them() -> None:
    assert named_gpu("NVIDIA L4") == named_gpu("l4")
    assert named_gpu("NVIDIA Imaginary", "9.9").slug == "imaginary"
    assert named_tensorrt("1.7.1.116")[0] == "tensorrt_rtx"
    assert named_wanted("resnet", None, ()).channel == "production"
    for wrong in (
        lambda: named_gpu("l40"),
        lambda: named_tensorrt("10.13"),
        lambda: named_wanted("a@b", "7", ()),
    ):
        with pytest.raises(RequestInvalid):
            wrong()
    with pytest.raises(RequestInvalid, match="a precision: fp32"):
        named_wanted("resnet", None, ["fp12"])

"""Channels on a real S3 server: moves, races, lost documents, the index, policies, and the commands."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest

from flows.cli import channel as command
from tasks.domain.channel import Channel, channel_key, move_key
from tasks.domain.errors import (
    ChannelMoved,
    NotStored,
    RecordInvalid,
    RequestInvalid,
)
from tasks.domain.host_options import named_wanted
from tasks.domain.record import EngineRecord
from tasks.domain.request import Precision
from tasks.domain.target import TensorRTVersion
from tasks.store import channel_index, channels
from tasks.store.candidates import stored_candidate
from tasks.store.channel_index import add_to_channels, refresh_channel
from tasks.store.channels import channel_at, find_channel, history, move_channel, next_move, rebuild_pointer
from tasks.store.resolving import resolve_stored
from tasks.store.store import Store
from tasks.store.transfer import put_if_absent
from tests.support.candidates import host
from tests.support.waiting import PATIENCE

NAME = "resnet@production"


def set_to(store: Store, version: str, name: str = "resnet@candidate", **options: Any) -> Channel:
    command.set_channel(name, version, store=store.url, by="ann", **options)
    model, _, channel = name.partition("@")
    return channel_at(store, model, channel)


def test_a_channel_has_its_release_its_engines_and_its_history(
    store: Store, put: Callable[..., EngineRecord]
) -> None:
    record = put("7")
    put("8")
    first = set_to(store, "7", because="the first")
    assert [engine.key for engine in first.engines] == [record.key]
    second = set_to(store, "8")
    assert (second.move.number, second.move.release.version, second.move.former) == (2, "8", "7")
    moves = history(store, "resnet", "candidate")
    assert [(move.number, move.release.version, move.by, move.why) for move in moves] == [
        (1, "7", "ann", "the first"),
        (2, "8", "ann", ""),
    ]


def test_it_can_be_rolled_back_and_asked_for_the_past(
    store: Store, put: Callable[..., EngineRecord], capsys: pytest.CaptureFixture[str]
) -> None:
    for version in ("7", "8"):
        put(version)
        set_to(store, version)
    command.rollback("resnet@candidate", store=store.url)
    channel = channel_at(store, "resnet", "candidate")
    assert (channel.move.number, channel.move.release.version, channel.move.why) == (3, "7", "back to move 1")
    eight = history(store, "resnet", "candidate")[1].at
    capsys.readouterr()
    command.show_channel("candidate", at=eight, store=store.url, as_json=True)
    (past,) = json.loads(capsys.readouterr().out)
    assert (past["number"], past["release"]["version"]) == (2, "8")
    with pytest.raises(NotStored, match="at that time"):
        command.show_channel("resnet@candidate", at="2020-01-01T12:00Z", store=store.url)
    with pytest.raises(RequestInvalid, match="a time such as"):
        command.show_channel("resnet@candidate", at="yesterday", store=store.url)
    with pytest.raises(NotStored, match="move 7"):
        command.rollback("resnet@candidate", to=7, store=store.url)
    command.show_history("resnet@candidate", store=store.url)
    command.list_channels(store=store.url)
    text = capsys.readouterr().out
    assert "back to move 1" in text
    assert "Channels in" in text


def test_of_two_that_move_a_channel_at_once_one_wins_and_the_other_is_told(
    store: Store, put: Callable[..., EngineRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have read the channel before either writes."""
    for version in ("7", "8", "9"):
        put(version)
    set_to(store, "7")
    met = Barrier(2, timeout=PATIENCE)
    engines_of = channel_index.channel_engines

    def meeting(place: Store, channel: Channel) -> list[Any]:
        met.wait()
        return engines_of(place, channel)

    monkeypatch.setattr(command, "channel_engines", meeting)

    def move(version: str) -> str | ChannelMoved:
        try:
            command.set_channel("resnet@candidate", version, store=store.url, by=version)
        except ChannelMoved as error:
            return error
        return version

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(move, ("8", "9")))
    (winner,) = (answer for answer in answers if isinstance(answer, str))
    (loser,) = (answer for answer in answers if isinstance(answer, ChannelMoved))
    assert f"now {winner}" in loser.found
    channel = channel_at(store, "resnet", "candidate")
    assert (channel.move.number, channel.move.release.version, channel.move.by) == (2, winner, winner)
    assert [each.release.version for each in history(store, "resnet", "candidate")] == ["7", winner]


def test_a_move_whose_response_was_lost_counts(
    store: Store, put: Callable[..., EngineRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("7")
    write = put_if_absent

    def write_and_lose(*arguments: Any) -> bool:
        assert write(*arguments)
        return write(*arguments)  # as the retry does

    monkeypatch.setattr(channels, "put_if_absent", write_and_lose)
    assert set_to(store, "7").move.number == 1
    assert len(history(store, "resnet", "candidate")) == 1


def test_a_pointer_whose_writer_died_or_that_is_lost_is_made_from_the_history(
    store: Store, put: Callable[..., EngineRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("7", "8"):
        put(version)
    over = set_to(store, "7")

    def dies(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(channels, "_swap", dies)
        with pytest.raises(KeyboardInterrupt):
            set_to(store, "8")
    assert channel_at(store, "resnet", "candidate").move.release.version == "7"
    with pytest.raises(ChannelMoved, match="now 8"):
        set_to(store, "7")
    assert channel_at(store, "resnet", "candidate").move.release.version == "8"
    address = store.address(channel_key("resnet", "candidate"))
    for damage in (None, b"{", b"{}", json.dumps({**over.to_document(), "channel": "other"}).encode()):
        store.client.delete_object(Bucket=address.bucket, Key=address.key)
        if damage is not None:
            store.client.put_object(Bucket=address.bucket, Key=address.key, Body=damage)
        lost = find_channel(store, "resnet", "candidate")
        assert lost is not None
        assert (lost.move.number, lost.engines) == (2, ())
    refreshed = refresh_channel(store, "resnet", "candidate")
    assert refreshed is not None
    assert [engine.version for engine in refreshed.engines] == ["8"]
    assert rebuild_pointer(store, "resnet", "candidate") == refreshed
    assert refresh_channel(store, "resnet", "never") is None


def test_a_damaged_move_is_named_and_a_number_is_never_used_twice(
    store: Store, put: Callable[..., EngineRecord], caplog: pytest.LogCaptureFixture
) -> None:
    put("7")
    channel = set_to(store, "7")
    again = replace(channel, move=replace(next_move(None, channel.move), by="bob"))
    with pytest.raises(ChannelMoved):
        move_channel(store, again, over=None)
    with pytest.raises(ValueError, match="after the last"):
        move_channel(store, again, over=channel)
    address = store.address(move_key("resnet", "candidate", 1))
    store.client.put_object(Bucket=address.bucket, Key=address.key, Body=b"[]")
    with caplog.at_level(logging.WARNING):
        assert history(store, "resnet", "candidate") == []
    assert "left out a move" in caplog.text
    with pytest.raises(RecordInvalid, match="move 1"):
        rebuild_pointer(store, "resnet", "candidate")


def test_a_published_engine_gets_into_the_index_and_a_failure_is_a_warning(
    store: Store,
    put: Callable[..., EngineRecord],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put("7")
    set_to(store, "7")
    later, other = put("7", "b", precision=Precision.FP32), put("8")
    for record in (later, other, later):
        add_to_channels(store, "resnet", record.key)
    keys = [engine.key for engine in channel_at(store, "resnet", "candidate").engines]
    assert keys == sorted([put("7").key, later.key])
    monkeypatch.setattr(channels, "_swap", lambda *_: False)
    monkeypatch.setattr(channels, "_ROUNDS", 2)
    with caplog.at_level(logging.WARNING):
        add_to_channels(store, "resnet", put("7", "c", precision=Precision.TF32).key)
    assert "is missing in the index" in caplog.text


def test_eight_engines_published_at_once_are_all_in_the_index(
    store: Store, put: Callable[..., EngineRecord]
) -> None:
    put("7")
    set_to(store, "7")
    records = [
        put("7", digit, target=replace(put("7").target, version=TensorRTVersion.parse(f"10.13.3.1{digit}")))
        for digit in "12345678"
    ]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda record: add_to_channels(store, "resnet", record.key), records))
    refreshed = refresh_channel(store, "resnet", "candidate")
    assert channel_at(store, "resnet", "candidate") == refreshed
    assert len(channel_at(store, "resnet", "candidate").engines) == 9


def test_an_exact_engine_costs_one_read_and_a_stale_index_hides_nothing(
    store: Store, put: Callable[..., EngineRecord]
) -> None:
    put("7")
    set_to(store, "7")
    wanted, here = named_wanted("resnet@candidate", None, ()), host()
    calls: list[str] = []
    store.client.meta.events.register(
        "before-call.s3", lambda model, **_: calls.append(model.name), unique_id="t"
    )
    try:
        resolved = resolve_stored(store, here, wanted)
        assert (calls, resolved.from_index) == (["GetObject"], True)
    finally:
        store.client.meta.events.unregister("before-call.s3", unique_id="t")
    newer = TensorRTVersion.parse("10.16.1.11")
    unlisted = put("7", "b", target=replace(put("7").target, version=newer))
    resolved = resolve_stored(store, replace(here, version=newer), wanted)
    assert (resolved.resolution.chosen().candidate.key, resolved.from_index) == (unlisted.key, False)
    by_version = resolve_stored(store, here, named_wanted("resnet", "7", ["fp16,int8"]))
    assert by_version.resolution.chosen().candidate.key == put("7").key
    with pytest.raises(NotStored, match="the channels candidate"):
        resolve_stored(store, here, named_wanted("resnet", None, ()))


def test_an_index_never_offers_engines_of_another_release(
    store: Store, put: Callable[..., EngineRecord]
) -> None:
    put("7")
    channel, stranger = set_to(store, "7"), put("8")
    address = store.address(channel.key)
    eight = stored_candidate(store, stranger.key)
    assert eight is not None
    document = channel.to_document() | {"engines": [eight.to_document(), {"of": "a newer version"}]}
    store.client.put_object(Bucket=address.bucket, Key=address.key, Body=json.dumps(document).encode())
    read = channel_at(store, "resnet", "candidate")
    assert read.engines == ()
    assert read.unreadable == ({"of": "a newer version"},)


def test_what_a_newer_version_wrote_is_kept_and_its_documents_are_not_replaced(
    store: Store, put: Callable[..., EngineRecord], caplog: pytest.LogCaptureFixture
) -> None:
    record = put("7")
    document = set_to(store, "7").to_document()
    address = store.address(channel_key("resnet", "candidate"))

    def write(**change: Any) -> None:
        body = json.dumps(document | change).encode()
        store.client.put_object(Bucket=address.bucket, Key=address.key, Body=body)

    write(region="eu", engines=[{"form": "new"}])
    assert refresh_channel(store, "resnet", "candidate") == channel_at(store, "resnet", "candidate")
    rewritten = channel_at(store, "resnet", "candidate").to_document()
    assert (rewritten["region"], rewritten["engines"][-1]) == ("eu", {"form": "new"})
    assert [entry["record"]["key"] for entry in rewritten["engines"][:-1]] == [record.key]
    write(schema="enginefarm/channel/2")
    for call in (find_channel, refresh_channel):
        with pytest.raises(RecordInvalid, match="update enginefarm"):
            call(store, "resnet", "candidate")
    add_to_channels(store, "resnet", put("7", "b", precision=Precision.FP32).key)
    assert "update enginefarm" in caplog.text
    body = store.client.get_object(Bucket=address.bucket, Key=address.key)["Body"].read()
    assert json.loads(body)["schema"] == "enginefarm/channel/2"


def test_some_targets_can_have_another_release(store: Store, put: Callable[..., EngineRecord]) -> None:
    newer = replace(put("7").target, version=TensorRTVersion.parse("10.16.1.11"))
    put("7", "b", target=newer)
    put("8", "c", target=newer)
    with pytest.raises(NotStored, match="never set"):
        set_to(store, "8", target=["l4/10.16.1.11"])
    set_to(store, "7")
    with pytest.raises(RequestInvalid, match="DEVICE/TENSORRT"):
        set_to(store, "8", target=["l4"])
    moved = set_to(store, "8", target=["l4/10.16.1.11"])
    assert moved.move.release.version == "7"
    assert {str(engine.target.version): engine.version for engine in moved.engines} == {
        "10.13.3.9": "7",
        "10.16.1.11": "8",
    }
    assert refresh_channel(store, "resnet", "candidate") == moved
    assert set_to(store, "8").move.targets == {}

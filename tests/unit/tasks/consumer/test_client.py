"""What consumers get from a store: the right engine, checked, or the reason why there is none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tasks.consumer import api, cli
from tasks.consumer.cache import Cache, release_plan
from tasks.consumer.room import remove_all
from tasks.domain.attestation import RECORD_FILE
from tasks.domain.digest import BlobRef
from tasks.domain.errors import DigestMismatch, NoEngineFits, NotStored, RequestInvalid
from tasks.domain.record import EngineRecord
from tasks.domain.target import TensorRTVersion
from tasks.store.channels import channel_at
from tests.support.consumer_store import PLAN, ConsumerStore, consumer_store, requests_of


@pytest.fixture
def made(s3_env: str, engine_record: EngineRecord, tmp_path: Path) -> ConsumerStore:
    return consumer_store(f"s3://{s3_env}/farm", engine_record, tmp_path)


@pytest.fixture
def options(made: ConsumerStore, tmp_path: Path) -> dict[str, Any]:
    return {"store": made.url, "host": made.host, "cache": tmp_path / "cache"}


def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")


def test_fetch_returns_the_plan_with_its_record_beside_it(
    made: ConsumerStore, options: dict[str, Any]
) -> None:
    path = api.fetch(f"{made.engine.model}@production", **options)
    assert path.read_bytes() == PLAN
    assert path.with_name(RECORD_FILE).read_bytes() == made.record
    assert path.with_name(RECORD_FILE).name == f"{path.name}.json"  # where `Engine.open` looks for it


def test_an_exact_hit_reads_the_channel_and_what_is_fetched_and_nothing_else(
    made: ConsumerStore, options: dict[str, Any]
) -> None:
    requests = requests_of(made.store)
    api.fetch(made.engine.model, **options)
    keys = [request["Key"].removeprefix("farm/") for request in requests]
    channel = f"channels/{made.engine.model}/production.json"
    assert keys == [channel, made.engine.key, made.engine.plan.key]
    requests.clear()
    api.fetch(made.engine.model, **options)
    assert [request["Key"] for request in requests] == [f"farm/{channel}"]


def test_a_version_is_found_by_its_records(made: ConsumerStore, options: dict[str, Any]) -> None:
    assert api.fetch(made.engine.model, version=made.engine.version, **options).read_bytes() == PLAN


def test_a_host_without_an_engine_gets_the_reason(made: ConsumerStore, options: dict[str, Any]) -> None:
    host = dataclasses.replace(made.host, version=TensorRTVersion.parse("10.16.1.11"))
    with pytest.raises(NoEngineFits) as refusal:
        api.fetch(made.engine.model, **{**options, "host": host})
    assert str(made.host.version) in refusal.value.found
    assert "enginefarm submit" in refusal.value.fix
    resolution = api.resolve(made.engine.model, **{**options, "host": host})
    assert resolution.choice is None


def test_an_index_with_an_engine_that_is_gone_is_only_slow(
    made: ConsumerStore, options: dict[str, Any]
) -> None:
    gone = dataclasses.replace(made.engine, record=BlobRef(sha256="0" * 64, size=1), created="2027")
    made.move(engines=(gone,), over=channel_at(made.store, made.engine.model, "production"))
    assert api.fetch(made.engine.model, **options).with_name(RECORD_FILE).read_bytes() == made.record


def test_changed_bytes_are_refused(made: ConsumerStore, options: dict[str, Any]) -> None:
    address = made.store.address(made.engine.plan.key)
    wrong = bytes([PLAN[0] ^ 1]) + PLAN[1:]
    made.store.client.put_object(Bucket=address.bucket, Key=address.key, Body=wrong)
    with pytest.raises(DigestMismatch):
        api.fetch(made.engine.model, **options)
    assert list(options["cache"].glob("plans/*")) == []


def test_offline_finds_what_the_cache_has(
    made: ConsumerStore, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = api.fetch(made.engine.model, **options)
    without_network(monkeypatch)
    monkeypatch.setenv("ENGINEFARM_OFFLINE", "1")
    assert api.fetch(made.engine.model, **options) == path
    assert api.fetch(made.engine.model, version=made.engine.version, **options) == path
    with pytest.raises(NotStored) as refusal:
        api.fetch(f"{made.engine.model}@candidate", **options)
    assert f"{made.engine.model} {made.engine.version}" in refusal.value.found
    release_plan(path)
    remove_all(options["cache"])
    with pytest.raises(NotStored, match="empty cache"):
        api.fetch(made.engine.model, **options)


@pytest.mark.parametrize(
    "arguments",
    [
        {"model": "resnet@production", "version": "1"},
        {"model": "resnet@production", "channel": "candidate"},
        {"model": "resnet", "precision": "fp64"},
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], arguments: dict[str, Any]) -> None:
    with pytest.raises(RequestInvalid):
        api.resolve(**arguments, **options)


class CommandLine:
    def __init__(self, made: ConsumerStore, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.made, self.cache, self.capsys = made, cache, capsys

    def __call__(self, command: str, *words: str, engine: bool = False) -> tuple[int, str, str]:
        given = [made_for, "--store", self.made.url, *self.made.host_options] if (
            made_for := self.made.engine.model if engine else ""
        ) else []  # fmt: skip
        code = cli.main([command, *given, *words, "--cache", str(self.cache)])
        printed = self.capsys.readouterr()
        return code, printed.out, printed.err


@pytest.fixture
def command(made: ConsumerStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(made, tmp_path / "cache", capsys)


def test_the_command_line_resolves_fetches_and_pins(command: CommandLine, tmp_path: Path) -> None:
    made = command.made
    code, printed, _ = command("resolve", "--json", engine=True)
    assert (code, json.loads(printed)["choice"]["engine"]["record"]["key"]) == (0, made.engine.key)
    code, printed, _ = command("resolve", engine=True)
    assert printed.startswith(made.engine.key)
    code, printed, _ = command("fetch", "--pin", "now", "-o", str(tmp_path / "x.plan"), engine=True)
    assert (code, printed) == (0, f"{tmp_path / 'x.plan'}\n")
    assert (tmp_path / "x.plan").read_bytes() == PLAN
    assert (tmp_path / "x.plan.json").read_bytes() == made.record
    code, printed, _ = command("pins", "--json")
    (pin,) = json.loads(printed)
    assert pin == {"name": "now", "plan": made.engine.plan.sha256, "engine": made.engine.key}
    code, printed, _ = command("cache", "--clear", "--json")
    document = json.loads(printed)
    assert (document["removed"], len(document["plans"]), document["plans"][0]["pinned"]) == ([], 1, True)
    release_plan(next(tmp_path.glob("cache/plans/*/*/engine.plan")))
    assert command("pins", "--remove", "now")[0] == 0
    assert "1 plans removed" in command("cache", "--clear")[1]


def test_the_command_line_ends_with_the_code_of_the_error(command: CommandLine) -> None:
    code, printed, said = command("fetch", "--tensorrt", "10.16.1.11", "--json", engine=True)
    error = json.loads(printed)["error"]
    assert (code, error["class"]) == (NoEngineFits.exit_code, "NoEngineFits")
    assert {"wanted", "found", "fix"} <= error.keys()
    assert said.startswith("NoEngineFits: wanted an engine")


def test_the_cache_has_its_place_and_bound_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINEFARM_CACHE", str(tmp_path))
    monkeypatch.setenv("ENGINEFARM_CACHE_SIZE", "1M")
    assert Cache.from_environment() == Cache(folder=tmp_path, most_bytes=1 << 20)

"""What is missing by S3 alone becomes runs on a real Prefect server. No worker runs: they are counted."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.variables import Variable

from agents.server.flow_runs import all_flow_runs
from agents.server.pools import FarmPool
from flows import reconcile as reconciling
from flows.reconcile import Reconciled, reconcile
from flows.release import missing_cells
from flows.server.deployments import register
from flows.server.variables import RELEASES
from flows.settings import settings
from tasks.domain.backoff import Backoff
from tasks.domain.errors import FarmError, LocationRefused, RequestInvalid, StoreUnreachable
from tasks.domain.offer import CPU_POOL, Announcement, Offer, pool_of
from tasks.domain.priority import Priority
from tasks.domain.request import Precision
from tasks.store import patience
from tasks.store.announcements import announce
from tasks.store.s3 import s3_client
from tasks.store.store import Store
from tests.support.farm.commands import on_server, run
from tests.support.farm.orders import on_rtx

_TARGET = on_rtx("8.9")
_REQUESTS = {
    "old/1": "targets: [rtx-sm89]\nprecisions: [fp32, fp16]",
    "new/1": "targets: [rtx-sm89, l4]",
    "first/1": "targets: [rtx-sm89]\npriority: production",
    "broken/1": "targetz: all",
    "elsewhere/1": "targets: [l4]",
}


@pytest.fixture
def bucket(s3_env: str, bare_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket with releases, and a server that has the farm's deployments."""
    del bare_server
    monkeypatch.delenv("ENGINEFARM_STORE", raising=False)
    monkeypatch.setenv("ENGINEFARM_RELEASES", f"s3://{s3_env}/models")
    settings.cache_clear()
    s3 = s3_client()
    for name, text in _REQUESTS.items():
        s3.put_object(Bucket=s3_env, Key=f"models/{name}/build.yaml", Body=text.encode())

    async def deploy(client: PrefectClient) -> None:
        await FarmPool(name=CPU_POOL).ensure(client)
        await register(client, CPU_POOL, ())

    on_server(deploy)
    yield s3_env
    settings.cache_clear()


def _announce(bucket: str, age: timedelta) -> None:
    offer = Offer(
        flavour=_TARGET.flavour, version=_TARGET.version, gpus=(), os="linux", architecture="x86_64"
    )
    seen = (datetime.now(UTC) - age).isoformat()
    store = Store.connect(f"s3://{bucket}")
    announce(store, Announcement(pool=pool_of(_TARGET), offer=offer, host="h", seen=seen))


def _reconcile(budget: int, *places: str) -> dict[str, Reconciled]:
    results = asyncio.run(reconcile(budget=budget, places=places))
    return {result.url.removesuffix("/").split("/models/")[1]: result for result in results}


def _runs() -> list[tuple[str, str]]:
    async def read(client: PrefectClient) -> list[tuple[str, str]]:
        ours = await client.read_deployment_by_name("build-release/farm")
        runs = [run for run in await all_flow_runs(client) if run.deployment_id == ours.id]
        assert all(run.state_name in {"Scheduled", "Late"} for run in runs)
        return sorted((run.name, str(run.work_queue_name)) for run in runs)

    return list(on_server(read))


def test_what_s3_lacks_is_started_once_within_the_budget(bucket: str) -> None:
    _announce(bucket, timedelta(days=31))
    assert all(result.run is None for result in _reconcile(1).values())  # its agents are gone
    _announce(bucket, timedelta(days=1))
    results = _reconcile(1)
    assert _runs() == [("first-1", Priority.PRODUCTION)]
    assert results["first/1"].lacks == (f"missing: rtx-sm89/{_TARGET.version} {Precision.FP32}",)
    assert "RequestInvalid" in results["broken/1"].done
    assert "no agent builds for l4" in results["elsewhere/1"].done
    assert "budget" in results["old/1"].done
    again = _reconcile(20)
    assert again["first/1"].done == "a run is active already"
    assert "offered by no agent: l4" in again["new/1"].lacks
    nightly = [("new-1", Priority.NIGHTLY), ("old-1", Priority.NIGHTLY)]
    assert _runs() == [("first-1", Priority.PRODUCTION), *nightly]
    assert all(result.run is None for result in _reconcile(20).values())
    assert len(_runs()) == 3


def test_a_command_lists_what_is_missing_and_starts_a_run_now(bucket: str) -> None:
    _announce(bucket, timedelta(days=1))
    rows = json.loads(run("reconcile", "--dry-run", "--json"))
    lacks = {row["release"].removeprefix(f"s3://{bucket}/models/"): row["lacks"] for row in rows}
    assert lacks["first/1/"] == [f"missing: rtx-sm89/{_TARGET.version} fp32"]
    assert "did you mean targets" in lacks["broken/1/"][0]
    assert _runs() == []
    started = json.loads(run("reconcile", f"s3://{bucket}/models", "--budget", "3", "--json"))
    flow_run = on_server(lambda client: client.read_flow_run(started["id"]))
    assert flow_run.parameters == {"places": [f"s3://{bucket}/models"], "budget": 3}
    assert flow_run.name.startswith(f"reconcile-{datetime.now(UTC):%Y}")

    run("submit", f"s3://{bucket}/models/first/1")
    listed = {each["name"]: (each["way"], each["release"]) for each in json.loads(run("runs", "--json"))}
    assert listed["first-1"] == ("submit", f"s3://{bucket}/models/first/1/")
    assert listed[flow_run.name] == ("command", "")


def test_places_that_are_not_named_or_not_allowed_are_refused(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINEFARM_ALLOWED", f"s3://{bucket}/models")
    settings.cache_clear()
    with pytest.raises(LocationRefused):
        _reconcile(1, "s3://somebody-elses/models")
    monkeypatch.delenv("ENGINEFARM_RELEASES")
    settings.cache_clear()
    with pytest.raises(RequestInvalid, match="ENGINEFARM_RELEASES"):
        _reconcile(1)


def test_a_variable_on_the_server_names_the_places_before_the_agent_does(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator changes it in Prefect's UI; what is no list of places is refused, and not passed over."""
    monkeypatch.setenv("ENGINEFARM_RELEASES", "s3://nobodys/models")
    settings.cache_clear()
    run("deploy", "--yes")
    Variable.set(RELEASES, [f"s3://{bucket}/models"], overwrite=True)
    assert _reconcile(1).keys() == set(_REQUESTS)
    (kept,) = (change for change in json.loads(run("deploy", "--json")) if change["name"] == RELEASES)
    assert (kept["action"], kept["details"]) == ("keep", ["set by an operator, and stays so"])
    Variable.set(RELEASES, "s3://one/place", overwrite=True)
    with pytest.raises(RequestInvalid, match=RELEASES):
        _reconcile(1)
    Variable.set(RELEASES, [], overwrite=True)
    with pytest.raises(FarmError, match="nobodys"):
        _reconcile(1)


def test_a_night_waits_for_an_s3_that_is_away(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _announce(bucket, timedelta(days=1))
    expected = {name: result.lacks for name, result in _reconcile(1).items()}
    asked: Counter[str] = Counter()

    def at_the_second_time(call: Callable[..., Any]) -> Callable[..., Any]:
        def answer(*arguments: Any) -> Any:
            asked[str(arguments[-1])] += 1
            if asked[str(arguments[-1])] == 1:
                raise StoreUnreachable(wanted="S3", found="no answer", fix="start it")
            return call(*arguments)

        return answer

    for module, name in ((reconciling, "releases_below"), (missing_cells, "read_request")):
        monkeypatch.setattr(module, name, at_the_second_time(getattr(module, name)))
    monkeypatch.setattr(patience, "_BACKOFF", Backoff(first=0.05, longest=0.05))
    with pytest.raises(StoreUnreachable):
        _reconcile(1)  # on the command line
    assert all("StoreUnreachable" in result.done for result in _reconcile(1).values())

    asked.clear()
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", str(uuid4()))  # as an agent runs it
    assert {name: result.lacks for name, result in _reconcile(1).items()} == expected
    assert len(asked) == 1 + len(_REQUESTS)
    assert set(asked.values()) == {2}

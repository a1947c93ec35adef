"""Hosts whose clocks are an hour ahead of Prefect's server, or behind it: the server's time counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from prefect import flow_engine
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import Flow, FlowRun, State, StateType, Variable, Worker, WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse

from agents.server import clock, s3_presence
from agents.server.clock import SKEW, send_heartbeats_in_server_time, server_now
from agents.server.flow_runs import WORKER_LABEL
from agents.server.pools import workers_online
from agents.server.s3_presence import S3Presence, report_presence, s3_presences
from agents.worker.crash_reports import ReportingWorker
from agents.worker.lost_runs import sweep_runs
from agents.worker.worker import FarmJob, FarmWorker, WorkerOrder

HOUR, NEAR = timedelta(hours=1), timedelta(seconds=30)
NO_FLOW: Any = None
_POOL, _WORKER = "gpu-l4-trt10.13.3.9", "host-gpu0"


@dataclass(kw_only=True)
class Server:
    """Answers as Prefect's server does, whose clock is right."""

    header: Callable[[], str] = lambda: format_datetime(datetime.now(UTC), usegmt=True)
    workers: list[Worker] = field(default_factory=list)
    runs: list[FlowRun] = field(default_factory=list)
    states: dict[str, State[Any]] = field(default_factory=dict)
    variable: Variable | None = None

    async def hello(self) -> httpx.Response:
        date = self.header()
        return httpx.Response(200, headers={"Date": date} if date else {})

    async def read_workers_for_work_pool(self, _pool: str) -> list[Worker]:
        return self.workers

    async def read_flow_runs(self, **_: Any) -> list[FlowRun]:
        return self.runs

    async def set_flow_run_state(self, run: object, state: State[Any], **_: Any) -> None:
        self.states[str(run)] = state

    async def read_variable_by_name(self, _name: str) -> Variable | None:
        return self.variable

    async def read_variables(self, **_: Any) -> list[Variable]:
        return [self.variable] if self.variable else []

    async def create_variable(self, variable: Any) -> None:
        self.variable = Variable(name=variable.name, value=variable.value)

    @property
    def client(self) -> PrefectClient:
        return cast("PrefectClient", self)


@pytest.fixture(params=[HOUR, -HOUR, timedelta()], ids=["ahead", "behind", "right"])
def ahead(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> timedelta:
    """Shift this host's clock; return how far it is ahead."""
    ahead: timedelta = request.param
    monkeypatch.setattr(clock, "_host_now", lambda: datetime.now(UTC) + ahead)
    return ahead


def ago(**parts: float) -> datetime:
    """Return a time of the server."""
    return datetime.now(UTC) - timedelta(**parts)


@pytest.mark.usefixtures("ahead")
def test_agents_are_online_by_the_clock_of_the_server() -> None:
    seen = {"alive": ago(seconds=20), "dead": ago(minutes=5)}
    workers = [
        Worker(
            name=name, work_pool_id=uuid4(), last_heartbeat_time=moment, heartbeat_interval_seconds=30,
            status=WorkerStatus.ONLINE,
        )
        for name, moment in seen.items()
    ]  # fmt: skip
    assert asyncio.run(workers_online(Server(workers=workers).client, _POOL)) == {"alive"}


@pytest.mark.usefixtures("ahead")
def test_live_runs_are_not_taken_for_lost_ones() -> None:
    def run(kind: StateType, since: datetime, *, label: str | None) -> FlowRun:
        labels: dict[str, Any] = {WORKER_LABEL: label} if label else {}
        return FlowRun(
            flow_id=uuid4(), state_type=kind, state=State(type=kind, timestamp=since), labels=labels
        )

    live = [
        run(StateType.PENDING, ago(seconds=5), label=None),
        run(StateType.CANCELLING, ago(seconds=5), label=_WORKER),
    ]
    lost = run(StateType.PENDING, ago(minutes=2), label=None)
    deaf = run(StateType.CANCELLING, ago(minutes=2), label=_WORKER)
    server = Server(runs=[*live, lost, deaf])
    asyncio.run(sweep_runs(server.client, _POOL, _WORKER))
    assert {run: state.name for run, state in server.states.items()} == {
        str(lost.id): "AwaitingRetry",
        str(deaf.id): "Cancelled",
    }
    due = server.states[str(lost.id)].state_details.scheduled_time
    assert due is not None
    assert abs(due.timestamp() - datetime.now(UTC).timestamp()) < NEAR.total_seconds()


def test_s3_agents_are_online_by_the_clock_of_the_server(
    ahead: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    by_the_host = (datetime.now(UTC) + ahead).isoformat()
    presence = S3Presence(host="h", places=("s3://b/models",), queue="", seen=by_the_host)
    asyncio.run(report_presence(server.client, presence))
    (reported,) = asyncio.run(s3_presences(server.client))
    monkeypatch.setattr(clock, "_host_now", lambda: datetime.now(UTC) - ahead)  # that of another reader
    assert reported.is_online(asyncio.run(server_now(server.client)))
    monkeypatch.setattr(s3_presence, "_ONLINE", timedelta(seconds=-60))
    assert not reported.is_online(asyncio.run(server_now(server.client)))


def test_a_worker_asks_for_what_is_due_on_the_server_and_tells_its_runs(
    ahead: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sync(_worker: object) -> None:
        """Send no heartbeat."""

    monkeypatch.setattr(ReportingWorker, "sync_with_backend", sync)
    monkeypatch.setattr(FarmJob, "clock_skew", timedelta())
    monkeypatch.setattr(FarmJob, "flows", {"build-engine": "flows"})
    worker = FarmWorker(WorkerOrder(pool=_POOL, name=_WORKER, limit=1, flows={}, beats=0))
    before = worker._prefetch_seconds
    worker._client = Server().client
    for _ in range(2):  # it does not add up
        asyncio.run(worker.sync_with_backend())
    due = datetime.now(UTC) + ahead + timedelta(seconds=worker._prefetch_seconds)
    assert abs(due - datetime.now(UTC) - timedelta(seconds=before)) < NEAR

    run, job = FlowRun(flow_id=uuid4()), FarmJob()
    deployment = DeploymentResponse(name="farm", flow_id=run.flow_id, labels={})
    job.prepare_for_flow_run(run, deployment=deployment, flow=Flow(name="build-engine", labels={}))
    assert abs(float(job.env.get(SKEW) or 0) + ahead.total_seconds()) < NEAR.total_seconds()
    assert (SKEW in job.env) == bool(ahead)


def test_heartbeats_of_runs_have_the_time_of_the_server(
    ahead: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[dict[str, Any]] = []
    monkeypatch.setattr(flow_engine, "emit_event", lambda **event: events.append(event))
    send_heartbeats_in_server_time(-ahead)
    # Somebody corrects the clock during the run.
    monkeypatch.setattr(clock, "_host_now", lambda: datetime.now(UTC))
    engine: flow_engine.FlowRunEngine[Any, Any] = flow_engine.FlowRunEngine(
        flow=NO_FLOW, parameters={}, flow_run_id=uuid4(), flow_run=FlowRun(flow_id=uuid4())
    )
    engine._emit_flow_run_heartbeat(resource={}, related=[])
    (event,) = events
    assert event["event"] == "prefect.flow-run.heartbeat"
    assert abs(event.get("occurred", datetime.now(UTC)) - datetime.now(UTC)) < NEAR


@pytest.mark.parametrize("header", ["", "no date"])
def test_without_a_date_this_hosts_clock_counts(header: str) -> None:
    now = asyncio.run(server_now(Server(header=lambda: header).client))
    assert abs(now - datetime.now(UTC)) < NEAR

"""What operators see of the farm, as values. Times are ISO 8601 in UTC."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A flow run that has begun or ended.

    Attributes:
        id: Prefect's id.
        name: its name.
        state: the name of its state.
        since: when that state began.
        text: the state's message: for a failure, what was wanted, what was found and how to fix it.
    """

    id: str
    name: str
    state: str
    since: str | None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """A run of the farm in a list.

    Attributes:
        id: Prefect's id.
        name: its name.
        state: the name of its state.
        release: the URL of its release; empty for other runs.
        way: what started it: `s3`, `submit`, `command`, `schedule`, or Prefect's UI or API.
        started: when it started, or was due.
        seconds: how long it has run.
        text: the state's message, unless it has completed.
    """

    id: str
    name: str
    state: str
    release: str
    way: str
    started: str
    seconds: float
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """One worker of a pool.

    Attributes:
        name: of the worker: host, GPU and pool.
        online: whether its heartbeats are recent.
        seen: the time of its last heartbeat.
        runs: its current runs.
    """

    name: str
    online: bool
    seen: str | None
    runs: tuple[RunView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingView:
    """A flow run that waits for an agent.

    Attributes:
        id: Prefect's id.
        name: its name.
        queue: its work queue.
        state: the name of its state.
        age_seconds: how long it has been waiting since it was due.
        done_in_seconds: the estimated time until it is done, from recent runs of its kind; None if unknown.
    """

    id: str
    name: str
    queue: str
    state: str
    age_seconds: float
    done_in_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """One work pool of the farm.

    Attributes:
        name: of the pool.
        paused: whether an operator stopped it.
        agents: its workers, by name, without those that were not seen for a day.
        waiting: its waiting runs, in the order in which agents take them.
    """

    name: str
    paused: bool
    agents: tuple[AgentView, ...]
    waiting: tuple[WaitingView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class S3AgentView:
    """An S3 agent, as it last reported; one that is gone stays listed.

    Attributes:
        host: where it runs.
        places: URLs of the places of releases that it watches.
        queue: URL of its SQS queue; empty if it only lists.
        online: whether it has reported lately.
        seen: when it reported.
        listed: when it last listed all places; empty if it has not.
        waiting: messages that waited in the queue; None if it has none or SQS did not answer.
        in_flight: messages that were being processed; None likewise.
        variable: the variable on Prefect's server with its report.
    """

    host: str
    places: tuple[str, ...]
    queue: str
    online: bool
    seen: str
    listed: str
    waiting: int | None
    in_flight: int | None
    variable: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmView:
    """The farm at one moment.

    Attributes:
        pools: by name.
        failures: the last runs that failed or crashed, the newest first.
        s3_agents: by host.
    """

    pools: tuple[PoolView, ...]
    failures: tuple[RunView, ...]
    s3_agents: tuple[S3AgentView, ...] = ()

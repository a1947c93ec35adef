"""What operators see of the farm, as values. Times are ISO 8601 in UTC."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A flow run that has begun or ended.

    Attributes:
        id: Prefect's.
        name: how people call it.
        state: the name of its state.
        since: since when it is in that state.
        text: what the state says: of a failure what was wanted, found and how to fix it.
    """

    id: str
    name: str
    state: str
    since: str | None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """One worker of a pool.

    Attributes:
        name: of the worker: host, GPU and pool.
        online: whether it has told that it lives.
        seen: when it last did.
        runs: what it does now.
    """

    name: str
    online: bool
    seen: str | None
    runs: tuple[RunView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingView:
    """A flow run that waits for an agent.

    Attributes:
        id: Prefect's.
        name: how people call it.
        queue: in which work queue it waits.
        state: the name of its state.
        age_seconds: how long it could have been running.
        done_in_seconds: when it will be done, by what such runs took lately; None where nobody can tell.
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
        agents: its workers, by name; one that was not seen for a day is left out.
        waiting: what waits in it, in the order in which agents take it.
    """

    name: str
    paused: bool
    agents: tuple[AgentView, ...]
    waiting: tuple[WaitingView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmView:
    """The farm at one moment.

    Attributes:
        pools: by name.
        failures: the last runs that failed or crashed, the newest first.
    """

    pools: tuple[PoolView, ...]
    failures: tuple[RunView, ...]

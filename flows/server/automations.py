"""Automations of Prefect's server, as data: what it does about runs of hosts that are gone.

A host that loses power reports nothing. Its agent repairs that on restart (`agents/worker/lost_runs.py`). If
it never restarts, the server itself notices that the run's heartbeats have stopped. The CPU agents then
restart the crashed run (`agents/server/janitor.py`). Crashed is no proof that a build has stopped: its lease
and the conditional write of its record settle that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from agents.server.flow_runs import FLOWS

_RUN = "prefect.flow-run"
_OVER = ("Completed", "Failed", "Cancelled", "Crashed", "TimedOut")
_WAITS = ("Scheduled", "AwaitingRetry", "Late", "AwaitingConcurrencySlot", "Paused", "Suspended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One automation: after an event of a run another one is expected in time, else the run's state changes.

    Attributes:
        name: how people see it on the server.
        former_name: its name in earlier versions, under which `enginefarm deploy` still finds it.
        description: why the state changed: the message of the new state.
        after: the event, such as the name of a state.
        expect: events of which one must follow.
        seconds: how long it may take.
        state: what the run becomes otherwise.
    """

    name: str
    former_name: str
    description: str
    after: str
    expect: tuple[str, ...]
    seconds: float
    state: StateType

    @property
    def summary(self) -> tuple[str, ...]:
        """What to show beside its name: nothing."""
        return ()

    async def to_prefect(self, _client: PrefectClient) -> AutomationCore:
        """Return it in Prefect's own form."""
        return self.automation()

    def automation(self) -> AutomationCore:
        """Return what `to_prefect` does; it needs no server."""
        return AutomationCore(
            name=self.name,
            description=self.description,
            trigger=EventTrigger(
                posture=Posture.Proactive,
                after={f"{_RUN}.{self.after}"},
                expect={f"{_RUN}.{event}" for event in self.expect},
                match={"prefect.resource.id": f"{_RUN}.*"},
                match_related={"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)},
                for_each={"prefect.resource.id"},
                threshold=1,
                within=timedelta(seconds=self.seconds),
            ),
            actions=[ChangeFlowRunState(name=None, state=self.state, message=self.description, force=False)],
        )


SILENT = Watch(
    name="enginefarm: runs without heartbeats",
    former_name="enginefarm: silent runs",
    description="Crashed because its heartbeats stopped: its host or its process is gone.",
    after="heartbeat",
    # What an agent handed back waits without a heartbeat, and a run that is to end has its own watch.
    expect=("heartbeat", *_OVER, *_WAITS, "Cancelling"),
    # Runs beat every 30 s. No shorter: a server that was away for two minutes would give up what lives.
    seconds=300.0,
    state=StateType.CRASHED,
)
STUCK = Watch(
    name="enginefarm: runs that do not start",
    former_name="enginefarm: runs that were taken and do not start",
    description="Crashed because an agent took it and did not start it within ten minutes.",
    after="Pending",
    expect=("Running", "heartbeat", *_OVER, *_WAITS, "Cancelling"),
    seconds=600.0,
    state=StateType.CRASHED,
)
UNHEARD = Watch(
    name="enginefarm: unacknowledged cancellations",
    former_name="enginefarm: cancels that nobody hears",
    description="Cancelled because its agent did not respond within five minutes.",
    after="Cancelling",
    expect=_OVER,
    seconds=300.0,
    state=StateType.CANCELLED,
)
WATCHES = (SILENT, STUCK, UNHEARD)


def watches(silent_seconds: float) -> tuple[Watch, ...]:
    """Return the farm's automations, with the time that a run may be silent, in seconds."""
    return (replace(SILENT, seconds=silent_seconds), STUCK, UNHEARD)

"""The farm's automations on Prefect's server, as data, and their registration by `enginefarm deploy`.

**Lost hosts.** A host that loses power reports nothing. Its agent repairs that on restart
(`agents/worker/lost_runs.py`). If it never restarts, the server itself notices that the run's heartbeats have
stopped. The CPU agents then restart the crashed run (`agents/server/janitor.py`). Crashed is no proof that a
build has stopped: its lease and the conditional write of its record settle that.

**Events.** If something other than the S3 agent watches S3, it can report `s3.object.created` for a request
file (one POST to `/api/events`), which starts a run of `build-release`. The server trusts the event: it
neither looks at the object nor lists what was missed.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.exceptions import ObjectNotFound

from agents.server.changes import Action, Change, Plan
from agents.server.flow_runs import FLOWS
from agents.server.release_runs import DEPLOYMENT
from tasks.domain.errors import NotDeployed
from tasks.domain.release import REQUEST_FILE
from tasks.domain.release_place import ReleasePlace

CREATED = "s3.object.created"
"""The event. The id of its resource is the object's URL, `s3://BUCKET/KEY`, without any quoting."""

_COMPARED = ("name", "description", "trigger", "actions")
_RUN = "prefect.flow-run"
_OVER = ("Completed", "Failed", "Cancelled", "Crashed", "TimedOut")
_WAITS = ("Scheduled", "AwaitingRetry", "Late", "AwaitingConcurrencySlot", "Paused", "Suspended")


class Declared(Protocol):
    """An automation that the farm wants."""

    @property
    def name(self) -> str:
        """Its name on the server."""

    @property
    def former_name(self) -> str:
        """Its name in earlier versions; empty if the name has never changed."""

    @property
    def summary(self) -> tuple[str, ...]:
        """What to show next to its name before it is created."""

    async def to_prefect(self, client: PrefectClient) -> AutomationCore:
        """Return it in Prefect's own form.

        Raises:
            NotDeployed: what it needs is not registered yet.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """An automation that changes the state of a run if no expected event follows another event in time.

    Attributes:
        name: its name on the server.
        former_name: its name in earlier versions, under which `enginefarm deploy` still finds it.
        description: why the state changed: the message of the new state.
        after: the first event, such as the name of a state.
        expect: the events of which one must follow.
        seconds: how long that may take.
        state: the new state of the run otherwise.
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
        """What to show next to its name: nothing."""
        return ()

    async def to_prefect(self, _client: PrefectClient) -> AutomationCore:
        """Return it in Prefect's own form."""
        return self.automation()

    def automation(self) -> AutomationCore:
        """Return the result of `to_prefect`, which needs no server."""
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
    # A run that an agent handed back waits without heartbeats, and a cancelled run has a watch of its own.
    expect=("heartbeat", *_OVER, *_WAITS, "Cancelling"),
    # Runs send a heartbeat every 30 s. No shorter: an outage of two minutes would crash live runs.
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
    """Return the farm's watches; a run may be without heartbeats for `silent_seconds`."""
    return (replace(SILENT, seconds=silent_seconds), STUCK, UNHEARD)


def trigger_for(place: ReleasePlace) -> DeploymentEventTrigger:
    """Return the trigger that starts a run for each request file created directly below `place`."""
    root = f"s3://{place.bucket}/{place.root}"
    names = f"event.resource.id[{len(root)}:].split('/')"
    return DeploymentEventTrigger(
        name=f"enginefarm: events of {place.url}",
        description=f"Builds a release when the event {CREATED} reports its {REQUEST_FILE}.",
        expect={CREATED},
        match={"prefect.resource.id": f"{glob.escape(root)}*/*/{REQUEST_FILE}"},
        parameters={
            "release": {
                "bucket": place.bucket,
                "prefix": place.prefix,
                "model": _rendered(f"{{{{ {names}[0] }}}}"),
                # For a file further down this is not a valid name, and the server refuses the run.
                "version": _rendered(f"{{{{ {names}[1:-1] | join('/') }}}}"),
            }
        },
    )


def _rendered(template: str) -> dict[str, str]:
    return {"__prefect_kind": "jinja", "template": template}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStart:
    """An automation that starts `build-release` after an event.

    Attributes:
        place: the place of the releases that it builds.
    """

    place: ReleasePlace

    @property
    def name(self) -> str:
        """Its name on the server."""
        return str(trigger_for(self.place).name)

    @property
    def former_name(self) -> str:
        """The name has never changed."""
        return ""

    @property
    def summary(self) -> tuple[str, ...]:
        """What it does, in short."""
        return (f"{CREATED} starts {DEPLOYMENT}",)

    async def to_prefect(self, client: PrefectClient) -> AutomationCore:
        """Return it for the present deployment.

        Raises:
            NotDeployed: the deployment does not exist.
        """
        trigger = trigger_for(self.place)
        try:
            trigger.set_deployment_id((await client.read_deployment_by_name(DEPLOYMENT)).id)
        except ObjectNotFound as error:
            raise NotDeployed(
                wanted=DEPLOYMENT, found="it does not exist yet", fix="run `enginefarm deploy`"
            ) from error
        return trigger.as_automation()


class Automations:
    """A part of the farm with some of its automations. They stay disabled if an operator disabled them."""

    def __init__(self, wanted: Sequence[Declared]) -> None:
        self._wanted = wanted

    async def plan(self, client: PrefectClient) -> Plan:
        """Return what `apply` would do now, without changing anything."""
        return [(await _planned_change(declared, client))[0] for declared in self._wanted]

    async def apply(self, client: PrefectClient) -> Plan:
        """Create what is missing and change what differs; return what was done."""
        done = []
        for declared in self._wanted:
            change, existing = await _planned_change(declared, client)
            if existing is None:
                await client.create_automation(await declared.to_prefect(client))
            elif change.action is Action.CHANGE:
                # Workaround (Prefect 3.8.8): an update that names an owner is refused, and every field that
                # was set is sent. Remove when the server ignores an owner that is the same.
                fields = (await declared.to_prefect(client)).model_dump(exclude={"owner_resource"})
                kept = AutomationCore(**fields | {"enabled": existing.enabled})
                await client.update_automation(existing.id, kept)
            done.append(change)
        return done


async def _planned_change(declared: Declared, client: PrefectClient) -> tuple[Change, Automation | None]:
    """Return the change and the first automation of that name; users may have others of that name."""
    named = await client.read_automations_by_name(declared.name)
    if not named and declared.former_name:
        named = await client.read_automations_by_name(declared.former_name)
    existing = min(named, key=lambda other: str(other.id), default=None)
    if existing is None:
        change = Change(kind="automation", name=declared.name, action=Action.CREATE, details=declared.summary)
        return change, None
    try:
        wanted = await declared.to_prefect(client)
    except NotDeployed as error:
        details = [f"{error.wanted} does not exist yet"]
    else:
        differing = [part for part in _COMPARED if getattr(existing, part) != getattr(wanted, part)]
        details = [f"{part} differs" for part in differing]
    action = Action.CHANGE if details else Action.KEEP
    details += [] if existing.enabled else ["disabled, and stays so"]
    return Change(kind="automation", name=declared.name, action=action, details=tuple(details)), existing

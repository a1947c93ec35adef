"""Builds that begin with an event on Prefect's server, where something else than the S3 agent watches S3.

Whoever tells the server of `s3.object.created` for a request file (one POST to `/api/events`) starts a run
of `build-release`. The server believes the event: it neither looks at the object nor lists what was lost.
"""

from __future__ import annotations

import glob
from dataclasses import dataclass

from prefect.client.orchestration import PrefectClient
from prefect.events.schemas.automations import AutomationCore
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.exceptions import ObjectNotFound

from agents.server.release_runs import DEPLOYMENT
from tasks.domain.errors import NotDeployed
from tasks.domain.release import REQUEST_FILE
from tasks.domain.release_place import ReleasePlace

CREATED = "s3.object.created"
"""The event. The id of its resource is the object's URL, `s3://BUCKET/KEY`, with nothing in it quoted."""


def trigger_for(place: ReleasePlace) -> DeploymentEventTrigger:
    """Return what starts a run for each request file that is created right below `place`."""
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
                # Of a file further down this is no name, and the server refuses the run.
                "version": _rendered(f"{{{{ {names}[1:-1] | join('/') }}}}"),
            }
        },
    )


def _rendered(template: str) -> dict[str, str]:
    return {"__prefect_kind": "jinja", "template": template}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStart:
    """An automation that starts `build-release`.

    Attributes:
        place: of the releases that it builds.
    """

    place: ReleasePlace

    @property
    def name(self) -> str:
        """How people see it on the server."""
        return str(trigger_for(self.place).name)

    @property
    def former_name(self) -> str:
        """It always had this name."""
        return ""

    @property
    def summary(self) -> tuple[str, ...]:
        """What it does, in short."""
        return (f"{CREATED} starts {DEPLOYMENT}",)

    async def to_prefect(self, client: PrefectClient) -> AutomationCore:
        """Return it for the deployment that is there now.

        Raises:
            NotDeployed: there is none.
        """
        trigger = trigger_for(self.place)
        try:
            trigger.set_deployment_id((await client.read_deployment_by_name(DEPLOYMENT)).id)
        except ObjectNotFound as error:
            raise NotDeployed(
                wanted=DEPLOYMENT, found="it is not there yet", fix="run `enginefarm deploy`"
            ) from error
        return trigger.as_automation()

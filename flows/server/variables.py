"""The farm's variables on Prefect's server, which operators change in its UI without restarting agents."""

from __future__ import annotations

from contextlib import suppress

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate
from prefect.exceptions import ObjectAlreadyExists
from pydantic import TypeAdapter, ValidationError

from agents.server.changes import Action, Change, Plan
from tasks.domain.errors import RequestInvalid

RELEASES = "enginefarm_releases"
"""A JSON list of places of releases, `s3://BUCKET/PREFIX`; if empty, ENGINEFARM_RELEASES counts."""

_PLACES = TypeAdapter(tuple[str, ...])


class Variables:
    """The farm's variables. They are created empty, and an operator's values are kept."""

    async def plan(self, client: PrefectClient) -> Plan:
        """Return what `apply` would do now, without changing anything."""
        variable = await client.read_variable_by_name(RELEASES)
        if variable is None:
            summary = "empty: reconcile looks where ENGINEFARM_RELEASES on the CPU agents says"
            return [Change(kind="variable", name=RELEASES, action=Action.CREATE, details=(summary,))]
        kept = () if variable.value == [] else ("set by an operator, and stays so",)
        return [Change(kind="variable", name=RELEASES, action=Action.KEEP, details=kept)]

    async def apply(self, client: PrefectClient) -> Plan:
        """Create what is missing, and return what was done."""
        plan = await self.plan(client)
        if any(change.action is Action.CREATE for change in plan):
            with suppress(ObjectAlreadyExists):  # another process registers the farm at the same time
                await client.create_variable(VariableCreate(name=RELEASES, value=[], tags=["enginefarm"]))
        return plan


async def places_of_releases(client: PrefectClient) -> tuple[str, ...]:
    """Return the places in the variable; none if it is empty or does not exist.

    Raises:
        RequestInvalid: it does not contain a list of strings.
    """
    variable = await client.read_variable_by_name(RELEASES)
    if variable is None:
        return ()
    try:
        return _PLACES.validate_python(variable.value)
    except ValidationError:
        raise RequestInvalid(
            wanted=f"a JSON list of places, s3://BUCKET/PREFIX, in the Prefect variable {RELEASES}",
            found=repr(variable.value),
            fix=f"correct {RELEASES} in Prefect's UI, or empty it ([]) to use ENGINEFARM_RELEASES",
        ) from None

"""The farm's variables on Prefect's server, which operators change in its UI without touching an agent."""

from __future__ import annotations

from contextlib import suppress

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate
from prefect.exceptions import ObjectAlreadyExists
from pydantic import TypeAdapter, ValidationError

from agents.server.changes import Action, Change, Plan
from tasks.domain.errors import RequestInvalid

RELEASES = "enginefarm_releases"
"""A JSON list of places of releases, `s3://BUCKET/PREFIX`; empty: those of ENGINEFARM_RELEASES."""

_PLACES = TypeAdapter(tuple[str, ...])


class Variables:
    """The farm's variables. They come empty, and what an operator writes into one stays."""

    async def plan(self, client: PrefectClient) -> Plan:
        """Return what `apply` would do now. Changes nothing."""
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
            with suppress(ObjectAlreadyExists):  # somebody else registers the farm at the same moment
                await client.create_variable(VariableCreate(name=RELEASES, value=[], tags=["enginefarm"]))
        return plan


async def places_of_releases(client: PrefectClient) -> tuple[str, ...]:
    """Return the places that the variable names; none where it is empty or not there.

    Raises:
        RequestInvalid: it holds something else than a list of strings.
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
            fix=f"correct {RELEASES} in Prefect's UI, or empty it ([]) to have ENGINEFARM_RELEASES count",
        ) from None

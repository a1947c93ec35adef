"""Automations of Prefect's server, as one part of what `enginefarm deploy` registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from prefect.client.orchestration import PrefectClient
from prefect.events.schemas.automations import Automation, AutomationCore

from agents.server.changes import Action, Change, Plan
from tasks.domain.errors import NotDeployed

_COMPARED = ("description", "trigger", "actions")


class Declared(Protocol):
    """An automation that is wanted."""

    @property
    def name(self) -> str:
        """How people see it on the server."""

    @property
    def told(self) -> tuple[str, ...]:
        """What is told beside its name when it is to be created."""

    async def form(self, client: PrefectClient) -> AutomationCore:
        """Return it in Prefect's own form.

        Raises:
            NotDeployed: what it needs is not registered yet.
        """


class Automations:
    """Some of the farm's automations. One that an operator disabled stays so."""

    def __init__(self, wanted: Sequence[Declared]) -> None:
        self._wanted = wanted

    async def plan(self, client: PrefectClient) -> Plan:
        """Return what `apply` would do now. Changes nothing."""
        return [(await _compared(one, client))[0] for one in self._wanted]

    async def apply(self, client: PrefectClient) -> Plan:
        """Create and change what is missing or differs, and return what was done."""
        done = []
        for one in self._wanted:
            change, found = await _compared(one, client)
            if found is None:
                await client.create_automation(await one.form(client))
            elif change.action is Action.CHANGE:
                # Workaround (Prefect 3.8.8): an update that names an owner is refused, and every field that
                # was set is sent. Remove when the server ignores an owner that is the same.
                form = (await one.form(client)).model_dump(exclude={"owner_resource"})
                kept = AutomationCore(**form | {"enabled": found.enabled})
                await client.update_automation(found.id, kept)
            done.append(change)
        return done


async def _compared(one: Declared, client: PrefectClient) -> tuple[Change, Automation | None]:
    """Return the change, and the first automation of that name; others of the name are somebody's own."""
    named = await client.read_automations_by_name(one.name)
    found = min(named, key=lambda other: str(other.id), default=None)
    if found is None:
        return Change(kind="automation", name=one.name, action=Action.CREATE, details=one.told), None
    try:
        wanted = await one.form(client)
    except NotDeployed as error:
        details = [f"{error.wanted} is not there yet"]
    else:
        details = [f"{part} differs" for part in _COMPARED if getattr(found, part) != getattr(wanted, part)]
    action = Action.CHANGE if details else Action.KEEP
    details += [] if found.enabled else ["disabled, and stays so"]
    return Change(kind="automation", name=one.name, action=action, details=tuple(details)), found

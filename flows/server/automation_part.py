"""Automations of Prefect's server, as one part of what `enginefarm deploy` registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from prefect.client.orchestration import PrefectClient
from prefect.events.schemas.automations import Automation, AutomationCore

from agents.server.changes import Action, Change, Plan
from tasks.domain.errors import NotDeployed

_COMPARED = ("name", "description", "trigger", "actions")


class Declared(Protocol):
    """An automation that is wanted."""

    @property
    def name(self) -> str:
        """How people see it on the server."""

    @property
    def former_name(self) -> str:
        """Its name in earlier versions; empty if it always had this one."""

    @property
    def summary(self) -> tuple[str, ...]:
        """What to show beside its name before it is created."""

    async def to_prefect(self, client: PrefectClient) -> AutomationCore:
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
        return [(await _compared(declared, client))[0] for declared in self._wanted]

    async def apply(self, client: PrefectClient) -> Plan:
        """Create and change what is missing or differs, and return what was done."""
        done = []
        for declared in self._wanted:
            change, existing = await _compared(declared, client)
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


async def _compared(declared: Declared, client: PrefectClient) -> tuple[Change, Automation | None]:
    """Return the change, and the first automation of that name; others of the name are somebody's own."""
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
        details = [f"{error.wanted} is not there yet"]
    else:
        differing = [part for part in _COMPARED if getattr(existing, part) != getattr(wanted, part)]
        details = [f"{part} differs" for part in differing]
    action = Action.CHANGE if details else Action.KEEP
    details += [] if existing.enabled else ["disabled, and stays so"]
    return Change(kind="automation", name=declared.name, action=action, details=tuple(details)), existing

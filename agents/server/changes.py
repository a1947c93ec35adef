"""What `enginefarm deploy` would do, as values: each part first plans its changes, then applies them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from prefect.client.orchestration import PrefectClient


class Action(StrEnum):
    """What happens to an object on the server."""

    CREATE = "create"
    CHANGE = "change"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The change that an object on Prefect's server needs.

    Attributes:
        kind: `pool`, `queue`, `deployment`, `automation` or `variable`.
        name: its name on the server.
        action: what would be done, or was done.
        details: lines for people: what differs, or what an operator changed and keeps.
    """

    kind: str
    name: str
    action: Action
    details: tuple[str, ...] = ()


Plan = Sequence[Change]


class Part(Protocol):
    """A part of the farm that is registered on Prefect's server."""

    async def plan(self, client: PrefectClient) -> Plan:
        """Return what `apply` would do now, without changing anything."""

    async def apply(self, client: PrefectClient) -> Plan:
        """Create what is missing and change what differs; return what was done."""


def is_done(plan: Plan) -> bool:
    """Return whether `plan` changes nothing."""
    return all(change.action is Action.KEEP for change in plan)

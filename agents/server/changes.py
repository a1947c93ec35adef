"""What `enginefarm deploy` would do, as values: each part says it, then does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from prefect.client.orchestration import PrefectClient


class Action(StrEnum):
    """What happens to one thing on the server."""

    CREATE = "create"
    CHANGE = "change"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing on Prefect's server, and what it needs to be as the farm wants it.

    Attributes:
        kind: what it is: `pool`, `queue`, `deployment`, `automation`, `variable`.
        name: how the server calls it.
        action: what would be, or was, done.
        details: for people, one line each: what differs, or what an operator changed and keeps.
    """

    kind: str
    name: str
    action: Action
    details: tuple[str, ...] = ()


Plan = Sequence[Change]


class Part(Protocol):
    """A part of the farm that is registered on Prefect's server."""

    async def plan(self, client: PrefectClient) -> Plan:
        """Return what `apply` would do now. Changes nothing."""

    async def apply(self, client: PrefectClient) -> Plan:
        """Create and change what is missing or differs, and return what was done."""


def is_done(plan: Plan) -> bool:
    """Say whether `plan` leaves everything as it is."""
    return all(change.action is Action.KEEP for change in plan)

"""Everything that `enginefarm deploy` registers, in the order in which it is applied."""

from __future__ import annotations

from collections.abc import Sequence

from agents.server.changes import Part
from agents.server.pools import KnownPools
from flows.server.automations import Automations, Declared, EventStart, watches
from flows.server.deployments import Deployments
from flows.server.variables import Variables
from flows.settings import settings
from tasks.domain.release_place import ReleasePlace


def farm_parts(*, events_of: Sequence[ReleasePlace] = ()) -> tuple[Part, ...]:
    """Return the parts; a part comes after those that it needs.

    Args:
        events_of: places whose releases are built after events on the server.
    """
    events = [EventStart(place=place) for place in dict.fromkeys(events_of)]
    wanted: tuple[Declared, ...] = (*watches(settings().silent_seconds), *events)
    return (KnownPools(), Variables(), Deployments(), Automations(wanted))

"""Everything that `enginefarm deploy` registers, in the order in which it is applied."""

from __future__ import annotations

from agents.changes import Part
from agents.pools import KnownPools
from flows.deployments import Deployments


def farm_parts() -> tuple[Part, ...]:
    """Return the parts; one that needs another comes after it."""
    return (KnownPools(), Deployments())

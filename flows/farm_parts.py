"""Everything that `enginefarm deploy` registers, in the order in which it is applied."""

from __future__ import annotations

from flows.changes import Part
from flows.farm_deployments import CpuPool, Deployments


def farm_parts() -> tuple[Part, ...]:
    """Return the parts; one that needs another comes after it."""
    return (CpuPool(), Deployments())

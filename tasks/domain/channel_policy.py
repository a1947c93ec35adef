"""What a release must have before a channel may point to it. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.domain.candidate import Candidate
from tasks.domain.channel import target_name
from tasks.domain.request import Precision
from tasks.domain.target import EngineTarget

POLICIES_KEY = "channels/policies.json"
"""The one file with the policies of all channels, relative to the store's root."""

POLICIES_SCHEMA = "enginefarm/channel-policies/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a channel demands of a release.

    Attributes:
        complete: every cell of its request has an engine.
        verified: each of these engines passed the comparison with TensorFlow on its own GPU.
        signed: each of them is signed.
    """

    complete: bool = False
    verified: bool = False
    signed: bool = False

    def to_document(self) -> dict[str, bool]:
        """Return it JSON-ready."""
        return {"complete": self.complete, "verified": self.verified, "signed": self.signed}


DEFAULT_POLICIES: Mapping[str, Policy] = {"production": Policy(complete=True, verified=True, signed=True)}
"""The policies of a store without the file. A channel without a policy takes every release."""


def policies_from_document(document: Mapping[str, Any]) -> dict[str, Policy]:
    """Parse `{"schema": …, "channels": {NAME: {"complete": …, "verified": …, "signed": …}}}`.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is something else.
    """
    if document["schema"] != POLICIES_SCHEMA:
        raise ValueError(f"schema {document['schema']!r}")
    return {str(name): _policy(policy) for name, policy in document["channels"].items()}


def _policy(document: Mapping[str, Any]) -> Policy:
    names = Policy().to_document()
    strange = sorted(document.keys() - names.keys())
    if strange or not all(isinstance(value, bool) for value in document.values()):
        raise ValueError(f"a policy has {', '.join(names)}, each true or false, not {dict(document)}")
    return Policy(**document)


Cell = tuple[EngineTarget, Precision]


def lacking(
    policy: Policy, cells: Iterable[Cell], devices: Iterable[str], candidates: Sequence[Candidate]
) -> tuple[str, ...]:
    """Return what `policy` demands and the release lacks, a line for each cell; empty if nothing.

    Args:
        policy: that of the channel.
        cells: of the release's request.
        devices: what the request names and no agent builds: only the cells of its stored engines are known.
        candidates: the engines of the release.
    """
    named = set(devices)
    stored = ((each.target, each.precision) for each in candidates if each.device in named)
    lines = [line for cell in dict.fromkeys((*cells, *stored)) for line in _of_cell(policy, cell, candidates)]
    if policy.complete:
        built = {candidate.device for candidate in candidates}
        lines += [f"{device}: no engine, and no agent builds one" for device in sorted(named - built)]
    if policy != Policy() and not candidates:
        lines.append("the release has no engine at all")
    return tuple(lines)


def _of_cell(policy: Policy, cell: Cell, candidates: Sequence[Candidate]) -> Iterable[str]:
    target, precision = cell
    name = f"{target_name(target)} {precision}"
    engines = [each for each in candidates if (each.target, each.precision) == cell]
    if not engines:
        if policy.complete:
            yield f"{name}: no engine"
        return
    newest = max(engines, key=lambda each: (each.created, each.key))
    if policy.verified and not newest.verified:
        yield f"{name}: {newest.verdict} on its own GPU"
    if policy.signed and newest.signature is None:
        yield f"{name}: not signed"

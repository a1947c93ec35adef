"""Where the gate refuses: what was compared goes to quarantine, with the command that compares it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tasks.domain.cell import CellOptions
from tasks.domain.departure import Departure
from tasks.domain.digest import BlobRef
from tasks.domain.errors import FarmError, GateError
from tasks.domain.quarantine import QuarantineRecord, Subject, quarantine_key
from tasks.domain.record import Verification
from tasks.domain.release import Release
from tasks.domain.target import EngineTarget, ToolchainInfo
from tasks.step import step
from tasks.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A graph or an engine that is held against TensorFlow, on this host's disk.

    Attributes:
        store: URL of the store.
        identity: digest of all that decides it: its conversion key or build key.
        release: the bytes that it was made from.
        opset: ONNX opset of the graph.
        options: what was asked for.
        onnx: the graph.
        weights: its external data; None if it is one file.
        reference: inputs and TensorFlow's outputs.
        actual: where its own outputs are left, once there are any.
        inputs: where the input values came from, for people.
        tools: versions of what took part, by package.
        target: where the engine runs; None for a graph.
        toolchain: what built the engine; None for a graph.
        plan: the engine; None for a graph.
    """

    store: str
    identity: str
    release: Release
    opset: int
    options: CellOptions
    onnx: Path
    weights: Path | None
    reference: Path
    actual: Path
    inputs: str
    tools: Mapping[str, str]
    target: EngineTarget | None = None
    toolchain: ToolchainInfo | None = None
    plan: Path | None = None


@asynccontextmanager
async def quarantining(
    suspect: Suspect, locate: Callable[[GateError], Awaitable[Departure]] | None = None
) -> AsyncIterator[None]:
    """Put `suspect` into quarantine if the gate, inside, refuses it; the error then names the key.

    Args:
        suspect: what is held against TensorFlow.
        locate: what then finds where it departs; None if nothing can.

    Raises:
        GateError: the gate's own; also if the quarantine cannot be written, which it then says.
    """
    try:
        yield
    except GateError as error:
        departure = None if locate is None else await locate(error)
        where = "" if departure is None else f"; {departure}"
        try:
            record = await quarantine(suspect, error, departure)
        except FarmError as failure:
            lost = f"{where}; it could not be put into quarantine: {failure}"
            raise _extended(error, lost, error.fix) from failure
        place = f"{where}; all that was compared lies at {record.key} in {suspect.store}"
        raise _extended(error, place, f"{error.fix}; to see it again: `{record.command}`") from error


@step
async def quarantine(suspect: Suspect, error: GateError, departure: Departure | None) -> QuarantineRecord:
    """Store what was compared and both answers, then the record; return the one that stands."""
    return await asyncio.to_thread(_quarantine, suspect, error, departure)


def _extended(error: GateError, addition: str, fix: str) -> GateError:
    extended = type(error)(wanted=error.wanted, found=error.found + addition, fix=fix)
    extended.verification = error.verification
    return extended


def _quarantine(suspect: Suspect, error: GateError, departure: Departure | None) -> QuarantineRecord:
    store = Store.connect(suspect.store)
    record = replace(_quarantine_record(suspect, error, store), departure=departure)
    key = quarantine_key(record)
    command = f"enginefarm quarantine reproduce {key} --store {suspect.store}"
    return store.commit(replace(record, key=key, command=command), key)


def _quarantine_record(suspect: Suspect, error: GateError, store: Store) -> QuarantineRecord:
    """Return the record, but for its key and command; what it refers to is stored then."""

    def put(path: Path | None) -> BlobRef | None:
        return store.put_blob(path) if path is not None and path.exists() else None

    ref = suspect.release.ref
    return QuarantineRecord(
        key="",
        model=ref.model,
        version=ref.version,
        subject=Subject.GRAPH if suspect.target is None else Subject.ENGINE,
        identity=suspect.identity,
        release=suspect.release,
        opset=suspect.opset,
        options=suspect.options,
        target=suspect.target,
        toolchain=suspect.toolchain,
        onnx=store.put_blob(suspect.onnx),
        weights=put(suspect.weights),
        plan=put(suspect.plan),
        reference=store.put_blob(suspect.reference),
        actual=put(suspect.actual),
        inputs=suspect.inputs,
        error=error.texts(),  # part of the record's key
        exit_code=error.exit_code,
        verification=error.verification if isinstance(error.verification, Verification) else None,
        tools=suspect.tools,
        command="",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )

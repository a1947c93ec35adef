"""If the gate refuses, puts both sides into quarantine, with the command that repeats the comparison."""

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
    """A graph or an engine that is compared with TensorFlow, on this host's disk.

    Attributes:
        store: URL of the store.
        identity: digest of everything that decides it: its conversion key or build key.
        release: the bytes that it was made from.
        opset: ONNX opset of the graph.
        options: what the request asks for.
        onnx: the graph.
        weights: its external data; None if it is one file.
        reference: inputs and TensorFlow's outputs.
        actual: the file for its own outputs, once there are any.
        inputs: where the input values came from.
        tools: versions of the tools that took part, by package.
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
    """Put `suspect` into quarantine if the gate refuses it inside; the error then names the key.

    Args:
        suspect: what is compared with TensorFlow.
        locate: finds where it first differs; None if nothing can.

    Raises:
        GateError: that of the gate; if the quarantine cannot be written, it says so.
    """
    try:
        yield
    except GateError as error:
        departure = None if locate is None else await locate(error)
        where = "" if departure is None else f"; {departure}"
        try:
            record = await quarantine(suspect, error, departure)
        except FarmError as failure:
            lost = f"{where}; writing it to quarantine failed: {failure}"
            raise _extended(error, lost, error.fix) from failure
        place = f"{where}; both sides are stored at {record.key} in {suspect.store}"
        raise _extended(error, place, f"{error.fix}; to reproduce it: `{record.command}`") from error


@step
async def quarantine(suspect: Suspect, error: GateError, departure: Departure | None) -> QuarantineRecord:
    """Store both sides of the comparison, then the record; return the record in the store."""
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
    """Store the blobs and return the record, without its key and command."""

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

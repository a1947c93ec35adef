"""Graphs and engines that did not pass the gate, with everything that reproduces the failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from tasks.domain.cell import CellOptions
from tasks.domain.departure import Departure
from tasks.domain.digest import BlobRef, document_digest
from tasks.domain.gpu_table import device_slug
from tasks.domain.record import Verification
from tasks.domain.release import Release
from tasks.domain.target import EngineTarget, ToolchainInfo
from tasks.domain.text_enum import StrEnum

_SHORT = 12


class Subject(StrEnum):
    """What was compared with TensorFlow."""

    GRAPH = "graph"
    ENGINE = "engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineRecord:
    """A graph or engine that differs from TensorFlow, or that cannot be judged.

    Attributes:
        key: the record's key, relative to the store's root; made from its contents.
        model: name of the model.
        version: name of the release.
        subject: what was compared.
        identity: digest of everything that decides the graph or engine: its conversion key or build key.
        release: the bytes that it was made from.
        opset: ONNX opset of the graph.
        options: what the request asks for; the precision is the graph's own if a graph was compared.
        target: where the engine ran; None for a graph.
        toolchain: what built the engine; None for a graph.
        onnx: the graph.
        weights: its external data; None if it is one file.
        plan: the engine, bare; None for a graph.
        reference: an `.npz` with the inputs, and TensorFlow's outputs for them, at each corner.
        actual: the other side's outputs in the same layout; None if it gave none.
        inputs: where the input values came from.
        error: the error's class, and its texts: wanted, found and fix.
        exit_code: of the error.
        verification: what was measured; None if there was nothing to compare.
        departure: where an engine first differs from its graph, or why that was not found; None for a graph.
        tools: versions of what took part, by package.
        command: the command that repeats the comparison.
        created: when, UTC, ISO 8601.
    """

    ROOT: ClassVar[str] = "quarantine/"

    schema: Literal["enginefarm.quarantine/1"] = "enginefarm.quarantine/1"
    key: str
    model: str
    version: str
    subject: Subject
    identity: str
    release: Release
    opset: int
    options: CellOptions
    target: EngineTarget | None
    toolchain: ToolchainInfo | None
    onnx: BlobRef
    weights: BlobRef | None
    plan: BlobRef | None
    reference: BlobRef
    actual: BlobRef | None
    inputs: str
    error: Mapping[str, str]
    exit_code: int
    verification: Verification | None
    departure: Departure | None = None
    tools: Mapping[str, str]
    command: str
    created: str

    @property
    def device(self) -> str:
        """The device as in requests; `graph` if no engine ran."""
        return "graph" if self.target is None else f"{device_slug(self.target)}/{self.target.version}"


def quarantine_key(record: QuarantineRecord) -> str:
    """Return the key for `record`: the same for the same failure again, another for any other."""
    actual = None if record.actual is None else record.actual.sha256
    digest = document_digest(
        {
            "kind": "quarantine/1",
            "identity": record.identity,
            "actual": actual,
            "error": dict(record.error),
        }
    )
    ref, precision = record.release.ref, record.options.precision
    return f"quarantine/{ref.model}/{ref.version}/{record.device}/{precision}-{digest[:_SHORT]}.json"

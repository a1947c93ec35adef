"""Which cells count as missing, as stale and as answered."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import permutations

from flows.release.missing_cells import ListedRelease, ReleaseNeeds, in_turn, sort_cells
from tasks.domain.priority import Priority
from tasks.domain.quarantine import QuarantineRecord, Subject
from tasks.domain.record import EngineRecord
from tasks.domain.release import ReleaseRef
from tasks.domain.request import Precision
from tasks.tensorflow.models import conversion_tools
from tasks.tensorrt.site import build_tools

_TOOLS = {**conversion_tools(), **build_tools()}


def _refused(record: EngineRecord, tools: dict[str, str]) -> QuarantineRecord:
    return QuarantineRecord(
        key="k", model=record.model, version=record.version, subject=Subject.ENGINE, identity="i",
        release=record.release, opset=17, options=record.options, target=record.target,
        toolchain=record.toolchain, onnx=record.onnx, weights=None, plan=record.plan,
        reference=record.reference, actual=None, inputs="", error={}, exit_code=1, verification=None,
        tools=tools, command="", created="",
    )  # fmt: skip


def test_production_comes_first_then_the_newest() -> None:
    wanted = ["hotfix", "old-hotfix", "today", "yesterday", "last-year"]
    days = {"hotfix": 20, "old-hotfix": 3, "today": 27, "yesterday": 26, "last-year": 1}
    needs = [
        ReleaseNeeds(
            release=ListedRelease(
                ref=ReleaseRef(bucket="abc", model="digits", version=version),
                modified=datetime(2026, 1, day, tzinfo=UTC),
            ),
            priority=Priority.PRODUCTION if "hotfix" in version else Priority.NIGHTLY,
        )
        for version, day in days.items()
    ]
    for order in permutations(needs):
        assert [need.release.ref.version for need in in_turn(order)] == wanted


def test_an_engine_of_todays_tools_answers_its_own_cell_only(engine_record: EngineRecord) -> None:
    cell = engine_record.target, Precision.FP16
    other = engine_record.target, Precision.FP32
    current = replace(engine_record, tools=_TOOLS)
    old = replace(engine_record, tools=_TOOLS | build_tools() | {"enginefarm-build": "older"})
    assert sort_cells([cell], [old, current], []) == ((), ())
    assert sort_cells([cell, other], [old], []) == (("l4/10.13.3.9 fp32",), ("l4/10.13.3.9 fp16",))


def test_what_was_refused_with_todays_tools_is_not_tried_every_night(engine_record: EngineRecord) -> None:
    cell = engine_record.target, Precision.FP16
    refused = _refused(engine_record, _TOOLS)
    assert sort_cells([cell], [], [refused]) == ((), ())
    assert sort_cells([cell], [], [replace(refused, tools={"enginefarm-build": "older"})])[0]
    graph = replace(refused, subject=Subject.GRAPH, target=None, tools=conversion_tools())
    # TensorRT 10 has FP16 from a flag: its graph is FP32.
    assert sort_cells([cell], [], [graph])[0]
    fp32 = replace(graph, options=replace(graph.options, precision=Precision.FP32))
    assert sort_cells([cell], [], [fp32]) == ((), ())

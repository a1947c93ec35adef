"""An order is held against the release, the request and the conversion that it names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tasks.domain.cell import CellOptions
from tasks.domain.compatibility import Compatibility
from tasks.domain.errors import RecordInvalid
from tasks.domain.graph_key import graph_key
from tasks.domain.keys import build_key
from tasks.domain.order import EngineOrder, order_for
from tasks.domain.order_check import check_conversion, check_order
from tasks.domain.record import ConversionRecord
from tasks.domain.release import Release
from tasks.domain.request import BuildRequest, Precision, ShapeRange, TimingMode
from tasks.domain.target import EngineTarget

REQUEST = BuildRequest(samples="samples.npz", tolerances={Precision.FP16: 5e-2}, precisions=(Precision.FP16,))
WIDER = {"x": ShapeRange(min=(1, 8), opt=(4, 8), max=(99, 8))}
TOOLS = {"enginefarm-build": "1"}


def converted(record: ConversionRecord, release: Release, request: BuildRequest) -> ConversionRecord:
    """Return `record` as a conversion of `release` leaves it."""
    key = graph_key(
        release, request, opset=record.opset, precision=record.graph_precision, tools=record.tools
    )
    shapes = {**record.shapes, **request.inputs}
    return replace(record, key=key, release_digest=release.model_digest, shapes=shapes)


@pytest.fixture
def graph(conversion: ConversionRecord, release: Release) -> ConversionRecord:
    return converted(conversion, release, REQUEST)


@pytest.fixture
def order(graph: ConversionRecord, release: Release, target: EngineTarget) -> EngineOrder:
    return order_for(
        store="s3://farm",
        release=release,
        conversion=graph,
        request=REQUEST,
        target=target,
        precision=Precision.FP16,
        build_tools=TOOLS,
    )


def check(order: EngineOrder, graph: ConversionRecord) -> None:
    check_order(order, graph, REQUEST, graph_precision=Precision.FP32, build_tools=TOOLS)


def rekeyed(order: EngineOrder, opset: int = 17, **options: Any) -> EngineOrder:
    """Return `order` with other options and the build key that they make, as a careful attacker would."""
    changed: CellOptions = replace(order.options, **options)
    digest = build_key(
        model_digest=order.release.model_digest,
        opset=opset,
        options=changed,
        tools=order.tools,
        target=order.target,
    )
    return replace(order, options=changed, build_key=digest)


def test_the_order_of_a_release_passes(order: EngineOrder, graph: ConversionRecord) -> None:
    check(order, graph)


def test_shapes_that_the_caller_chose_pass_if_the_order_names_them(
    conversion: ConversionRecord, release: Release, target: EngineTarget
) -> None:
    asked = replace(REQUEST, inputs=WIDER)
    graph = converted(conversion, release, asked)
    parts: dict[str, Any] = {
        "store": "s3://farm",
        "release": release,
        "conversion": graph,
        "request": asked,
        "target": target,
        "precision": Precision.FP16,
        "build_tools": TOOLS,
    }
    check(order_for(**parts, input_overrides=WIDER), graph)
    with pytest.raises(RecordInvalid):
        check(order_for(**parts), graph)


FORGERIES: dict[str, Callable[[EngineOrder], EngineOrder]] = {
    "a tolerance of 1e9": lambda order: rekeyed(order, tolerance=1e9),
    "a slightly larger tolerance": lambda order: rekeyed(order, tolerance=6e-2),
    "native code": lambda order: rekeyed(order, compatibility=Compatibility(version=True)),
    "no share of best classes": lambda order: rekeyed(order, top1=0.0),
    "no samples": lambda order: rekeyed(order, samples=None),
    "other shapes": lambda order: rekeyed(order, shapes=WIDER),
    "another signature": lambda order: rekeyed(order, signature="other"),
    "another opset": lambda order: rekeyed(order, opset=18),
    "a key of its own": lambda order: replace(order, build_key="0" * 64),
    "another tool": lambda order: replace(order, tools={**order.tools, "mine": "1"}),
    "no build tool": lambda order: replace(order, tools={"tensorflow": "2.21.0"}),
    "no timing cache": lambda order: replace(order, timing=TimingMode.NONE),
    "no profile": lambda order: replace(order, profile=False),
    "overrides that nothing asked for": lambda order: replace(order, input_overrides=WIDER),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_an_order_that_its_request_does_not_make_is_refused(
    name: str, order: EngineOrder, graph: ConversionRecord
) -> None:
    with pytest.raises(RecordInvalid) as caught:
        check(FORGERIES[name](order), graph)
    # Such an error would end the lease of the engine for an honest build that waits for it.
    assert not caught.value.about_request


def test_the_conversion_of_another_model_is_refused(
    order: EngineOrder, graph: ConversionRecord, release: Release
) -> None:
    """The attack of the issue: a release's key and name, the graph of another, and any tolerance."""
    files = tuple(replace(file, sha256="9" * 64) for file in release.files)
    other = converted(graph, replace(release, files=files), REQUEST)
    forged = replace(rekeyed(order, tolerance=1e9), conversion=other.key, build_key=order.build_key)
    with pytest.raises(RecordInvalid, match="release digest"):
        check(forged, other)


@pytest.mark.parametrize(
    "change",
    [
        {"release_digest": "9" * 64},
        {"opset": 18},
        {"graph_precision": Precision.FP16},
        {"tools": {"tensorflow": "2.22.0"}},
        {"key": "9" * 64},
    ],
)
def test_a_conversion_whose_contents_do_not_make_its_key_is_refused(
    change: dict[str, Any], graph: ConversionRecord, release: Release
) -> None:
    check_conversion(graph, release, REQUEST, Precision.FP32)
    with pytest.raises(RecordInvalid):
        check_conversion(replace(graph, **change), release, REQUEST, Precision.FP32)


def test_a_conversion_of_another_signature_is_refused(conversion: ConversionRecord, release: Release) -> None:
    asked = replace(REQUEST, signature="serving_default")
    graph = converted(conversion, release, asked)
    check_conversion(graph, release, asked, Precision.FP32)
    with pytest.raises(RecordInvalid, match="signature"):
        check_conversion(replace(graph, signature="other"), release, asked, Precision.FP32)

"""Whether an order is one that its release, its request and its conversion make.

An order arrives as the parameters of a flow run. Nothing in it is taken on trust: options, tools and the
build key are made again, by the code that makes orders, from what the store holds.

No error here is about the request: such an error ends the lease of the engine for all who wait for it, and a
false order may name an engine that others build.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tasks.domain.current import answers_request
from tasks.domain.errors import RecordInvalid, RequestInvalid
from tasks.domain.graph_key import graph_key
from tasks.domain.order import EngineOrder, order_for
from tasks.domain.overrides import Overrides
from tasks.domain.record import ConversionRecord
from tasks.domain.release import Release
from tasks.domain.request import BuildRequest, Precision

_CHECKED = ("conversion", "options", "tools", "timing", "profile", "build_key")


def check_conversion(
    record: ConversionRecord, release: Release, request: BuildRequest, precision: Precision
) -> None:
    """Refuse a conversion that is not of `release` and `request` in `precision`.

    Raises:
        RecordInvalid: its release, signature or precision is another, or its contents do not make its key.
    """
    key = graph_key(release, request, opset=record.opset, precision=precision, tools=record.tools)
    wrong = {
        "release digest": (record.release_digest, release.model_digest),
        "precision": (record.graph_precision, precision),
        "signature": (record.signature, request.signature or record.signature),
        "key": (record.key, key),
    }
    for name, (actual, wanted) in wrong.items():
        if actual != wanted:
            raise RecordInvalid(
                wanted=f"a conversion of {release.ref.url} in {precision} with the {name} {wanted}",
                found=f"the {name} {actual} in the conversion {record.key}",
                fix="run build-release, which converts the release; if it says the same, find out who wrote "
                "the record, since the farm never does",
            )


def check_order(
    order: EngineOrder,
    conversion: ConversionRecord,
    request: BuildRequest,
    *,
    graph_precision: Precision,
    build_tools: Collection[str],
) -> None:
    """Refuse an order that differs from the one that its release and its request make.

    Of the request, an order may override the shapes of inputs, which it names. Target and precision are the
    cell. Tolerances, shares and all else are the request's.

    Args:
        order: the order.
        conversion: the conversion that it names.
        request: the request of its release, without overrides.
        graph_precision: the precision of the graph that the cell is built from.
        build_tools: names of the tools that a build adds to those of the conversion.

    Raises:
        RecordInvalid: the conversion is not of the release, the overrides do not fit the request, or another
            part of the order differs.
    """
    try:
        asked = Overrides(inputs=order.input_overrides).applied_to(request)
    except RequestInvalid as error:
        raise _not_made_from(order.release, error.found) from error
    check_conversion(conversion, order.release, asked, graph_precision)
    added = {name: version for name, version in order.tools.items() if name not in conversion.tools}
    made = _made_again(order, conversion, asked, added)
    differing = [name for name in _CHECKED if getattr(order, name) != getattr(made, name)]
    if added.keys() != set(build_tools):
        differing.append("tools")
    if not answers_request(made.options, order.release, asked):
        differing.append("shapes")
    if differing:
        raise _not_made_from(order.release, f"another value for {', '.join(dict.fromkeys(differing))}")


def _made_again(
    order: EngineOrder, conversion: ConversionRecord, asked: BuildRequest, build_tools: Mapping[str, str]
) -> EngineOrder:
    return order_for(
        store=order.store,
        release=order.release,
        conversion=conversion,
        request=asked,
        target=order.target,
        precision=order.options.precision,
        build_tools=build_tools,
        input_overrides=order.input_overrides,
    )


def _not_made_from(release: Release, problem: str) -> RecordInvalid:
    return RecordInvalid(
        wanted=f"an order of an engine of {release.ref.url} as its build.yaml asks for it",
        found=problem,
        fix="start build-release, which makes orders, and find out who started this run",
    )

"""INT8 and FP8 as Q/DQ pairs in the graph, with ranges and errors measured on the release's samples.

Why not a library, from five graphs, two of them trained third-party models
(`tests/benchmarks/quantisation.py`):

- `onnxruntime.quantization` 1.32 puts pairs around every operation and its output, which TensorRT does not
  fuse; for two of the graphs, basic-pitch and a transformer, TensorRT-RTX then builds no engine. Its entropy
  has 128 bins for 128 levels, so it chooses the same as minmax; it keeps the activations of all rows in
  memory (948 MiB for basic-pitch instead of 410); and it leaves no operation out.
- modelopt 0.47 needs PyTorch, 2 GB and its own environment, and leaves operations out by shape and pattern,
  not by error: of basic-pitch it quantises 2 of 32 operations, 23 % of the multiply-adds, with an error of
  0.03. This module quantises 7 of 32 and 92 %, with 0.09.
- neural-compressor 3.10 no longer supports ONNX.

So the places follow NVIDIA's guidance (`quantise_sites`), onnxruntime runs the graphs, and only the
statistics of values are ours (`quantise_ranges`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, helper

from tasks.children.compare import Arrays
from tasks.children.weights import Scratch
from tasks.domain.errors import RequestInvalid, SamplesInvalid
from tasks.domain.quantisation import Quantisation, warning_of
from tasks.domain.request import Calibration, Precision, ShapeRange
from tasks.onnx.quantise.ranges import Magnitudes, largest_magnitude
from tasks.onnx.quantise.samples import Samples
from tasks.onnx.quantise.search import Ranges, Search, Trials, session
from tasks.onnx.quantise.sites import Site, find_sites
from tasks.onnx.quantise.work import multiply_adds

_TRIED = (Calibration.MINMAX, Calibration.ENTROPY, Calibration.PERCENTILE)
_MOST_NAMES = 3
_Report = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantisationWanted:
    """How to quantise a graph.

    Attributes:
        precision: INT8 or FP8.
        samples: an `.npz` with one array per input, first dimension the batch.
        calibration: how ranges are chosen.
        shapes: the requested shapes by input.
        tolerance: the largest accepted error; if it is exceeded, operations are left out.
    """

    precision: Precision
    samples: Path
    calibration: Calibration
    shapes: Mapping[str, ShapeRange] = field(default_factory=dict)
    tolerance: float


def wanted_from(request: dict[str, Any]) -> QuantisationWanted:
    """Parse the parent's request; see `tasks.onnx.graph`."""
    return QuantisationWanted(
        precision=Precision(request["precision"]),
        samples=Path(request["samples"]),
        calibration=Calibration(request["calibration"]),
        shapes={
            name: ShapeRange(**{corner: tuple(shape) for corner, shape in corners.items()})
            for name, corners in request["shapes"].items()
        },
        tolerance=request["tolerance"],
    )


def quantise(
    model: ModelProto, wanted: QuantisationWanted, room: Scratch, report: _Report
) -> tuple[ModelProto, dict[str, Any]]:
    """Return `model` quantised, and `tasks.domain.quantisation.Quantisation` as JSON.

    Args:
        model: a valid FP32 graph with every type inferred; its folder is the working folder.
        wanted: how to quantise it.
        room: the file for large weights.
        report: takes the current phase.

    Raises:
        RequestInvalid: no operation of the graph can compute in this precision.
        SamplesInvalid: the samples do not fit the graph's inputs, or give no ranges.
    """
    sites, quantisable = find_sites(model, wanted.precision)
    samples = Samples(wanted.samples, model, wanted.shapes)
    calibrations = _TRIED if wanted.calibration is Calibration.AUTO else (wanted.calibration,)
    report("measure ranges", 0.3)
    ranges = _measure(model, sites, samples, calibrations)
    # No range covers an activation with NaN or infinity on the samples.
    finite = {name for name, largest in ranges[calibrations[0]].items() if np.isfinite(largest)}
    measured = tuple(site for site in sites if finite.issuperset(site.activations.values()))
    if not measured:
        raise _without_ranges(wanted, sites, finite) if sites else _nothing(wanted.precision, quantisable)
    sites = measured
    report("measure errors", 0.6)
    work = multiply_adds(model, samples.shapes)
    search = Search(Trials(model, wanted.precision, samples, room), sites, work)
    best = search.best(ranges, wanted.tolerance, report)
    result = Quantisation(
        calibration=best.calibration,
        rows=len(samples.measured),
        quantised=len(best.sites),
        quantisable=quantisable,
        work=sum(work[site.node] for site in best.sites) / max(sum(work.values()), 1),
        errors=best.errors,
        warning=warning_of(samples.rows),
        tool=f"enginefarm, measured by onnxruntime {onnxruntime.__version__}",
    )
    return search.trials.graphs.make(best.sites, ranges[best.calibration]), asdict(result)


def _nothing(precision: Precision, quantisable: int) -> RequestInvalid:
    return RequestInvalid(
        wanted=f"convolutions or matrix products that can compute in {precision}",
        found=f"none of {quantisable} can" if quantisable else "none in the graph",
        fix=f"leave {precision} out of precisions in build.yaml",
    )


def _without_ranges(wanted: QuantisationWanted, sites: Collection[Site], finite: set[str]) -> SamplesInvalid:
    without = sorted({name for site in sites for name in site.activations.values()} - finite)
    return SamplesInvalid(
        wanted=f"finite numbers between the layers on {wanted.samples.name}, to measure ranges on",
        found=f"NaN or infinity in {', '.join(without[:_MOST_NAMES])}, before every layer that "
        f"{wanted.precision} could compute",
        fix="give samples for which the model computes finite numbers",
    )


def _measure(
    model: ModelProto, sites: Collection[Site], samples: Samples, calibrations: Collection[Calibration]
) -> dict[Calibration, Ranges]:
    """Return the range of every activation of `sites`, by calibration."""
    names = sorted({name for site in sites for name in site.activations.values()})
    largest = dict.fromkeys(names, 0.0)
    for values in _values(model, names, samples):
        for name in names:
            largest[name] = float(np.maximum(largest[name], largest_magnitude(values[name])))  # keeps NaN
    counted = {name: Magnitudes(magnitude) for name, magnitude in largest.items() if np.isfinite(magnitude)}
    if set(calibrations) != {Calibration.MINMAX}:
        for values in _values(model, list(counted), samples):
            for name, magnitudes in counted.items():
                magnitudes.add(values[name])
    return {
        calibration: largest | {name: magnitudes.range(calibration) for name, magnitudes in counted.items()}
        for calibration in calibrations
    }


def _values(model: ModelProto, names: list[str], samples: Samples) -> Iterator[Arrays]:
    """Yield the values of `names` on each batch of samples."""
    tapped = ModelProto()
    tapped.CopyFrom(model)
    available = {value.name for value in (*tapped.graph.output, *tapped.graph.input)}
    tapped.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in names if name not in available
    )
    with session(tapped) as running:
        inside = [output.name for output in running.get_outputs() if output.name in set(names)]
        for feeds in samples.batches(samples.measured):
            values = dict(zip(inside, running.run(inside, feeds), strict=True)) if inside else {}
            yield {name: values[name] if name in values else feeds[name] for name in names}

"""Measures an engine on its GPU, in a process of the toolchain's own interpreter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks.children.workspace import Workspace
from tasks.domain.digest import blob_ref
from tasks.domain.profile import Case, Clocks, GpuMemory, Latency, LayerTime, Measured, Profile
from tasks.domain.quiet import GpuState, judge_quiet
from tasks.tensorrt.engine import BuiltEngine, child_program
from tasks.tensorrt.plugins import plugins_document
from tasks.tensorrt.site import BuildSite

PROFILE_FILE = "profile.json"
_MOST_LAYERS = 10
_BEST = "opt"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledEngine:
    """The figures of an engine, or the reason why there are none.

    Attributes:
        profile: the part for the record.
        paths: the profile's files on this host's disk, by name.
    """

    profile: Profile
    paths: Mapping[str, Path] = field(default_factory=dict)

    def with_files(self, paths: Mapping[str, Path]) -> ProfiledEngine:
        """Return the same with more files, whose digests are computed now."""
        refs = {name: blob_ref(path.read_bytes()) for name, path in paths.items()}
        profile = replace(self.profile, files={**self.profile.files, **refs})
        return ProfiledEngine(profile=profile, paths={**self.paths, **paths})


async def profile_engine(
    built: BuiltEngine,
    site: BuildSite,
    reference: Path,
    *,
    work: Workspace,
    most_seconds: float = 120.0,
) -> ProfiledEngine:
    """Measure the plan on the GPU of `site`, with the inputs of `reference`.

    Most engines need two seconds for each of their cases. Cases that did not fit into `most_seconds` (or into
    half of `work.limits.seconds`) are named in the profile's `reason`.

    Raises:
        DigestMismatch: the file is not the plan that was built; TensorRT did not get it.
        ToolchainBroken: TensorRT does not load.
        RunnerMissing: pycuda does not load in the toolchain's interpreter.
        TargetUnavailable: the plan does not run on this GPU with this TensorRT.
        GpuUnavailable: there is no such GPU, or it is out of memory.
        InputInvalid: the engine refuses the inputs.
        RunFailed: it stops with an error.
    """
    request = {
        "module": site.toolchain.flavour.value,
        "plan": built.plan,
        "sha256": built.ref.sha256,
        "size": built.ref.size,
        "reference": reference,
        "gpu_index": site.gpu_index,
        "gpu_uuid": site.gpu_uuid,
        "plugins": plugins_document(built.plugins),
        "carries_code": built.carries_code,
        "most_seconds": min(most_seconds, work.limits.seconds / 2),
    }
    program = child_program(site.toolchain, "profile", site.gpu_index)
    answer = await work.run(program, request)
    everything = work.folder / PROFILE_FILE
    everything.write_text(json.dumps(answer.result, indent=1, sort_keys=True) + "\n", "utf-8")
    profiled = ProfiledEngine(profile=read_profile(answer.result, gpu=built.target.gpu or ""))
    return profiled.with_files({PROFILE_FILE: everything})


def read_profile(document: Mapping[str, Any], *, gpu: str) -> Profile:
    """Return the profile in the child's answer; `gpu` is the model that it ran on."""
    cases = tuple(_read_case(case) for case in document["cases"])
    states = tuple(_read_state(state) for state in document["states"])
    layers = _best_layers(document["cases"])
    left_out = ", ".join(document["left_out"])
    return Profile(
        state=Measured.MEASURED,
        reason=f"there was no time for {left_out}" if left_out else "",
        gpu=gpu,
        tensorrt=document["tensorrt"],
        driver=document["driver"],
        cases=cases,
        layers=layers[:_MOST_LAYERS],
        layer_count=len(layers),
        memory=GpuMemory(**document["memory"]),
        quiet=judge_quiet(states, document["pid"], {case.name: case.drift for case in cases}),
        clocks=_clocks([state for state in states if state.moment == "busy"]),
        seconds=sum(document["seconds"].values()),
    )


def _read_case(document: Mapping[str, Any]) -> Case:
    layers = document["layers"]
    return Case(
        name=document["name"],
        shapes={name: tuple(shape) for name, shape in document["shapes"].items()},
        batch=document["batch"],
        iterations=document["iterations"],
        gpu_ms=Latency(**document["gpu_ms"]),
        wall_ms=Latency(**document["wall_ms"]),
        items_per_second=document["items_per_second"],
        over_bare=document["over_bare"],
        drift=document["drift"],
        steady=document["steady"],
        layers_ms=sum(layer["mean_ms"] for layer in layers) if layers else None,
    )


def _best_layers(cases: list[Mapping[str, Any]]) -> tuple[LayerTime, ...]:
    """Return the layers at the corner that the engine is optimised for, the longest first."""
    best = next(case for case in cases if _BEST in case["name"].split("/"))
    total = sum(layer["mean_ms"] for layer in best["layers"])
    longest = sorted(best["layers"], key=lambda layer: (-layer["mean_ms"], layer["name"]))
    return tuple(
        LayerTime(name=layer["name"], ms=layer["mean_ms"], share=layer["mean_ms"] / total if total else 0.0)
        for layer in longest
    )


def _read_state(document: Mapping[str, Any]) -> GpuState:
    lists = {
        name: None if document[name] is None else tuple(document[name]) for name in ("processes", "throttled")
    }
    return GpuState(**{**document, **lists})


def _clocks(busy: list[GpuState]) -> Clocks:
    temperatures = [state.temperature_c for state in busy if state.temperature_c is not None]
    powers = [state.power_w for state in busy if state.power_w is not None]
    return Clocks(
        sm_mhz=_range([state.sm_mhz for state in busy]),
        memory_mhz=_range([state.memory_mhz for state in busy]),
        temperature_c=max(temperatures, default=None),
        power_w=max(powers, default=None),
        throttled=tuple(sorted({reason for state in busy for reason in state.throttled or ()})),
    )


def _range(values: list[int | None]) -> tuple[int, int] | None:
    readings = [value for value in values if value is not None]
    return (min(readings), max(readings)) if readings else None

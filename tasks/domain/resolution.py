"""Chooses the engine for a host, or explains why there is none. No I/O.

`tasks.domain.resolution_rules` has the rules. Runs on consumers: Python 3.10, the standard library alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tasks.domain.candidate import Candidate, target_document
from tasks.domain.errors import NoEngineFits
from tasks.domain.host import Host, Wanted
from tasks.domain.misfits import FIELDS, Misfit, hardware_row, misfits, version_row
from tasks.domain.request import QUANTISED, Precision
from tasks.domain.resolution_rules import HARDWARE, RULES, VERSIONS, HardwareRow, VersionRow
from tasks.domain.speed import LEAST_GAIN, Ratio, ratio
from tasks.domain.text_enum import StrEnum

_SHOWN = 8


class Mark(StrEnum):
    """What a consumer must know of a choice."""

    SAME_COMPUTE_CAPABILITY = "same_compute_capability"
    HARDWARE_COMPATIBLE = "hardware_compatible"
    VERSION_COMPATIBLE = "version_compatible"
    HOST_CODE = "host_code"
    LEAN_RUNTIME = "lean_runtime"
    TRITON_FLAG = "triton_flag"
    NOT_MEASURED = "not_measured"
    NOT_FASTER = "not_faster"


_LEVELS = {"R13": Mark.SAME_COMPUTE_CAPABILITY, "R12": Mark.HARDWARE_COMPATIBLE}


_COMPATIBLE = {Mark.SAME_COMPUTE_CAPABILITY, Mark.HARDWARE_COMPATIBLE, Mark.VERSION_COMPATIBLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What compatibility costs, by measurements on the GPU and TensorRT that built both engines.

    Attributes:
        slower: by which factor the chosen engine takes longer than `than`.
        than: key of the record of the engine for that GPU and TensorRT alone.
        where: the GPU and the TensorRT.
    """

    slower: Ratio
    than: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The engine for a host.

    Attributes:
        candidate: the engine.
        rules: ids of the rules by which it runs there.
        marks: what to know of it; empty for an engine that was built for this host and verified.
        cost: what its compatibility costs; None if it costs nothing, or that was not measured.
        gain: how much longer the FP16 sibling of a quantised engine takes; None if that was not measured.
    """

    candidate: Candidate
    rules: tuple[str, ...]
    marks: tuple[Mark, ...] = ()
    cost: Cost | None = None
    gain: Ratio | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why an engine does not run on the host.

    Attributes:
        candidate: the engine.
        misfit: the first field that does not fit.
        others: the number of further fields that do not fit.
    """

    candidate: Candidate
    misfit: Misfit
    others: int

    def __str__(self) -> str:
        target, misfit = self.candidate.target, self.misfit
        built = f"{self.candidate.precision} built for {self.candidate.device} / {target.version}"
        return f"{built}: {misfit.field}: wanted {misfit.wanted}, found {misfit.actual}. To fix: {misfit.fix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The answer for a host.

    Attributes:
        host: the host.
        wanted: what it asks for.
        choice: the engine; None if none runs there.
        reasons: why each other engine does not run there, the nearest first.
        passed_over: the engines that run there as well, the next best first.
    """

    host: Host
    wanted: Wanted
    choice: Choice | None
    reasons: tuple[Reason, ...] = ()
    passed_over: tuple[Candidate, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether the choice is an engine for this very GPU and TensorRT, so that looking further is idle."""
        return self.choice is not None and not _COMPATIBLE & set(self.choice.marks)

    def chosen(self) -> Choice:
        """Return the choice.

        Raises:
            NoEngineFits: there is none; the error has the reasons.
        """
        if self.choice is None:
            raise self.refusal()
        return self.choice

    def refusal(self) -> NoEngineFits:
        """Return the error that explains why no engine runs on the host."""
        host, lines = self.host, [str(reason) for reason in self.reasons[:_SHOWN]]
        hidden = len(self.reasons) - _SHOWN
        if hidden > 0:
            lines.append(f"and {hidden} more")
        build = "build the release: `enginefarm submit s3://BUCKET/PREFIX/MODEL/VERSION`"
        fix = self.reasons[0].misfit.fix if self.reasons else build
        return NoEngineFits(
            wanted=f"an engine of {self.wanted} for {host.device} ({host.compute}) with {host.flavour} "
            f"{host.version}, {host.os} {host.architecture}",
            found="\n".join(["none that runs there:", *lines]) if lines else "no engine at all",
            fix=fix,
        )

    def to_document(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        choice = self.choice
        return {
            "wanted": {**asdict(self.wanted), "precisions": [*self.wanted.order]},
            "host": _host_document(self.host),
            "choice": None if choice is None else _choice_document(choice),
            "reasons": [_reason_document(reason) for reason in self.reasons],
            "passed_over": [candidate.key for candidate in self.passed_over],
        }


def resolve(host: Host, wanted: Wanted, candidates: Sequence[Candidate]) -> Resolution:
    """Return the engine among `candidates` that runs best on `host`, or why none runs there.

    Exact versions come before compatible ones, the host's own GPU before compatible plans; among equals, the
    wanted order of precisions decides, then plans that were built for their own target alone, verified ones,
    the nearest TensorRT, and the newest.
    """
    fitting: list[Candidate] = []
    refused: list[tuple[Candidate, tuple[Misfit, ...]]] = []
    for candidate in candidates:
        problems = misfits(host, wanted, candidate)
        if problems:
            refused.append((candidate, problems))
        else:
            fitting.append(candidate)
    ordered = sorted(fitting, key=lambda each: (each.created, each.build_key), reverse=True)
    ordered.sort(key=lambda each: _rank(host, wanted, each))
    return Resolution(
        host=host,
        wanted=wanted,
        choice=_choice(host, ordered[0], candidates) if ordered else None,
        reasons=_reasons(refused),
        passed_over=tuple(ordered[1:]),
    )


def _rank(host: Host, wanted: Wanted, candidate: Candidate) -> tuple[object, ...]:
    version, hardware = _rows(host, candidate)
    built = candidate.target.version
    return (
        VERSIONS.index(version),
        HARDWARE.index(hardware),
        wanted.order.index(candidate.precision),
        not candidate.plain,
        not candidate.verified,
        (-built.major, -built.minor, -built.patch, -built.build),
    )


def _rows(host: Host, candidate: Candidate) -> tuple[VersionRow, HardwareRow]:
    version, hardware = version_row(host, candidate), hardware_row(host, candidate)
    if version is None or hardware is None:
        raise ValueError("only an engine that fits has rules by which it does")
    return version, hardware


def _reasons(refused: Iterable[tuple[Candidate, tuple[Misfit, ...]]]) -> tuple[Reason, ...]:
    reasons = [
        Reason(candidate=candidate, misfit=problems[0], others=len(problems) - 1)
        for candidate, problems in refused
    ]
    return tuple(
        sorted(
            reasons,
            key=lambda each: (each.others, -FIELDS.index(each.misfit.field), each.candidate.key),
        )
    )


def _choice(host: Host, candidate: Candidate, candidates: Sequence[Candidate]) -> Choice:
    version, hardware = _rows(host, candidate)
    rules = dict.fromkeys((hardware.rule, version.rule))
    if version.later or candidate.carries_code:
        rules["R7"] = None
    compatible = version.later or hardware.level is not None
    return Choice(
        candidate=candidate,
        rules=tuple(rules),
        marks=_marks(host, candidate, candidates),
        cost=_cost(candidate, candidates) if compatible else None,
        gain=gain(candidate, candidates),
    )


def _marks(host: Host, candidate: Candidate, candidates: Sequence[Candidate]) -> tuple[Mark, ...]:
    version, hardware = _rows(host, candidate)
    triton = host.triton is not None and (version.later or candidate.carries_code)
    stated = {
        _LEVELS.get(hardware.rule, Mark.HARDWARE_COMPATIBLE): hardware.rule in _LEVELS,
        Mark.VERSION_COMPATIBLE: version.later,
        Mark.HOST_CODE: candidate.carries_code,
        Mark.LEAN_RUNTIME: version.later and not candidate.lean_runtime,
        Mark.TRITON_FLAG: triton,
        Mark.NOT_MEASURED: not candidate.verified,
        Mark.NOT_FASTER: is_not_faster(gain(candidate, candidates)),
    }
    return tuple(mark for mark, holds in stated.items() if holds)


def _cost(candidate: Candidate, candidates: Sequence[Candidate]) -> Cost | None:
    """Return how much slower `candidate` is than an engine that was built for its own target alone."""
    plain = [
        other
        for other in candidates
        if other.plain
        and (other.model, other.version, other.target, other.precision)
        == (candidate.model, candidate.version, candidate.target, candidate.precision)
    ]
    for other in sorted(plain, key=lambda each: each.created, reverse=True):
        slower = ratio(candidate.speed, other.speed)
        if slower is not None:
            where = f"{candidate.device} with {candidate.target.version}"
            return Cost(slower=slower, than=other.key, where=where)
    return None


def gain(candidate: Candidate, candidates: Sequence[Candidate]) -> Ratio | None:
    """Return by which factor the FP16 sibling of a quantised engine takes longer; None if not measured.

    A sibling is an engine of the same release for the same target, and as compatible.
    """
    if candidate.precision not in QUANTISED:
        return None
    siblings = [
        other
        for other in candidates
        if other.precision is Precision.FP16 and _same_but_precision(other, candidate)
    ]
    ratios = (
        ratio(other.speed, candidate.speed)
        for other in sorted(siblings, key=lambda each: each.created, reverse=True)
    )
    return next((value for value in ratios if value is not None), None)


def is_not_faster(gained: Ratio | None) -> bool:
    """Return whether a quantised engine was measured to gain less than `LEAST_GAIN` over its FP16 sibling."""
    return gained is not None and gained.value < LEAST_GAIN


def _same_but_precision(first: Candidate, second: Candidate) -> bool:
    return _form(first) == _form(second)


def _form(candidate: Candidate) -> tuple[object, ...]:
    compatibility = candidate.version_compatible, candidate.lean_runtime, candidate.hardware
    return candidate.model, candidate.version, candidate.target, compatibility, candidate.stripped


def _host_document(host: Host) -> dict[str, Any]:
    return {
        **asdict(host),
        "compute": str(host.compute),
        "version": str(host.version),
        "lean_runtimes": sorted(map(str, host.lean_runtimes)),
        "device": host.device,
    }


def _choice_document(choice: Choice) -> dict[str, Any]:
    cost = choice.cost
    return {
        "engine": choice.candidate.to_document(),
        "rules": [asdict(RULES[rule]) for rule in choice.rules],
        "marks": [*choice.marks],
        "gain": None if choice.gain is None else choice.gain.to_document(),
        "cost": None
        if cost is None
        else {"slower": cost.slower.to_document(), "than": cost.than, "where": cost.where},
    }


def _reason_document(reason: Reason) -> dict[str, Any]:
    candidate = reason.candidate
    return {
        "key": candidate.key,
        "target": target_document(candidate.target),
        "precision": candidate.precision.value,
        "field": reason.misfit.field.value,
        "rule": reason.misfit.rule,
        "wanted": reason.misfit.wanted,
        "found": reason.misfit.actual,
        "fix": reason.misfit.fix,
        "others": reason.others,
    }

"""10,000 drawn hosts and stores: the farm's choice is that of a brute-force search by another program."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tasks.domain.candidate import Candidate
from tasks.domain.compatibility import HardwareLevel
from tasks.domain.host import Host, Wanted
from tasks.domain.request import Precision
from tasks.domain.resolution import resolve
from tasks.domain.target import Flavour
from tests.support.candidates import COMPUTE, H200, L4, L40S, T4, WANTED, engine, host, version

# Another program for the same question: it goes through the rules of the vendor's pages one by one, shares no
# code with the farm's, and compares texts and tuples.

VERSIONS_DRAWN = ("8.5.3.1", "8.6.0.12", "8.6.1.6", "10.13.3.9", "10.16.1.11", "11.4.0.106")
RTX_DRAWN = ("1.6.0.1", "1.7.1.116")
GPUS_DRAWN = (T4, "Orin", "NVIDIA A10", "NVIDIA A10G", L4, L40S, H200)


def oracle_fits(  # noqa: C901, PLR0911, PLR0912 (one question after the other)
    where: Host, wanted: Wanted, each: Candidate
) -> tuple[int, int] | None:
    """Return the ranks of version and GPU, or None."""
    built = [int(part) for part in str(each.target.version).split(".")]
    here = [int(part) for part in str(where.version).split(".")]
    own_compute = float(f"{where.compute.major}.{where.compute.minor}")
    theirs = [float(str(each_capability)) for each_capability in each.target.compute_capabilities]
    if each.precision not in wanted.order or each.stripped:
        return None
    if each.target.os != where.os or each.target.architecture != where.architecture:
        return None
    if (each.precision == "fp8" and own_compute < 8.9) or (
        each.precision in ("bf16", "tf32") and own_compute < 8
    ):
        return None
    if where.cuda == "13.0" and where.driver == "575.57.08":
        return None
    if str(where.flavour) == "tensorrt_rtx":
        same = str(each.target.flavour) == "tensorrt_rtx" and built == here and own_compute in theirs
        if not same or (each.version_compatible and each.lean_runtime and not where.host_code):
            return None
        return 0, 0
    if str(each.target.flavour) != "tensorrt":
        return None
    if each.target.gpu == where.gpu:
        near = 0
    elif each.read_back == "same_compute_capability" and theirs == [own_compute] and own_compute >= 7.5:
        near = 1
    elif (
        each.read_back == "ampere_plus"
        and own_compute >= 8
        and min(theirs) >= 8
        and 8.7 not in (own_compute, *theirs)
    ):
        near = 2
    else:
        return None
    inside = each.version_compatible and each.lean_runtime
    if inside and not where.host_code:
        return None
    if built == here:
        return 0, near
    if not each.version_compatible or here < built or built[:2] < [8, 6] or own_compute < 7:
        return None
    if not inside and str(each.target.version) not in {str(lean) for lean in where.lean_runtimes}:
        return None
    if here[0] == built[0]:
        return 1, near
    return (2, near) if (built[0], here[0]) in ((8, 10), (10, 11)) else None


def oracle(where: Host, wanted: Wanted, engines: Sequence[Candidate]) -> tuple[Candidate | None, set[str]]:
    """Return the best engine by comparing every pair, and the keys of all that run."""
    ranks = {each.key: oracle_fits(where, wanted, each) for each in engines}
    best: Candidate | None = None
    for each in engines:
        if ranks[each.key] is not None and (best is None or oracle_better(wanted, ranks, each, best)):
            best = each
    return best, {key for key, rank in ranks.items() if rank is not None}


def oracle_better(wanted: Wanted, ranks: dict[str, Any], first: Candidate, second: Candidate) -> bool:
    def figures(each: Candidate) -> list[Any]:
        compatible = each.version_compatible or each.hardware != "none"
        newness = [-int(part) for part in str(each.target.version).split(".")]
        unverified = each.verdict != "passed"
        precision = list(wanted.order).index(each.precision)
        return [*ranks[each.key], precision, compatible, unverified, newness]

    if figures(first) != figures(second):
        return figures(first) < figures(second)
    return (first.created, first.build_key) > (second.created, second.build_key)


def draw_engine(draw: random.Random, number: int) -> Candidate:
    rtx = draw.random() < 0.2
    level, read = draw.choice(list(HardwareLevel)), draw.choice([*HardwareLevel, None])
    capabilities = sorted({str(COMPUTE[draw.choice(GPUS_DRAWN)]) for _ in range(draw.randint(1, 3))})
    candidate = engine(
        draw.choice(GPUS_DRAWN),
        draw.choice(RTX_DRAWN if rtx else VERSIONS_DRAWN),
        rtx=" ".join(capabilities) if rtx else "",
        precision=draw.choice(list(Precision)),
        version_compatible=draw.random() < 0.5,
        lean_runtime=draw.random() < 0.6,
        hardware=level,
        read_back=level if draw.random() < 0.7 else read,
        stripped=draw.random() < 0.05,
        verdict=draw.choice(("passed", "not_measured")),
        created=f"2026-11-0{draw.randint(1, 3)}T00:00:00+00:00",
        os=draw.choice(("linux",) * 15 + ("windows",)),
        architecture=draw.choice(("x86_64",) * 15 + ("aarch64",)),
    )
    digest = f"{number:064x}"
    return replace(candidate, build_key=digest, key=candidate.key.replace("a" * 12, f"{number:012x}"))


def draw_host(draw: random.Random) -> Host:
    gpu, rtx = draw.choice(GPUS_DRAWN), draw.random() < 0.2
    return host(
        gpu,
        draw.choice(RTX_DRAWN if rtx else VERSIONS_DRAWN),
        flavour=Flavour.RTX if rtx else Flavour.TENSORRT,
        driver=draw.choice((None, "580.65.06", "580.159.04", "575.57.08")),
        cuda=draw.choice((None, "12.9", "13.0")),
        lean_runtimes=frozenset(map(version, draw.sample(VERSIONS_DRAWN, draw.randint(0, 3)))),
        host_code=draw.random() < 0.6,
    )


def drawn_pairs(count: int) -> Iterator[tuple[Host, Wanted, list[Candidate]]]:
    draw = random.Random(17)  # noqa: S311
    for _ in range(count):
        order = draw.sample(list(Precision), draw.choice((0, 3, 6)))
        engines = [draw_engine(draw, number) for number in range(draw.randint(0, 16))]
        yield draw_host(draw), replace(WANTED, precisions=tuple(order)), engines


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_drawn_hosts_and_stores_get_what_a_brute_force_search_finds(count: int) -> None:
    seen: dict[tuple[str, ...] | None, int] = {}
    for where, wanted, engines in drawn_pairs(count):
        resolution = resolve(where, wanted, engines)
        best, fitting = oracle(where, wanted, engines)
        assert (resolution.choice and resolution.choice.candidate) == best
        assert {reason.candidate.key for reason in resolution.reasons} == {
            each.key for each in engines
        } - fitting
        assert len(resolution.passed_over) == max(len(fitting) - 1, 0)
        way = None if resolution.choice is None else resolution.choice.rules
        seen[way] = seen.get(way, 0) + 1
    assert {rule for way in seen if way for rule in way} == {
        "R1",
        "R3",
        "R4",
        "R7",
        "R12",
        "R13",
        "R16",
        "R17",
    }
    assert 0.2 * count < seen[None] < 0.85 * count

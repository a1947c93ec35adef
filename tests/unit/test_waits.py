"""No test depends on how fast the machine is: it waits for conditions and asserts no times."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# What measures by itself is no test; the stand-in's builds take as long as a test wants.
LEFT_OUT = ("benchmarks", "fuzz", "gpu", "stand_in", "zoo")
# A look at a clock, a pause that holds up a thread, or a deadline in figures.
A_TIME = re.compile(
    r"\b(time\.(monotonic|perf_counter|time|sleep)\(|(timeout|timeout_seconds)=[\d.]+|wait\([1-9][\d.]*\))"
)
ALLOWED = {
    "support/waiting.py": "the one place that waits",
    "support/children/stand_in.py": "a child that hangs, or leaves its parent time to look",
    "support/store/lease_holder.py": "waits for its test, in a process of its own",
    "support/farm/s3_world.py": "a call within a wait",
    "support/farm/written.py": "SQLite's patience with a server that writes",
    "conftest.py": "a call within a wait",
    "assets/convert_functions.py": "tells how long each took, and nothing asserts it",
    "e2e/conftest.py": "ends before pytest's time-out, which does not say what the command printed",
    "e2e/test_demo.py": "as above",
    "farm/test_agents.py": "time for the other agent to do wrong",
    "farm/test_operators.py": "then it is killed",
    "farm/test_outages.py": "how long a server is away",
    "flows/test_run_page.py": "load makes longer what must not be short",
    "unit/agents/test_health.py": "what must not be answered",
}


def times_in(code: str) -> list[str]:
    """Return the times that `code` depends on, without those in programs that it holds as text."""
    without_programs = re.sub(r'"""\n?(import|from) .*?"""', "", code, flags=re.DOTALL)
    return [match[0] for match in A_TIME.finditer(without_programs)]


def test_no_test_waits_or_asserts_by_the_clock() -> None:
    files = {str(path.relative_to(TESTS)): path for path in TESTS.rglob("*.py") if path != Path(__file__)}
    looked_at = files.keys() - ALLOWED.keys() - {name for name in files if name.startswith(LEFT_OUT)}
    by_file = {name: times_in(files[name].read_text("utf-8")) for name in sorted(looked_at)}
    assert {name: times for name, times in by_file.items() if times} == {}
    assert files.keys() >= ALLOWED.keys()


@pytest.mark.parametrize(
    "code", ["time.sleep(1)", "started = time.monotonic()", "process.wait(30)", "run(command, timeout=60)"]
)
def test_the_check_of_waits_sees_a_time(code: str) -> None:
    assert len(times_in(code)) == 1

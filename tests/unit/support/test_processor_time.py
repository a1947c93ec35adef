from __future__ import annotations

import subprocess
import sys

from tests.support.processor_time import processor_seconds

SECONDS = 0.3
BUSY = f"""
import time
while time.process_time() < {SECONDS}: pass
print(flush=True)
input()
"""


def test_processor_time_includes_children_that_live_and_children_that_ended() -> None:
    before = processor_seconds()
    child = subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    while_it_lives = processor_seconds()
    child.communicate(b"\n")
    assert while_it_lives - before >= SECONDS - 0.05  # of /proc's clock, which ticks every 0.01 s
    assert processor_seconds() >= while_it_lives

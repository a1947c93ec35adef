"""A signal ends a command although its threads wait for S3."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tasks.domain.errors import Interrupted
from tests.support.store.slow_s3 import slow_s3
from tests.support.waiting import wait_until

PROGRAM = str(Path(sys.executable).with_name("enginefarm"))


def test_sigterm_ends_a_listing_whose_records_never_come(start: Callable[..., subprocess.Popen[str]]) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    with slow_s3() as server:
        process = start(
            [PROGRAM, "engines", "list", "--store", "s3://slow"], AWS_ENDPOINT_URL=server.url, **keys
        )
        wait_until(server.asked.is_set)
        process.send_signal(signal.SIGTERM)
        output, problems = process.communicate()  # each of the records would take hours
    assert (process.returncode, output) == (Interrupted.exit_code, "")
    assert "a signal to stop" in problems

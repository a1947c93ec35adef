"""The process of one flow run on an agent: Prefect's engine, ending with its worker or soon after SIGTERM.

Started as `python -m agents.worker.flow_process`.
"""

from __future__ import annotations

import os
import runpy
from datetime import timedelta

from agents.processes import die_with_parent, end_soon_after_sigterm
from agents.server.clock import SKEW, send_heartbeats_in_server_time
from agents.server.no_results import load_no_results

_GRACE_SECONDS = 4.0
"""By then, a cancelled run has released its lease. Its builds end with it, within 5 s."""

if __name__ == "__main__":
    die_with_parent()
    load_no_results()
    send_heartbeats_in_server_time(timedelta(seconds=float(os.environ.get(SKEW, "0"))))
    end_soon_after_sigterm(_GRACE_SECONDS)
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)

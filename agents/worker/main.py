"""The process of one worker on an agent: it ends with the agent.

Started as `python -m agents.worker.main JSON`, with a `WorkerOrder`.
"""

from __future__ import annotations

import os
import sys

from agents.processes import die_with_parent

RETRIES = "PREFECT_CLIENT_MAX_RETRIES"


def main() -> int:
    """Take runs until told to end; return why, as `agents.worker.worker` says."""
    die_with_parent()
    # For runs: they have work to lose.
    # Workaround (Prefect 3.8.8): a worker with as many retries sleeps for minutes after its server has come
    # back. Remove when the pause between two retries has a limit.
    retries = os.environ.pop(RETRIES, None)
    # Takes seconds, and reads Prefect's settings.
    from agents.worker.worker import read_order, serve  # noqa: PLC0415

    return serve(read_order(sys.argv[1]), run_environment={} if retries is None else {RETRIES: retries})


if __name__ == "__main__":
    sys.exit(main())

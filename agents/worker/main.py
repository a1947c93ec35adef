"""The process of one worker of an agent. It ends with the agent.

Started as `python -m agents.worker.main JSON`, with a `WorkerOrder`.
"""

from __future__ import annotations

import os
import sys

from agents.processes import die_with_parent

RETRIES = "PREFECT_CLIENT_MAX_RETRIES"


def main() -> int:
    """Take runs until asked to stop; return the status of `agents.worker.worker.serve`."""
    die_with_parent()
    # The retries are for runs, which have work to lose.
    # Workaround (Prefect 3.8.8): a worker with as many retries still sleeps for minutes after its server is
    # back. Remove when the pause between two retries has a limit.
    retries = os.environ.pop(RETRIES, None)
    # The import takes seconds, and reads Prefect's settings.
    from agents.worker.worker import read_order, serve  # noqa: PLC0415

    return serve(read_order(sys.argv[1]), run_environment={} if retries is None else {RETRIES: retries})


if __name__ == "__main__":
    sys.exit(main())

"""An S3 server for the demo: moto's, as a child process on a free loopback port, in memory.

Run as a module it is the child: it prints its URL and serves until its parent ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.domain.errors import StoreUnreachable

_PR_SET_PDEATHSIG = 1
_END_SECONDS = 5


@contextmanager
def embedded_s3() -> Iterator[str]:
    """Start the server and give its URL; it is gone afterwards, with all that it held.

    Raises:
        StoreUnreachable: it did not start.
    """
    # In a process group of its own: Ctrl-C must reach it only after the work that uses it has ended.
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "flows.local.s3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            if not url:
                raise StoreUnreachable(
                    wanted="the demo's own S3 server",
                    found="it ended before it served",
                    fix="run `python -m flows.local.s3` to see why",
                )
            yield url
        finally:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def environment_for(endpoint: str) -> dict[str, str]:
    """Return the variables that lead boto3 to `endpoint`, past the user's own S3 and proxy."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",  # opens nothing but the server above
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        # A proxy is for other hosts than this one.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def serve() -> None:
    """Serve S3 on the loopback until the parent ends."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 (takes a second, and only the child needs it)

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(f"http://{host}:{port}", flush=True)  # noqa: T201 (the parent reads it)
    signal.pause()


if __name__ == "__main__":
    serve()

"""`enginefarm demo`: builds a trained model's engines on one machine, with an embedded S3 server."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from agents.hardware.probe import probe_host
from flows.cli.display import ERROR_LEGEND, engine_table
from flows.cli.engines import names_of, read_all
from flows.local.s3 import embedded_s3, environment_for
from flows.settings import settings
from tasks.domain.gpu_table import device_slug
from tasks.domain.record import EngineRecord
from tasks.domain.release import REQUEST_FILE, ReleaseRef
from tasks.domain.request import BuildRequest
from tasks.domain.target import EngineTarget, Flavour
from tasks.store.publishing import publish_release
from tasks.store.request_file import parse_request, render_request
from tasks.store.s3 import s3_client

_FILES = Path(__file__).parents[1] / "demo_release"
_PUBLISHED = ("model.keras", "samples.npz")
RELEASE = ReleaseRef(bucket="enginefarm-demo", prefix="models", model="digits", version="1")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOutcome:
    """What the demo did.

    Attributes:
        engines: every engine that it built.
        names: their short names, by key.
        found: how many engines the second run found.
        built: how many engines the second run built.
        seconds: wall time of the second run.
    """

    engines: tuple[EngineRecord, ...]
    names: Mapping[str, str]
    found: int
    built: int
    seconds: float


@contextmanager
def demo_world() -> Iterator[None]:
    """Give this process an S3 server and a Prefect home of its own; nothing of the user's is touched."""
    home = tempfile.mkdtemp(prefix="enginefarm-demo-")
    try:
        for name in [name for name in os.environ if name.startswith(("AWS_", "PREFECT_"))]:
            del os.environ[name]
        with embedded_s3() as endpoint:
            os.environ |= environment_for(endpoint)
            os.environ |= {"PREFECT_HOME": home, "ENGINEFARM_STORE": f"s3://{RELEASE.bucket}"}
            yield
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def run_demo() -> DemoOutcome:
    """Publish the release, build all its cells, and then build the same release again."""
    # Prefect reads its settings when it is imported: the demo's own must be set before.
    from flows.build_release import build_release  # noqa: PLC0415

    await publish_demo()
    first = await build_release(RELEASE)
    started = time.monotonic()
    second = await build_release(RELEASE)
    seconds = time.monotonic() - started
    built = sum(cell.built for cell in second.cells)
    return DemoOutcome(
        engines=tuple(read_all(first)),
        names=names_of(first),
        found=len(second.cells) - built,
        built=built,
        seconds=seconds,
    )


async def publish_demo() -> None:
    """Upload the release as a user would, with the request last."""
    client = s3_client()
    client.create_bucket(Bucket=RELEASE.bucket)
    with tempfile.TemporaryDirectory(prefix="enginefarm-demo-") as folder:
        release = Path(folder)
        for name in _PUBLISHED:
            shutil.copy(_FILES / name, release)
        with settings().workspace() as work:
            host = await probe_host(settings().interpreters, work=work)
        request = _with_gpu(parse_request((_FILES / REQUEST_FILE).read_text("utf-8")), host.targets())
        (release / REQUEST_FILE).write_text(render_request(request), "utf-8")
        publish_release(client, RELEASE, release)


def _with_gpu(request: BuildRequest, targets: tuple[EngineTarget, ...]) -> BuildRequest:
    """Add this machine's GPUs to the request, if it has any and a TensorRT for them."""
    devices = {device_slug(target) for target in targets if target.flavour is Flavour.TENSORRT}
    return replace(request, targets=(*request.targets, *sorted(devices)))


def show_demo(console: Console, outcome: DemoOutcome) -> None:
    """Print what the demo did, for people."""
    console.print(engine_table(outcome.engines, title="Engines", names=outcome.names))
    console.print(ERROR_LEGEND)
    again = f"{outcome.found} found, {outcome.built} built, in {outcome.seconds:.1f} s"
    console.print(f"The same release again: {again}.")

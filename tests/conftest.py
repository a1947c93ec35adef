"""S3 for every test that needs it: a server on the loopback, and an environment that leads there."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from flows.local.s3 import embedded_s3
from flows.server.environment import prepare_prefect
from tasks.domain.record import (
    ConversionRecord,
    EngineRecord,
)
from tasks.store.records import engine_record_from_json
from tasks.store.s3 import s3_client
from tests.stand_in.toolchain import StandIn, write_toolchain
from tests.support.prefect_home import migrated_home
from tests.support.processor_time import ProcessorTime, add_processor_time
from tests.support.slow import slow_run
from tests.support.waiting import wait_until
from tests.support.workers import made_once

prepare_prefect()  # before anything imports Prefect, as the command line does
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Images and CI often forbid Python to keep what it compiles: hundreds of processes would compile it again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_RECORD = Path(__file__).parent / "assets" / "engine-record.json"
_BUILDER = Path(__file__).parent / "assets" / "build_tensorflow_models.py"
_END_SECONDS = 10.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--radosgw", action="store_true", help="also hold the store against a real Ceph radosgw")
    parser.addoption("--farm", action="store_true", help="also kill and cut off what a farm consists of")
    parser.addoption("--long", action="store_true", help="also run what shorter tests show most of")
    parser.addoption("--big", action="store_true", help="also convert and build a model of more than 2 GiB")
    parser.addoption("--browser", action="store_true", help="also use Prefect's UI in chromium")
    parser.addoption("--zoo", metavar="DIR", type=Path, help="also take all of tests/zoo through the farm")
    add_processor_time(parser)


def pytest_configure(config: pytest.Config) -> None:
    if rows := config.getoption("--processor-time"):
        config.pluginmanager.register(ProcessorTime(rows))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two for folders, since most tests wait for processes; none for files: they start at once."""
    return 2 if any(Path(argument).is_dir() for argument in config.args) else 0


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what takes long before its fixtures, which take long themselves."""
    if item.get_closest_marker("killing") and not item.config.getoption("--farm"):
        pytest.skip("give --farm to kill and cut off what a farm consists of")
    if item.get_closest_marker("long") and not item.config.getoption("--long"):
        pytest.skip("give --long for this, too: shorter tests show most of it")
    if item.get_closest_marker("slow") and not slow_run(item.config):
        pytest.skip("give --long for this, too: CI always runs it")


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A function that returns a loopback port on which nothing listens."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 (always http://127.0.0.1)
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False


def _wait_until_it_answers(
    command: Sequence[str], process: subprocess.Popen[bytes], url: str, log: Path
) -> None:
    def output() -> str:
        return f"{command} at {url}:\n{log.read_text('utf-8', 'replace')[-2000:]}"

    def is_there() -> bool:
        if process.poll() is not None:
            pytest.fail(f"status {process.returncode} of {output()}")
        return _answers(url)

    wait_until(is_there, output)


@pytest.fixture(scope="session")
def http_child(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[str]]:
    """A context manager that runs a command as a child until it answers HTTP, and ends it afterwards."""

    @contextlib.contextmanager
    def run(command: Sequence[str], port: int, **environment: str) -> Iterator[str]:
        url = f"http://127.0.0.1:{port}"
        folder = tmp_path_factory.mktemp("server")
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=folder, env=os.environ | environment
            )
        try:
            _wait_until_it_answers(command, process, url, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    return run


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint URL of an S3 server that lives as long as the test session."""
    with embedded_s3() as url:
        yield url


@pytest.fixture
def use_endpoint(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that leads all S3 calls of this test to one endpoint, with keys that open nothing else."""

    def use(
        url: str,
        access_key: str = "test",
        secret_key: str = "test",  # noqa: S107 (opens nothing)
    ) -> None:
        for name in list(os.environ):
            if name.startswith("AWS_") or name.lower() in {"http_proxy", "https_proxy", "all_proxy"}:
                monkeypatch.delenv(name)
        # The same for each test: `s3_client` makes a client, which takes long, once for each environment.
        for name, value in {
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }.items():
            monkeypatch.setenv(name, value)

    return use


@pytest.fixture
def new_bucket() -> Callable[[], str]:
    """A function that makes an empty bucket at the current endpoint and returns its name."""

    def make() -> str:
        bucket = f"farm-{uuid.uuid4().hex[:12]}"
        s3_client().create_bucket(Bucket=bucket)
        return bucket

    return make


@pytest.fixture
def s3_env(s3_server: str, use_endpoint: Callable[[str], None], new_bucket: Callable[[], str]) -> str:
    """The name of a fresh bucket on `s3_server`, to which the environment leads."""
    use_endpoint(s3_server)
    return new_bucket()


@pytest.fixture
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., StandIn]:
    """A function that writes a toolchain for a GPU that is not there; see `write_toolchain`."""

    def make(**what: Any) -> StandIn:
        return write_toolchain(tmp_path_factory.mktemp("toolchain") / "stand-in", **what)

    return make


@pytest.fixture(scope="session")
def engine_record() -> EngineRecord:
    """A record as a build on a GPU writes it; the file also shows that older records stay readable."""
    return engine_record_from_json(_RECORD.read_bytes())


@pytest.fixture(scope="session")
def conversion_record(engine_record: EngineRecord) -> ConversionRecord:
    """A record as a conversion writes it."""
    return ConversionRecord(
        key="0f" * 32,
        release_digest="ab" * 32,
        signature="serving_default",
        opset=17,
        graph_precision=engine_record.options.precision,
        onnx=engine_record.onnx,
        reference=engine_record.reference,
        inputs=engine_record.inputs,
        outputs=engine_record.outputs,
        shapes=engine_record.options.shapes,
        derived_shapes=("x",),
        verification=engine_record.graph_verification,
        seconds={"convert": 2.0},
        peak_mib=100.0,
        tools={"tf2onnx": "1.17.0"},
    )


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with every model of `tests/assets/build_tensorflow_models.py`; not to be changed."""

    def build(folder: Path) -> None:
        done = subprocess.run(
            [sys.executable, _BUILDER, folder],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        assert done.returncode == 0, done.stderr[-3000:]

    return made_once(tmp_path_factory, "models", build)


@pytest.fixture(scope="session")
def prefect_server(free_port: Callable[[], int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API URL of a temporary Prefect server with a database of its own."""
    # Not at the top: importing Prefect takes seconds, and most tests go without.
    from tests.support.prefect_server import Server, serving  # noqa: PLC0415

    # A test of schedules plans runs itself.
    home = migrated_home(tmp_path_factory, tmp_path_factory.mktemp("prefect"))
    server = Server(folder=home, port=free_port(), without=("SCHEDULER",))
    with serving(server) as url:
        yield url

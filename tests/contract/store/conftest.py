"""The servers that the store is held against: every test that uses `store` runs once on each."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.domain.release import ReleaseRef
from tasks.store.s3 import s3_client
from tasks.store.store import Store
from tests.support.releases import Upload
from tests.support.workers import alone

_HERE = Path(__file__).parent
_SUPPORT = _HERE.parents[1] / "support/store"
_MINISTACK = _HERE / "ministack-requirements.txt"
_RADOSGW_KEY = "farm"
_RADOSGW_PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")

ServerStart = Callable[..., AbstractContextManager[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running S3 server.

    Attributes:
        name: which software it is.
        url: its endpoint.
        key: an access key that it accepts, and the secret key, too.
        checks_keys: whether it refuses others.
    """

    name: str
    url: str
    key: str = "test"
    checks_keys: bool = False


def _ministack_interpreter(config: pytest.Config) -> Path:
    """Return the interpreter of an environment with ministack, which is made once and kept."""
    digest = hashlib.sha256(_MINISTACK.read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = config.cache.mkdir("ministack") / digest
    with alone(home.with_suffix(".lock")):
        if not (home / "complete").exists():
            _install_ministack(home)
            (home / "complete").touch()
    return home / "bin" / "python"


def _install_ministack(home: Path) -> None:
    interpreter = str(home / "bin" / "python")
    install = ["--require-hashes", "-r", str(_MINISTACK)]
    if uv := shutil.which("uv"):
        commands = [
            [uv, "venv", "--clear", "--python", sys.executable, str(home)],
            [uv, "pip", "install", "--python", interpreter, *install],
        ]
    else:
        commands = [
            [sys.executable, "-m", "venv", "--clear", str(home)],
            [interpreter, "-m", "pip", "install", *install],
        ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = f"ministack cannot be installed: {' '.join(command)}: {done.stderr.strip()[-1000:]}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)


@pytest.fixture(scope="session")
def ministack(
    pytestconfig: pytest.Config, http_child: ServerStart, free_port: Callable[[], int]
) -> Iterator[Server]:
    port = free_port()
    command = [str(_ministack_interpreter(pytestconfig)), "-m", "ministack"]
    environment = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1"}
    with http_child(command, port, **environment) as url:
        yield Server(name="ministack", url=url)


@pytest.fixture(scope="session")
def radosgw(
    pytestconfig: pytest.Config, http_child: ServerStart, free_port: Callable[[], int]
) -> Iterator[Server]:
    if not pytestconfig.getoption("--radosgw"):
        pytest.skip("give --radosgw to hold the store against a real Ceph radosgw")
    missing = [name for name in _RADOSGW_PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.fail(f"{', '.join(missing)}: install ceph-mon, ceph-osd, ceph-common and radosgw")
    port = free_port()
    # Ceph's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="ceph-") as folder:
        command = [sys.executable, str(_SUPPORT / "radosgw.py"), str(port), folder, _RADOSGW_KEY]
        with http_child(command, port) as url:
            yield Server(name="radosgw", url=url, key=_RADOSGW_KEY, checks_keys=True)


@pytest.fixture(
    scope="session", params=["moto", pytest.param("ministack", marks=pytest.mark.slow), "radosgw"]
)
def server(request: pytest.FixtureRequest) -> Server:
    if request.param == "moto":
        return Server(name="moto", url=request.getfixturevalue("s3_server"))
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def store(server: Server, use_endpoint: Callable[..., None], new_bucket: Callable[[], str]) -> Store:
    """An empty store with a prefix, on each of the servers; the environment leads there."""
    use_endpoint(server.url, server.key, server.key)
    return Store.connect(f"s3://{new_bucket()}/some/prefix")


@pytest.fixture(scope="session")
def faulty_server(http_child: ServerStart, free_port: Callable[[], int]) -> Iterator[str]:
    port = free_port()
    with http_child([sys.executable, str(_SUPPORT / "faulty_s3.py"), str(port)], port) as url:
        yield url


@pytest.fixture
def faulty_store(faulty_server: str, use_endpoint: Callable[..., None]) -> Callable[[str], Store]:
    """A function that returns an empty store in which a named thing goes wrong; see `faulty_s3.py`."""
    use_endpoint(faulty_server)

    def make(fault: str) -> Store:
        bucket = f"{fault}-{uuid.uuid4().hex[:12]}"
        s3_client().create_bucket(Bucket=bucket)
        return Store.connect(f"s3://{bucket}")

    return make


@pytest.fixture
def overwrite() -> Callable[[Store, str, bytes | None], None]:
    """A function that changes or (None) deletes an object behind the store's back."""

    def change(store: Store, key: str, data: bytes | None) -> None:
        client, full = s3_client(), f"{store.prefix}/{key}" if store.prefix else key
        if data is None:
            client.delete_object(Bucket=store.bucket, Key=full)
        else:
            client.put_object(Bucket=store.bucket, Key=full, Body=data)

    return change


@pytest.fixture
def ref(store: Store) -> ReleaseRef:
    return ReleaseRef(bucket=store.bucket, prefix="team/models", model="resnet", version="v7")


@pytest.fixture
def upload(store: Store, ref: ReleaseRef) -> Upload:
    """A function that puts an object into the release as any S3 client could."""

    def put(path: str, data: bytes) -> None:
        store.client.put_object(Bucket=ref.bucket, Key=ref.key + path, Body=data)

    return put

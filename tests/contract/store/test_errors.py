"""What goes wrong with a server comes as the farm's own errors, soon."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasks.domain.digest import blob_ref
from tasks.domain.errors import (
    FarmError,
    NotStored,
    RequestInvalid,
    StoreDenied,
    StoreUnreachable,
    StoreUnsafe,
)
from tasks.domain.record import EngineRecord
from tasks.domain.release import ReleaseRef
from tasks.store.lease import Lease
from tasks.store.publishing import publish_release
from tasks.store.releases import fetch_release, read_request_file
from tasks.store.store import Store

_SOON = 15.0


def _calls(store: Store, record: EngineRecord, folder: Path) -> Iterator[Callable[[], object]]:
    """Yield one call of each kind that reaches the server."""
    ref = ReleaseRef(bucket=store.bucket, prefix="", model="m", version="v")
    release = folder / "release"
    release.mkdir()
    for name in ("model.h5", "build.yaml"):
        (release / name).touch()
    yield store.check_conditional_writes
    yield lambda: store.put_blob(release / "model.h5")
    yield lambda: store.get_blob(blob_ref(b"x"), folder / "blob")
    yield lambda: store.commit(record, record.key)
    yield lambda: store.find(record.key, EngineRecord)
    yield lambda: list(store.records(EngineRecord))
    yield lambda: read_request_file(store.client, ref)
    yield lambda: fetch_release(store.client, ref, folder / "fetched")
    yield lambda: publish_release(store.client, ref, release)


def test_wrong_keys_are_refused(
    server: Any, store: Store, use_endpoint: Callable[..., None], engine_record: EngineRecord, tmp_path: Path
) -> None:
    if not server.checks_keys:
        pytest.skip("this server takes every key")
    use_endpoint(server.url, "farm", "wrong")
    for call in _calls(Store.connect(store.url), engine_record, tmp_path):
        with pytest.raises(StoreDenied):
            call()


@pytest.mark.usefixtures("store")
def test_a_bucket_that_is_not_there_is_named(engine_record: EngineRecord, tmp_path: Path) -> None:
    nowhere = Store.connect("s3://no-such-bucket-here/prefix")
    for call in _calls(nowhere, engine_record, tmp_path):
        with pytest.raises(NotStored, match="no-such-bucket-here"):
            call()


@pytest.mark.parametrize(("fault", "error"), [("denied", StoreDenied), ("busy", StoreUnreachable)])
def test_refusals_and_overload_are_told_apart(
    faulty_store: Callable[[str], Store], engine_record: EngineRecord, fault: str, error: type[FarmError]
) -> None:
    store = faulty_store(fault)
    for call in (
        store.check_conditional_writes,
        lambda: store.has_blob(engine_record.plan),
        lambda: store.find(engine_record.key, EngineRecord),
    ):
        with pytest.raises(error, match=store.bucket):
            call()


def test_an_answer_that_lacks_what_s3_always_sends_is_no_key_error(
    faulty_store: Callable[[str], Store], engine_record: EngineRecord, tmp_path: Path
) -> None:
    store = faulty_store("bare")
    ref = blob_ref(b"x")
    for key in (engine_record.key, ref.key, f"leases/{engine_record.key}"):
        store.client.put_object(Bucket=store.bucket, Key=store.address(key).key, Body=b"x")
    for call in (
        lambda: store.find(engine_record.key, EngineRecord),
        lambda: store.get_blob(ref, tmp_path / "blob"),
        lambda: Lease(store=store, key=engine_record.key).take(),
    ):
        with pytest.raises(StoreUnsafe, match="an answer without it"):
            call()


def test_without_credentials_the_error_says_so(
    s3_env: str, monkeypatch: pytest.MonkeyPatch, engine_record: EngineRecord, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for call in _calls(Store.connect(f"s3://{s3_env}"), engine_record, tmp_path):
        with pytest.raises(StoreDenied, match="AWS_ACCESS_KEY_ID"):
            call()


def test_a_server_that_is_not_there_is_given_up_soon(
    use_endpoint: Callable[..., None], free_port: Callable[[], int], engine_record: EngineRecord
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    use_endpoint(url)
    store = Store.connect("s3://models")
    with pytest.raises(StoreUnreachable, match=url) as caught:
        store.find(engine_record.key, EngineRecord)
    assert caught.value.retryable


@pytest.mark.slow
def test_a_server_that_swallows_connections_is_given_up_soon(
    use_endpoint: Callable[..., None], engine_record: EngineRecord
) -> None:
    with closing(socket.socket()) as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        # With its queue full the kernel answers no further connection, as a firewall would.
        waiting = [socket.socket() for _ in range(3)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(deaf.getsockname())
        use_endpoint(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        store = Store.connect("s3://models")
        with pytest.raises(StoreUnreachable, match="timeout"):
            store.find(engine_record.key, EngineRecord)
        config: Any = store.client.meta.config
        assert config.connect_timeout * config.retries["total_max_attempts"] <= _SOON
        for connection in waiting:
            connection.close()


@pytest.mark.parametrize("url", ["nonsense", "http://", "http://[::1"])
def test_an_endpoint_that_is_no_url_is_refused(use_endpoint: Callable[..., None], url: str) -> None:
    use_endpoint(url)
    with pytest.raises(RequestInvalid, match="AWS_ENDPOINT_URL"):
        Store.connect("s3://models")

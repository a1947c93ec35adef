"""A server that sends a byte now and then keeps nobody waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.domain.errors import RecordInvalid, StoreUnreachable
from tasks.store import stalls
from tasks.store.lease import Lease
from tasks.store.listing import pages
from tasks.store.s3 import s3_client
from tasks.store.store import Store
from tasks.store.timing import find_timing
from tasks.store.transfer import Address, download, put_if_absent, read_small, stored_size
from tests.support.store.slow_s3 import SIZE, slow_s3
from tests.support.waiting import PATIENCE, wait_until

ADDRESS = Address(bucket="slow", key="engine.plan")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stalls, "WINDOW_SECONDS", 0.3)
    monkeypatch.setattr(stalls, "_SWEEP_SECONDS", 0.05)


def test_a_download_that_stalls_is_ended_with_a_typed_error(
    use_endpoint: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalls, "WINDOW_SECONDS", 1.0)  # the header must come in time on a busy machine, too
    with slow_s3() as server:
        use_endpoint(server.url)
        with pytest.raises(StoreUnreachable) as caught:
            download(s3_client(), ADDRESS, tmp_path / "plan")
        assert "at least 1 MiB" in caught.value.wanted
        assert caught.value.retryable
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(StoreUnreachable, match="at least 1 MiB"):
            read_small(s3_client(), ADDRESS, most=SIZE, refusal=RecordInvalid)
        store = Store(client=s3_client(), bucket=ADDRESS.bucket, prefix="")
        with pytest.raises(StoreUnreachable, match="at least 1 MiB"):
            Lease(store=store, key=ADDRESS.key).take()
        with pytest.raises(StoreUnreachable, match="at least 1 MiB"):
            find_timing(store, ADDRESS.key)
    assert set() == stalls._RUNNING


_HEAD = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n"


def _calls(path: Path) -> dict[str, Callable[[], object]]:
    client = s3_client()
    return {
        "GET": lambda: read_small(client, ADDRESS, most=SIZE, refusal=RecordInvalid),
        "HEAD": lambda: stored_size(client, ADDRESS),
        "LIST": lambda: list(pages(client, ADDRESS.bucket, "")),
        "PUT": lambda: put_if_absent(client, ADDRESS, b"text"),
        "PUT of a file": lambda: put_if_absent(client, ADDRESS, path),
    }


@pytest.mark.parametrize(
    ("begins", "calls"),
    [
        ("", ("GET", "HEAD", "LIST", "PUT", "PUT of a file")),
        (f"{_HEAD}Server: ", ("GET", "HEAD", "LIST", "PUT", "PUT of a file")),
        (f"{_HEAD}\r\n", ("LIST", "PUT")),
        (f"{_HEAD}Connection: close\r\n\r\n", ("LIST", "PUT")),
        ("HTTP/1.1 100 Continue\r\n", ("PUT of a file",)),
        ("HTTP/1.1 100 Continue\r\n\r\n", ("PUT of a file",)),
    ],
    ids=["status", "header", "body", "body of the last answer", "100 Continue", "nobody reads the request"],
)
def test_an_answer_that_drips_is_ended_with_a_typed_error(
    use_endpoint: Callable[..., None], tmp_path: Path, begins: str, calls: tuple[str, ...]
) -> None:
    path = tmp_path / "plan"
    with path.open("wb") as file:
        file.truncate(32 * SIZE)  # more than the kernel buffers
    with slow_s3() as server:
        server.begins = begins
        use_endpoint(server.url)
        with ThreadPoolExecutor() as threads:
            ended = {name: threads.submit(_calls(path)[name]) for name in calls}
            for name, call in ended.items():
                with pytest.raises(StoreUnreachable) as caught:
                    call.result(timeout=PATIENCE)
                assert caught.value.retryable, name
    assert set() == stalls._RUNNING


def test_a_header_that_ends_early_keeps_no_processor_busy(
    use_endpoint: Callable[..., None], tmp_path: Path
) -> None:
    path = tmp_path / "plan"
    path.write_bytes(bytes(SIZE))
    with slow_s3() as server:
        server.begins = "HTTP/1.1 100 Continue\r\n"
        server.close()  # nothing follows
        use_endpoint(server.url)
        with pytest.raises(StoreUnreachable):
            put_if_absent(s3_client(), ADDRESS, path)


def test_a_call_that_is_overdue_before_it_is_connected_is_ended_afterwards() -> None:
    ends: list[bool] = []
    connected = threading.Event()

    def end() -> None:
        if connected.is_set():
            ends.append(True)

    with stalls.ended_if_stalled(end) as exchange:
        wait_until(lambda: exchange.stalled)
        connected.set()
        wait_until(lambda: ends)

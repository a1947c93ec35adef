"""A server that sends a byte now and then keeps nobody waiting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.domain.errors import RecordInvalid, StoreUnreachable
from tasks.store import stalls
from tasks.store.lease import Lease
from tasks.store.s3 import s3_client
from tasks.store.store import Store
from tasks.store.timing import find_timing
from tasks.store.transfer import Address, download, read_small
from tests.support.store.slow_s3 import SIZE, slow_s3

ADDRESS = Address(bucket="slow", key="engine.plan")


def test_a_download_that_stalls_is_ended_with_a_typed_error(
    use_endpoint: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalls, "WINDOW_SECONDS", 0.3)
    monkeypatch.setattr(stalls, "_SWEEP_SECONDS", 0.05)
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

"""A request that is replaced is a new one to whatever starts builds; its former versions are none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from agents.s3.request_files import content_of, priority_of, request_files
from tasks.domain.priority import Priority
from tasks.domain.release import ReleaseRef
from tasks.domain.release_place import CreatedObject, ReleasePlace
from tasks.store.publishing import publish_release
from tasks.store.s3 import s3_client


def test_a_replaced_request_starts_a_run_of_its_own(s3_env: str, tmp_path: Path) -> None:
    ref = ReleaseRef(bucket=s3_env, prefix="prod", model="fusion", version="1")
    place = ReleasePlace(bucket=s3_env, prefix="prod")
    request = CreatedObject(bucket=s3_env, key=f"{ref.key}build.yaml")
    (tmp_path / "model.keras").write_bytes(b"model")
    contents = []
    for text in ("", "priority: production"):
        (tmp_path / "build.yaml").write_text(text, "utf-8")
        publish_release(s3_client(), ref, tmp_path, replace_request=True)
        contents.append(content_of(request))
    assert contents[0] != contents[1]  # part of the run's idempotency key
    assert priority_of(ref) is Priority.PRODUCTION
    assert place.release_of(request) == ref
    former = CreatedObject(bucket=s3_env, key=f"{ref.key}requests/1.yaml")
    assert place.release_of(former) is None
    since = datetime.now(UTC) - timedelta(hours=1)
    assert [listed.key for listed in request_files(place, since)] == [request.key]

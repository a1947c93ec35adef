"""How a store is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tasks.domain.errors import RequestInvalid
from tasks.store.store import Store


@pytest.fixture(autouse=True)
def _nowhere(use_endpoint: Callable[..., None]) -> None:
    use_endpoint("http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://engines", "engines", ""),
        ("s3://engines/", "engines", ""),
        ("s3://engines/team", "engines", "team"),
        ("s3://my.engines-1/team/a_b.c/", "my.engines-1", "team/a_b.c"),
    ],
)
def test_a_store_is_a_bucket_with_or_without_a_prefix(url: str, bucket: str, prefix: str) -> None:
    store = Store.connect(url)
    assert (store.bucket, store.prefix) == (bucket, prefix)
    assert store.url == url.rstrip("/")
    assert Store.connect(store.url).url == store.url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "engines",
        "http://engines/team",
        "s3:/engines",
        "s3://",
        "s3://E",
        "s3://UPPER",
        "s3:///team",
        "s3://engines//team",
        "s3://engines/team//",
        "s3://engines/../other",
        "s3://engines/./team",
        "s3://engines/with space",
        "s3://engines/bell\x07",
        "s3://engines/team\n",
    ],
)
def test_other_forms_are_refused(url: str) -> None:
    with pytest.raises(RequestInvalid, match=r"s3://bucket"):
        Store.connect(url)

"""What notifications say, in the forms of every server that writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.s3.events import Notification, read_notification
from tasks.domain.release import ReleaseRef
from tasks.domain.release_place import CreatedObject, LocationUnknown, ReleasePlace, release_of

_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
_KEYS = st.lists(_TEXT, min_size=1, max_size=4).map(lambda parts: "/".join([*parts, "build.yaml"]))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
_NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
MODELS = ReleasePlace(bucket="releases", prefix="models")


def _record(source: str, name: str, bucket: str, key: str) -> dict[str, Any]:
    return {
        "eventVersion": "2.1",
        "eventSource": source,
        "awsRegion": "eu-west-1",
        "eventTime": "2026-11-22T10:00:00.000Z",
        "eventName": name,
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "releases",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": "A"},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": {"key": key, "size": 3, "eTag": "e", "versionId": "v", "sequencer": "0A"},
        },
    }


def aws(bucket: str, key: str) -> Any:
    return {"Records": [_record("aws:s3", "ObjectCreated:Put", bucket, quote_plus(key, safe="/"))]}


def moto(bucket: str, key: str) -> Any:
    return {"Records": [_record("aws:s3", "ObjectCreated:Put", bucket, quote_plus(key))]}


def minio(bucket: str, key: str) -> Any:
    record = _record("minio:s3", "s3:ObjectCreated:CompleteMultipartUpload", bucket, quote_plus(key))
    return {"EventName": "s3:ObjectCreated:Put", "Key": f"{bucket}/{key}", "Records": [record]}


def ceph(bucket: str, key: str) -> Any:
    return {"Records": [_record("ceph:s3", "ObjectCreated:Put", bucket, key)]}


def event_bridge(bucket: str, key: str) -> Any:
    detail = {
        "version": "0",
        "bucket": {"name": bucket},
        "object": {"key": key, "size": 3, "etag": "e", "version-id": "v", "sequencer": "0A"},
        "reason": "PutObject",
    }
    return {"version": "0", "source": "aws.s3", "detail-type": "Object Created", "detail": detail}


def through_sns(bucket: str, key: str) -> Any:
    return {"Type": "Notification", "TopicArn": "arn:…", "Message": json.dumps(aws(bucket, key))}


FORMS = (aws, moto, minio, ceph, event_bridge, through_sns)


@pytest.mark.parametrize("form", FORMS)
@given(bucket=_NAME, key=_KEYS)
def test_every_form_gives_the_key_that_was_uploaded(
    form: Callable[[str, str], Any], bucket: str, key: str
) -> None:
    read = read_notification(json.dumps(form(bucket, key)))
    assert read == Notification(created=(CreatedObject(bucket=bucket, key=key),))


@given(key=_KEYS)
def test_a_key_that_is_quoted_throughout_is_read_too(key: str) -> None:
    body = {"Records": [_record("aws:s3", "ObjectCreated:Post", "b", quote(key, safe=""))]}
    assert read_notification(json.dumps(body)).created == (CreatedObject(bucket="b", key=key),)


@given(body=st.text() | _JSON.map(json.dumps) | st.binary().map(lambda data: data.decode("latin-1")))
def test_no_body_is_an_error(body: str) -> None:
    read = read_notification(body)
    assert read.created == ()
    assert all("\n" not in reason and len(reason) < 600 for reason in read.unreadable)


@given(
    body=st.fixed_dictionaries(
        {"Records": st.lists(st.dictionaries(st.sampled_from(["s3", "eventName", "eventSource"]), _JSON))}
    )
)
def test_no_record_is_an_error(body: Any) -> None:
    assert len(read_notification(json.dumps(body)).unreadable) == len(body["Records"])


def test_what_is_no_upload_of_a_request_is_passed_over() -> None:
    silent: tuple[Any, ...] = (
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b", "RequestId": "1"},
        {"Records": []},
        {"Records": [_record("aws:s3", "ObjectRemoved:Delete", "b", "models/m/1/build.yaml")]},
        aws("b", "models/m/1/model.keras"),
        aws("b", "models/m/1/not-build.yaml"),
        event_bridge("b", "models/m/1/build.yaml") | {"detail-type": "Object Deleted"},
    )
    assert [read_notification(json.dumps(body)) for body in silent] == [Notification()] * len(silent)


def test_a_message_may_hold_several_and_some_that_cannot_be_read() -> None:
    first, second = (aws("b", f"models/m/{n}/build.yaml")["Records"][0] for n in (1, 2))
    odd = _record("other:s3", "ObjectCreated:Put", "b", "models/m/3/build.yaml")
    bad = _record("aws:s3", "ObjectCreated:Put", "b", "%ff/build.yaml")
    half = _record("ceph:s3", "ObjectCreated:Put", "b", "\ud800/build.yaml")
    read = read_notification(json.dumps({"Records": [first, odd, bad, second, half, first]}))
    assert [created.key for created in read.created] == ["models/m/1/build.yaml", "models/m/2/build.yaml"]
    assert [reason.split(" ")[0] for reason in read.unreadable] == [
        "ValueError", "UnicodeDecodeError", "UnicodeEncodeError",
    ]  # fmt: skip


def test_a_body_that_never_ends_its_brackets_is_told() -> None:
    assert read_notification("[" * 200_000).unreadable
    assert read_notification('{"Records": ' * 200_000).unreadable


@given(model=_NAME, version=_NAME, prefix=st.sampled_from(["", "models", "a b+c/d"]))
def test_a_release_is_found_right_below_its_place(model: str, version: str, prefix: str) -> None:
    ref = ReleaseRef(bucket="releases", prefix=prefix, model=model, version=version)
    place = ReleasePlace.from_url(f"s3://releases/{prefix}")
    assert release_of(CreatedObject(bucket="releases", key=f"{ref.key}build.yaml"), [place]) == ref


@pytest.mark.parametrize(
    "url",
    [
        "s3://other/models/m/1/build.yaml",
        "s3://releases/model/m/1/build.yaml",
        "s3://releases/models-of-others/m/1/build.yaml",
        "s3://releases/models/1/build.yaml",
        "s3://releases/models/m/1/saved_model/assets/build.yaml",
        "s3://releases/models/../1/build.yaml",
        "s3://releases/models/m//build.yaml",
    ],
)
def test_a_request_file_elsewhere_is_refused(url: str) -> None:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    with pytest.raises(LocationUnknown, match=r"build\.yaml"):
        release_of(CreatedObject(bucket=bucket, key=key), [MODELS])


def test_places_may_lie_in_each_other() -> None:
    inner = ReleasePlace.from_url("s3://releases/models/team/")
    release = release_of(CreatedObject(bucket="releases", key="models/team/m/1/build.yaml"), [MODELS, inner])
    assert release == ReleaseRef(bucket="releases", prefix="models/team", model="m", version="1")


@pytest.mark.parametrize(
    "url", ["", "b/models", "s3://", "s3:///models", "s3://releases//models", "https://b/m"]
)
def test_what_is_no_place_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/prefix"):
        ReleasePlace.from_url(url)

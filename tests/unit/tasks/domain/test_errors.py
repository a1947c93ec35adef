"""Every error has a code of its own, says what to do, and survives the way between processes."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.domain.error_documents import all_errors, error_from_document
from tasks.domain.errors import ChildFailed, DiskFull, FarmError, Interrupted
from tasks.domain.printable import printable, printable_name

EACH = pytest.mark.parametrize("cls", all_errors(), ids=lambda cls: cls.__name__)


def test_exit_codes_are_unique_and_leave_the_shells_own_alone() -> None:
    codes = [cls.exit_code for cls in all_errors()]
    assert len(codes) > 25
    assert codes == sorted(set(codes))
    assert all(10 <= code <= 63 for code in codes[:-1])
    assert codes[-1] == Interrupted.exit_code == 130


@EACH
def test_each_class_is_described(cls: type[FarmError]) -> None:
    assert cls.__doc__
    assert cls.__doc__.endswith(".")
    assert cls.__doc__ != FarmError.__doc__
    assert "exit_code" in vars(cls)
    assert isinstance(cls.retryable, bool)


@EACH
def test_each_class_survives_pickle_and_json(cls: type[FarmError]) -> None:
    error = cls(wanted="a ring", found="a stone", fix="look again")
    assert str(error) == "wanted a ring; found a stone. To fix: look again"
    for copy in (
        pickle.loads(pickle.dumps(error)),  # noqa: S301 (our own bytes)
        error_from_document(json.loads(json.dumps(error.to_document()))),
    ):
        assert type(copy) is cls
        assert str(copy) == str(error)
        assert (copy.wanted, copy.found, copy.fix) == (error.wanted, error.found, error.fix)


@pytest.mark.parametrize("name", ["KeyError", "FarmError", "", "tasks.domain.errors.DiskFull"])
def test_an_unknown_class_is_a_failed_child(name: str) -> None:
    error = error_from_document({"class": name, "wanted": "a", "found": "b", "fix": "c"})
    assert type(error) is ChildFailed
    assert error.found == "b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("two\nlines", "two\nlines"),
        ("over\rwritten", "over\\rwritten"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("größe 日本", "größe 日本"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    error = DiskFull(wanted=text, found=text, fix=text)
    assert str(error) == f"wanted {shown}; found {shown}. To fix: {shown}"


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_what_is_printable_stays_so(text: str) -> None:
    once = printable(text)
    assert printable(once) == once
    assert all(character.isprintable() or character == "\n" for character in once)
    once.encode("utf-8")


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_a_name_stays_on_its_line(text: str) -> None:
    assert printable_name(text).isprintable()
    assert printable_name(text) == printable(text).replace("\n", "\\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://joe:secret@minio:9000/b", "http://minio:9000/b"),
        ("at https://token@host, or s3+tls://a:p@ss@b.", "at https://host, or s3+tls://b."),
        ("x://joe:se\x1bcret@host", "x://host"),
        (
            "'http://h/k?X-Amz-Signature=ab%2F&x-id=1' and ?Signature=c",
            "'http://h/k?X-Amz-Signature=…&x-id=1' and ?Signature=…",
        ),
        ("s3://models/team@home/resnet and joe@host", "s3://models/team@home/resnet and joe@host"),
    ],
)
def test_users_and_passwords_of_urls_are_not_shown(text: str, shown: str) -> None:
    error = DiskFull(wanted=text, found=text, fix=text)
    for one in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301 (our own bytes)
        assert (one.wanted, one.found, one.fix) == (shown, shown, shown)
        assert str(one) == f"wanted {shown}; found {shown}. To fix: {shown}"

"""Every error has a code of its own, says what to do, and survives the way between processes."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.domain.error_documents import UnrecognizedError, all_errors, error_from_document
from tasks.domain.errors import DiskFull, FarmError, Interrupted
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


def test_an_error_of_an_unknown_class_keeps_texts_exit_code_and_flags() -> None:
    flags = {"exit_code": 77, "retryable": True, "about_request": True}
    document = {"class": "MagnetRefused", "wanted": "a", "found": "b", "fix": "c", **flags}
    read = error_from_document(json.loads(json.dumps(document)))
    for error in (read, pickle.loads(pickle.dumps(read))):  # noqa: S301 (our own bytes)
        assert type(error) is UnrecognizedError
        assert error.class_name == "MagnetRefused"
        assert error.to_document() == document
        assert str(error) == "wanted a; found b. To fix: c"


@pytest.mark.parametrize("name", ["KeyError", "FarmError", "GateError", "", "tasks.domain.errors.DiskFull"])
@pytest.mark.parametrize("code", [0, 256, -1, True, "42", None, 42.0])
def test_what_no_version_writes_is_not_taken_from_a_document(name: str, code: object) -> None:
    document = {"class": name, "wanted": "a", "found": "b", "fix": "c", "exit_code": code, "retryable": "no"}
    error = error_from_document(document)
    assert type(error) is UnrecognizedError
    assert error.class_name == (name if name.isidentifier() else "UnrecognizedError")
    assert (error.exit_code, error.retryable, error.about_request) == (1, False, False)


def test_a_document_of_older_code_without_flags_has_those_of_its_class() -> None:
    error = error_from_document({"class": "StoreUnreachable", "wanted": "a", "found": "b", "fix": "c"})
    assert (error.exit_code, error.retryable, error.about_request) == (20, True, False)


def test_whether_the_request_is_at_fault_is_a_property_of_the_class() -> None:
    names = {cls.__name__ for cls in all_errors() if cls.about_request}
    assert {"RequestInvalid", "ModelRefused", "OperationUnsupported", "VerificationFailed"} <= names
    assert names.isdisjoint({"ChildOutOfMemory", "GpuUnavailable", "StoreUnreachable", "TargetUnavailable"})
    assert not any(cls.retryable for cls in all_errors() if cls.about_request)


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
    for copy in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301 (our own bytes)
        assert (copy.wanted, copy.found, copy.fix) == (shown, shown, shown)
        assert str(copy) == f"wanted {shown}; found {shown}. To fix: {shown}"

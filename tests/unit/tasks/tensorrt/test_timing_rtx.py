"""Timing caches by the interface of a real TensorRT, the one of RTX, which makes nothing of them."""

from __future__ import annotations

import hashlib
import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from tasks.domain.errors import DigestMismatch, RequestInvalid, TimingCacheMiss
from tasks.tensorrt.inside.families import pinned, rtx, trt8, trt10
from tasks.tensorrt.inside.messages import Messages, collecting_logger
from tasks.tensorrt.inside.timing import attach_timing, empty_cache, read_cache, write_cache

pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")
Given = Callable[[bytes], dict[str, Any]]


class Session:
    """TensorRT-RTX with a builder and its configuration."""

    def __init__(self) -> None:
        self.trt: Any = importlib.import_module("tensorrt_rtx")
        self.messages = Messages()
        self.logger = collecting_logger(self.trt, self.messages)
        self.builder = self.trt.Builder(self.logger)
        self.config = self.builder.create_builder_config()


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def given(tmp_path: Path) -> Given:
    """A function that writes a cache and returns it as a request names it."""

    def write(data: bytes) -> dict[str, Any]:
        path = tmp_path / "given.cache"
        path.write_bytes(data)
        return {"path": str(path), "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}

    return write


def test_the_timing_cache_of_rtx_does_nothing(
    session: Session, conv_net: Callable[..., Path], tmp_path: Path
) -> None:
    """So the farm uses none there; this fails when an RTX comes whose cache is of use."""
    trt, config = session.trt, session.config
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        cache = empty_cache(config)
        write_cache(cache, tmp_path / "before")
    assert any("no-ops" in str(warning.message) for warning in said)
    network = session.builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, session.logger)
    fixed = onnx.load(conv_net())
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    assert parser.parse(fixed.SerializeToString())
    config.num_compute_capabilities = 1
    assert config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    assert config.set_timing_cache(cache, ignore_mismatch=True)
    assert session.builder.build_serialized_network(network, config) is not None
    write_cache(cache, tmp_path / "after")
    assert (tmp_path / "after").read_bytes() == (tmp_path / "before").read_bytes()
    assert pinned.tactics(cache) == {}


def test_what_tensorrt_cannot_read_is_an_empty_cache_and_counts_as_none(
    session: Session, given: Given
) -> None:
    assert session.config.create_timing_cache(b"no cache at all" * 99) is not None
    assert read_cache(session.config, given(b"no cache at all" * 99)) is None


def test_a_shared_cache_that_cannot_be_read_is_noted_and_the_build_begins_with_nothing(
    session: Session, given: Given, tmp_path: Path
) -> None:
    request = {"mode": "shared", "cache": given(b"rubbish" * 50), "into": str(tmp_path / "left")}
    timing = attach_timing(session.trt, session.config, trt10, request)
    document = timing.document()
    assert not document["used"]
    assert document["notes"] == ["the shared timing cache was dropped: TensorRT refuses it"]
    data = (tmp_path / "left").read_bytes()
    assert document["left"] == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    assert session.config.get_timing_cache() is not None


def test_tensorrt_never_sees_another_file_than_the_one_that_is_named(
    session: Session, given: Given, tmp_path: Path
) -> None:
    request = {
        "mode": "shared",
        "cache": given(b"one") | {"sha256": "0" * 64},
        "into": str(tmp_path / "left"),
    }
    timing = attach_timing(session.trt, session.config, trt10, request)
    assert "SHA-256" in timing.notes[0]
    assert session.messages.warnings == []
    with pytest.raises(DigestMismatch):
        attach_timing(session.trt, session.config, trt10, request | {"mode": "reproducible"})


def test_a_file_that_is_gone_is_noted(session: Session, given: Given, tmp_path: Path) -> None:
    cache = given(b"one")
    (tmp_path / "given.cache").unlink()
    request = {"mode": "shared", "cache": cache, "into": str(tmp_path / "no/such/folder")}
    timing = attach_timing(session.trt, session.config, trt10, request)
    document = timing.document()
    assert [note.partition(":")[0] for note in document["notes"]] == [
        "the shared timing cache was dropped", "the build's timings could not be written",
    ]  # fmt: skip
    assert document["left"] is None


def test_a_build_without_a_cache_leaves_none(session: Session) -> None:
    timing = attach_timing(session.trt, session.config, trt10, None)
    assert timing.document() == {"used": False, "notes": [], "left": None}
    assert session.config.get_timing_cache() is None


def test_reproducible_builds_set_the_flags(session: Session, tmp_path: Path) -> None:
    flags = session.trt.BuilderFlag
    request = {"mode": "reproducible", "cache": None, "into": str(tmp_path / "left")}
    attach_timing(session.trt, session.config, trt10, request)
    assert session.config.get_flag(flags.EDITABLE_TIMING_CACHE)
    assert not session.config.get_flag(flags.ERROR_ON_TIMING_CACHE_MISS)
    pinned.pin(session.trt, session.config, replay=True)
    assert session.config.get_flag(flags.ERROR_ON_TIMING_CACHE_MISS)


def test_a_reproducible_build_does_without_no_timing(session: Session, given: Given, tmp_path: Path) -> None:
    request = {"mode": "reproducible", "cache": given(b"rubbish" * 50), "into": str(tmp_path / "left")}
    with pytest.raises(TimingCacheMiss, match="finds no timings in it"):
        attach_timing(session.trt, session.config, trt10, request)


@pytest.mark.parametrize("family", [trt8, rtx])
def test_families_without_editable_caches_refuse_reproducible_builds(
    session: Session, tmp_path: Path, family: Any
) -> None:
    request = {"mode": "reproducible", "cache": None, "into": str(tmp_path / "left")}
    with pytest.raises(RequestInvalid, match="neither editable timing caches"):
        attach_timing(session.trt, session.config, family, request)

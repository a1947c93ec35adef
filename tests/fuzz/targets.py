"""What is fuzzed: each function takes bytes of strangers, and may end in a typed error alone."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from tasks.domain.errors import FarmError
from tasks.store.request_file import parse_request, render_request
from tasks.tensorflow.preflight.archives import ArchiveLimits, unpack_tar, unpack_zip
from tasks.tensorflow.preflight.child import parse_saved_model
from tasks.tensorflow.preflight.graph_check import check_graph, check_signature
from tasks.tensorflow.preflight.keras_config import check_config, check_keras
from tasks.tensorflow.preflight.sanitise import sanitise
from tasks.tensorflow.signatures import serving_graph, signature_names

Target: TypeAlias = Callable[[bytes], None]

_SMALL = ArchiveLimits(members=100, total=1 << 20, free=1 << 20)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def fuzz_saved_model(data: bytes) -> None:
    """Parse `saved_model.pb` and check its graph and every signature, as preflight and plan do."""
    with _folder() as folder, suppress(FarmError):
        (folder / "saved_model.pb").write_bytes(data)
        saved_model = parse_saved_model(folder)
        graph = serving_graph(saved_model)
        for name in signature_names(graph):
            with suppress(FarmError):
                check_signature(graph, name)
        check_graph(graph)
        sanitise(saved_model)


def _fuzz_archive(data: bytes, unpack: Callable[[Path, Path, ArchiveLimits], None]) -> None:
    with _folder() as folder:
        archive = folder / "archive"
        archive.write_bytes(data)
        try:
            unpack(archive, folder / "out", _SMALL)
        except FarmError:
            pass
        else:
            shutil.rmtree(folder / "out", ignore_errors=True)
        assert {path.name for path in folder.iterdir()} <= {"archive", "out"}


def fuzz_tar(data: bytes) -> None:
    """Unpack a `saved_model.tar.gz`."""
    _fuzz_archive(data, unpack_tar)


def fuzz_zip(data: bytes) -> None:
    """Unpack a `saved_model.zip`."""
    _fuzz_archive(data, unpack_zip)


def fuzz_keras(data: bytes) -> None:
    """Check a whole `.keras` file: its archive, configuration and weights."""
    with _folder() as folder, suppress(FarmError):
        (folder / "model.keras").write_bytes(data)
        check_keras(folder / "model.keras")


def fuzz_config(data: bytes) -> None:
    """Check the configuration of a Keras model."""
    with suppress(ValueError, RecursionError):
        config = json.loads(data)
        with suppress(FarmError):
            check_config(config)


def fuzz_request(data: bytes) -> None:
    """Read `build.yaml`; what is read is written and read back."""
    with suppress(UnicodeDecodeError):
        text = data.decode("utf-8-sig")
        with suppress(FarmError):
            request = parse_request(text)
            assert parse_request(render_request(request)) == request


TARGETS: dict[str, Target] = {
    "saved_model": fuzz_saved_model,
    "tar": fuzz_tar,
    "zip": fuzz_zip,
    "keras": fuzz_keras,
    "config": fuzz_config,
    "request": fuzz_request,
}
"""The targets by name; preflight is all of them but the last."""

"""Writes a plan while it is built: memory never holds the whole plan beside the weights."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO


class _Sink:
    """Writes pieces to a file and hashes the bytes as TensorRT passes them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest, self._size = file, hashlib.sha256(), 0
        self.error: OSError | None = None

    def write(self, piece: Any) -> int:
        """Return how many bytes were written; an exception must not reach TensorRT."""
        data = memoryview(piece)
        try:
            self._write_all(data)
        except OSError as error:
            self.error = error
            return 0
        self._digest.update(data)
        self._size += data.nbytes
        return data.nbytes

    def _write_all(self, data: memoryview) -> None:
        """Write `data`. One call writes at most 2 GiB, and less if the disk is nearly full."""
        unwritten = data.cast("B") if data.nbytes else memoryview(b"")
        while unwritten:
            written = self._file.write(unwritten)
            if not written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            unwritten = unwritten[written:]

    def document(self) -> dict[str, Any]:
        return {"sha256": self._digest.hexdigest(), "size": self._size}


def write_streamed(trt: Any, builder: Any, network: Any, config: Any, path: Path) -> dict[str, Any] | None:
    """Build the plan of `network` into the file `path`.

    Returns:
        `sha256` and `size` of the bytes as TensorRT passed them, by which changes of the file show; None if
        TensorRT built nothing.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("wb", buffering=0) as file:
        sink = _Sink(file)
        built = builder.build_serialized_network_to_stream(network, config, _writer(trt, sink))
    if sink.error is not None:
        raise sink.error
    return sink.document() if built else None


def _writer(trt: Any, sink: _Sink) -> Any:
    class Writer(trt.IStreamWriter):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IStreamWriter.__init__(self)

        def write(self, data: Any) -> int:
            return sink.write(data)

    return Writer()

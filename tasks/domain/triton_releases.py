"""Which TensorRT an image of Triton Inference Server contains.

Only images of which NVIDIA publishes the full version are here, which are those with TensorRT-LLM. The plain
image of the same month contains another TensorRT; NVIDIA's list of it names no fourth part.
Source: https://github.com/triton-inference-server/server, docs/introduction/compatibility.md at 0f963c9.
Runs on consumers: Python 3.10, the standard library alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.domain.errors import RequestInvalid
from tasks.domain.target import TensorRTVersion

_SOURCE = "https://docs.nvidia.com/deeplearning/frameworks/support-matrix/index.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonRelease:
    """An image of Triton.

    Attributes:
        name: the beginning of its tag, `26.07-trtllm`.
        tensorrt: the TensorRT in it.
        cuda: the CUDA in it.
    """

    name: str
    tensorrt: TensorRTVersion
    cuda: str


_ROWS = {
    ("10.14.1.48", "13.1"): "26.07 26.06 26.05 26.04 26.03",
    ("10.13.3.9", "13.0"): "26.02 26.01 25.12 25.11",
    ("10.11.0.33", "12.9"): "25.10 25.09 25.08",
    ("10.10.0.31", "12.9"): "25.07 25.06",
    ("10.9.0.34", "12.8"): "25.05 25.04 25.03",
    ("10.8.0.43", "12.8"): "25.02 25.01",
    ("10.0.1.6", "12.3"): "24.05",
}

TRITON_RELEASES = {
    f"{month}-trtllm": TritonRelease(
        name=f"{month}-trtllm", tensorrt=TensorRTVersion.parse(tensorrt), cuda=cuda
    )
    for (tensorrt, cuda), months in _ROWS.items()
    for month in months.split()
}
"""The images by name, newest first."""


def triton_release(name: str) -> TritonRelease:
    """Return the image `name`: `26.07-trtllm`, or the whole tag `26.07-trtllm-python-py3`.

    Raises:
        RequestInvalid: the table has no such image.
    """
    row = TRITON_RELEASES.get(name.removesuffix("-python-py3"))
    if row is not None:
        return row
    sibling = TRITON_RELEASES.get(f"{name}-trtllm")
    other = "" if sibling is None else f"; {sibling.name} is another image, with TensorRT {sibling.tensorrt}"
    raise RequestInvalid(
        wanted=f"an image of Triton whose TensorRT is known: {', '.join(TRITON_RELEASES)}",
        found=f"{name}{other}",
        fix=f"give --tensorrt with the version in your image (`dpkg -l libnvinfer*` in it, or {_SOURCE})",
    )

"""The environment of a child process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Nothing else of the farm's environment reaches a child: no credentials, no API keys, no proxies.
_PASSED_ON = (
    "PATH",
    "LD_LIBRARY_PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "CUDA_VISIBLE_DEVICES",
)
# These lead to the libraries of the farm's own Python: another Python would load what was not made for it.
_PASSED_ON_TO_OWN_PYTHON = ("PYTHONHOME", "PYTHONPATH")


def child_environment(interpreter: str, home: Path) -> dict[str, str]:
    """Return the environment of a child that runs in `interpreter` and has `home` to itself."""
    names = _PASSED_ON + (_PASSED_ON_TO_OWN_PYTHON if interpreter == sys.executable else ())
    inherited = {name: os.environ[name] for name in names if name in os.environ}
    # A home of its own: no ~/.aws, no caches that outlive the child.
    settings = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # Load kernels when they are first used, as TensorRT recommends: this saves GPU memory.
        "CUDA_MODULE_LOADING": "LAZY",
        # NumPy's OpenBLAS takes 40 MiB of the memory limit for each processor, and no child multiplies in it.
        "OPENBLAS_NUM_THREADS": "1",
    }
    return inherited | settings

"""Runs first in the interpreter of a stand-in toolchain: there is a driver, and no TensorRT-RTX."""

import platform
import sys
import time

from tests.stand_in.driver import install
from tests.stand_in.hardware import CONFIG, clock

install()
if CONFIG["architecture"]:
    platform.machine = lambda: str(CONFIG["architecture"])
if CONFIG["counted"]:
    time.perf_counter = clock.read
sys.modules["tensorrt_rtx"] = None  # type: ignore[assignment] # importing it fails as where it is not installed

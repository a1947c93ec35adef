"""The rebuild of a model with other weights, through the real flow, on a stand-in for its GPU.

The stand-in measures each layer that no timing cache knows, never the same; see `tests.stand_in.toolchain`.
"""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Callable

import h5py
import pytest

from flows.build_release import build_release
from flows.cli.engines import read_all
from flows.settings import settings
from tasks.domain.release import ReleaseRef
from tasks.domain.request import TimingMode
from tasks.domain.timing import TimingUse
from tests.stand_in.toolchain import StandIn

pytestmark = pytest.mark.usefixtures("converted_before")

Publish = Callable[..., ReleaseRef]
_DEVICE = "h100-sxm-80gb"


def scaled(model: bytes, factor: float) -> bytes:
    """Return the `.keras` file with all of its weights so many times what they are."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(model)) as old, zipfile.ZipFile(changed, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            new.writestr(entry, _scaled_weights(data, factor) if entry.filename.endswith(".h5") else data)
    return changed.getvalue()


def _scaled_weights(data: bytes, factor: float) -> bytes:
    file = io.BytesIO(data)
    with h5py.File(file, "r+") as weights:

        def scale(_: str, item: object) -> None:
            if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
                item[...] = item[...] * factor

        weights.visititems(scale)
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("version", [pytest.param("8.6.0", marks=pytest.mark.long), "10.13.3.9"])
def test_the_rebuild_of_a_model_with_other_weights_measures_no_layer_again(
    version: str,
    stand_in: Callable[..., StandIn],
    publish: Publish,
    demo_model: bytes,
    stored_keys: Callable[[str], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toolchain = stand_in(version=version)
    monkeypatch.setenv("ENGINEFARM_TOOLCHAINS", str(toolchain.interpreter))
    settings.cache_clear()
    records = []
    for factor in (1.0, 1.5):
        files = {"model.keras": scaled(demo_model, factor)}
        release = publish(f"profile: false\ntargets: [{_DEVICE}]\n", files, version=str(factor))
        records += read_all(asyncio.run(build_release(release)))

    cold, warm = records
    assert cold.timing is not None
    left = cold.timing.left
    assert left is not None
    assert cold.timing == TimingUse(mode=TimingMode.SHARED, used=None, left=left)
    # What it left is what it used, byte by byte: nothing was measured.
    assert warm.timing == TimingUse(mode=TimingMode.SHARED, used=left, left=left)
    assert warm.plan != cold.plan
    (key,) = stored_keys("timing/")
    assert key.startswith(f"timing/{_DEVICE}/{cold.target.version}/")

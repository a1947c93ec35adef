"""Every attack of the corpus: refused before it runs, with its reason, at little cost; nothing is left."""

from __future__ import annotations

import asyncio
import hashlib
import stat
from pathlib import Path
from typing import Any

import pytest

from tasks.children.run import Limits
from tasks.children.workspace import Workspace, workspace
from tasks.domain.errors import FarmError
from tasks.domain.release import ModelFormat
from tasks.store.request_file import parse_request, read_bounded
from tasks.tensorflow.models import (
    ConversionWanted,
    LocalModel,
    convert_saved_model,
    export_saved_model,
    preflight_model,
)
from tests.hostile.corpus import ATTACKS, Attack, damaged_variables
from tests.hostile.saved_models import small
from tests.support.processor_time import processor_seconds
from tests.support.slow import cases

LIMITS = Limits(memory_mib=3072)
# Of the processor, whatever else the machine does; alone none takes more than three without TensorFlow.
SECONDS, SECONDS_OF_TENSORFLOW = 30, 90


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The folder that an attack is written to; what is outside of it stays as it is."""
    folder = tmp_path / "farm" / "release"
    folder.mkdir(parents=True)
    (tmp_path / "farm" / "of others").write_bytes(b"untouched")
    return folder


def everything(root: Path) -> dict[str, str]:
    """Say what lies below `root`, with the digests of files of a usual size."""
    return {str(path.relative_to(root)): _content(path) for path in sorted(root.rglob("*"))}


def _content(path: Path) -> str:
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode):
        return "a folder"
    if not stat.S_ISREG(status.st_mode) or status.st_size > 1 << 24:
        return f"{status.st_mode} {status.st_size} {status.st_mtime_ns}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def handed_in(release: Path, models: Path, work: Path) -> None:
    """Take the release the farm's own way, up to where its attack must have been noticed."""
    if (release / "build.yaml").exists():
        parse_request(read_bounded(release / "build.yaml"))
        return
    if (release / "samples.npz").exists():
        wanted = ConversionWanted(signature="gelu", shapes={}, opset=17, samples=release / "samples.npz")
        asyncio.run(convert_saved_model(models / "many", wanted, work=Workspace(folder=work, limits=LIMITS)))
        return
    form = next(form for form in ModelFormat if (release / form).exists())
    model = LocalModel(format=form, path=release / form)
    asyncio.run(preflight_model(model, work=Workspace(folder=work, limits=LIMITS)))
    if (release / form / "variables").is_dir():
        clean = asyncio.run(export_saved_model(model, work=Workspace(folder=work, limits=LIMITS)))
        wanted = ConversionWanted(signature="gelu", shapes={}, opset=17, samples=None)
        asyncio.run(convert_saved_model(clean, wanted, work=Workspace(folder=work, limits=LIMITS)))


def check_refusal(attack: Attack, release: Path, models: Path, seconds: float) -> None:
    attack.make(release)
    outside = release.parent.parent
    work = outside / "work"
    work.mkdir()
    before = everything(outside)
    started = processor_seconds()
    with pytest.raises(FarmError) as caught, workspace(work) as own:
        handed_in(release, models, own.folder)
    assert processor_seconds() - started < seconds
    error = caught.value
    assert type(error) is attack.error, error
    assert all(word in error.found for word in attack.words), error.found
    assert error.wanted
    assert error.fix
    lines = str(error).split("\n")
    assert all(line.isprintable() for line in lines), "it would move the cursor of a terminal"
    assert not any(line.startswith("to fix") for line in lines), "a stranger wrote a line of ours"
    assert everything(outside) == before
    assert not (models / "proof").exists()


# Of each of these kinds, others are taken by default.
TWINS = {
    *(f"graph: {op}" for op in ("WriteFile", "MatchingFiles", "EagerPyFunc", "PyFuncStateless", "Send")),
    *(f"graph: {op}" for op in ("TextLineReaderV2", "SaveV2", "CollectiveReduce")),
    *(f"graph: {op} while it is loaded" for op in ("WriteFile", "PyFunc", "InitializeTableFromTextFileV2")),
    *(f"graph: {op}" for op in ("EncodeProto", "XlaCustomCallV2", "XlaLaunch", "TPUExecute")),
    *(f"graph: {op} while it is loaded" for op in ("DecodeProtoV2", "Abort", "QueueDequeueV2", "Barrier")),
    *(f"graph: {op} while it is loaded" for op in ("Stage", "RandomShuffleQueueV2", "ThreadPoolHandle")),
    *(f"graph: ANSI escape in the name of {what}" for what in ("inputs", "outputs")),
    *(f"graph: line feed in the name of {what}" for what in ("signature", "inputs", "a node")),
    *(
        f"tar: {what}"
        for what in ("line feed in a name", "pipe", "block device", "flipped bit", "absolute path")
    ),
    *(
        f"zip: {what}"
        for what in ("line feed in a name", "ANSI escape in a name", "same but for case", "cut off")
    ),
    *(f"zip: {what}" for what in ("absolute path", "one member twice", "declares 4 GB", "bomb by count")),
    *(f"{form}: sparse 10 GB" for form in ("tar", "keras", "h5")),
    *(f"h5: {what}" for what in ("weights never written", "external weights")),
    "graph: recursion by others",
    "graph: huge constant in a function",
    "request: line feed in a name",
    "request: key of 60 kB",
}


def attacks() -> list[Any]:
    """Every attack: a third of those without a twin run by default, in CI all of these, else `--long`."""
    alone = [name for name in ATTACKS if name not in TWINS]
    return [
        *(pytest.param(name, marks=pytest.mark.long) for name in ATTACKS if name in TWINS),
        *cases(alone, slow=[name for place, name in enumerate(alone) if place % 3]),
    ]


def test_twins_are_attacks() -> None:
    assert set(ATTACKS) >= TWINS


@pytest.mark.parametrize("name", attacks())
def test_an_attack_is_refused_before_tensorflow_starts(name: str, release: Path, models: Path) -> None:
    check_refusal(ATTACKS[name], release, models, SECONDS)


# Variables that are cut off are in tests/unit/tasks/tensorflow/test_convert.py, too.
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("variables: cut off", marks=pytest.mark.long),
        "variables: flipped bit",
        "variables: missing index",
    ],
)
def test_damaged_variables(name: str, release: Path, models: Path) -> None:
    check_refusal(damaged_variables(models)[name], release, models, SECONDS_OF_TENSORFLOW)


def test_what_tensorflow_might_read_instead_is_left_behind(release: Path, tmp_path: Path) -> None:
    folder = small(release)
    for name in ("saved_model.pbtxt", "fingerprint.pb", "saved_model.cpb", "keras_metadata.pb"):
        (folder / name).write_bytes(b"another model")
    model = LocalModel(format=ModelFormat.SAVED_MODEL, path=folder)
    clean = asyncio.run(export_saved_model(model, work=Workspace(folder=tmp_path, limits=LIMITS)))
    assert sorted(path.name for path in clean.iterdir()) == ["saved_model.pb"]

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.errors import ArchiveRefused, FarmError, ModelRefused, ModelUnreadable
from tasks.domain.release import ModelFormat
from tasks.tensorflow.models import LocalModel, export_saved_model, preflight_model

_FORMS = {".keras": ModelFormat.KERAS, ".h5": ModelFormat.H5, ".gz": ModelFormat.SAVED_MODEL_TAR}

# Puts into a SavedModel what Keras and optimisers leave there, and counts it.
_DIRTY = """
import sys
from pathlib import Path
from tasks.tensorflow.preflight.child import parse_saved_model
folder = Path(sys.argv[1])
model = parse_saved_model(folder)
graph = model.meta_graphs[0]
if sys.argv[2] == "add":
    graph.object_graph_def.nodes[0].slot_variables.add().slot_name = "m"
    graph.graph_def.library.function[0].attr["_XlaMustCompile"].b = True
    model.meta_graphs.add().meta_info_def.tags.append("train")
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
slots = sum(len(node.slot_variables) for node in graph.object_graph_def.nodes)
compiled = b"_XlaMustCompile" in model.SerializeToString()
print(slots, compiled, len(model.meta_graphs))
"""


def _preflight(path: Path, tmp_path: Path, limits: Limits) -> LocalModel:
    form = _FORMS.get(path.suffix, ModelFormat.SAVED_MODEL)
    workdir = tmp_path / "work"
    workdir.mkdir(exist_ok=True)
    return asyncio.run(
        preflight_model(LocalModel(format=form, path=path), work=Workspace(folder=workdir, limits=limits))
    )


def _dirty(folder: Path, what: str) -> str:
    command = [sys.executable, "-c", _DIRTY, str(folder), what]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("lambda.keras", ModelRefused, ["sneaky", "Lambda"]),
        ("lambda.h5", ModelRefused, ["sneaky", "Lambda"]),
        ("custom.keras", ModelUnreadable, ["mine", "Doubled"]),
        ("only.weights.h5", ModelUnreadable, ["model_config"]),
        ("only_strings", ModelRefused, ["text", "strings"]),
        ("python", ModelRefused, ["PyFunc", "__inference_serve"]),
        ("reads", ModelRefused, ["ReadFile", "__inference_serve"]),
        ("writes_on_load", ModelRefused, ["WriteFile", "initializer"]),
    ],
)
def test_hostile_models_are_refused_and_nothing_runs(
    *, models: Path, tmp_path: Path, limits: Limits, name: str, error: type[FarmError], words: list[str]
) -> None:
    with pytest.raises(error) as caught:
        _preflight(models / name, tmp_path, limits)
    assert all(word in caught.value.found for word in words)
    assert not (models / "proof").exists()
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize("name", ["two.keras", "two.h5", "many"])
def test_sound_models_pass(models: Path, tmp_path: Path, limits: Limits, name: str) -> None:
    assert _preflight(models / name, tmp_path, limits).path == models / name


@pytest.mark.parametrize("name", ["two.keras", "two.h5", "many/saved_model.pb"])
def test_truncated_files_are_unreadable(models: Path, tmp_path: Path, limits: Limits, name: str) -> None:
    top = name.split("/", maxsplit=1)[0]
    copy = tmp_path / top
    if (models / top).is_dir():
        shutil.copytree(models / top, copy)
    else:
        shutil.copy(models / top, copy)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelUnreadable):
        _preflight(copy, tmp_path, limits)


def test_an_archive_becomes_a_folder_below_the_workdir(models: Path, tmp_path: Path, limits: Limits) -> None:
    archive = tmp_path / "saved_model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(models / "many", "inner/model")
    checked = _preflight(archive, tmp_path, limits)
    assert checked.format is ModelFormat.SAVED_MODEL
    assert checked.path.is_relative_to(tmp_path / "work")
    assert (checked.path / "saved_model.pb").read_bytes() == (models / "many" / "saved_model.pb").read_bytes()


def test_a_folder_for_each_version_is_taken_if_there_is_one(
    models: Path, tmp_path: Path, limits: Limits
) -> None:
    folder = tmp_path / "saved_model"
    shutil.copytree(models / "many", folder / "1")
    assert _preflight(folder, tmp_path, limits).path == folder / "1"
    shutil.copytree(folder / "1", folder / "2")
    with pytest.raises(ModelUnreadable, match="2: 1, 2"):
        _preflight(folder, tmp_path, limits)


def test_git_lfs_pointers_are_named(models: Path, tmp_path: Path, limits: Limits) -> None:
    folder = tmp_path / "saved_model"
    shutil.copytree(models / "many", folder)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 94371840\n"
    (folder / "variables/variables.data-00000-of-00001").write_bytes(pointer)
    (tmp_path / "model.h5").write_bytes(pointer)
    for path, name in ((folder, "saved_model/variables/variables.data"), (tmp_path / "model.h5", "model.h5")):
        with pytest.raises(ModelUnreadable, match="Git LFS pointer") as caught:
            _preflight(path, tmp_path, limits)
        assert name in caught.value.wanted
        assert "git lfs pull" in caught.value.fix


def test_links_that_leave_the_folder_are_refused(models: Path, tmp_path: Path, limits: Limits) -> None:
    folder = tmp_path / "saved_model"
    shutil.copytree(models / "many", folder)
    (folder / "assets" / "secret").symlink_to("/etc/passwd")
    with pytest.raises(ArchiveRefused, match="assets/secret, a link to /etc/passwd"):
        _preflight(folder, tmp_path, limits)


def test_missing_variables_and_sanitising(models: Path, tmp_path: Path, limits: Limits) -> None:
    folder = tmp_path / "saved_model"
    shutil.copytree(models / "many", folder)
    assert _dirty(folder, "add") == "1 True 2"
    before = (folder / "saved_model.pb").read_bytes()
    model = LocalModel(format=ModelFormat.SAVED_MODEL, path=folder)
    clean = asyncio.run(export_saved_model(model, work=Workspace(folder=tmp_path, limits=limits)))
    assert _dirty(clean, "count") == "0 False 1"
    assert (folder / "saved_model.pb").read_bytes() == before
    kept = sorted(str(path.relative_to(clean)) for path in clean.rglob("*") if path.is_file())
    assert kept == ["saved_model.pb", "variables/variables.data-00000-of-00001", "variables/variables.index"]
